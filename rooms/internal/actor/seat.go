package actor

import (
	"encoding/json"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// seatOf is the seat that a token's claims hold its bearer to, "" for none.
func seatOf(claims []byte) string {
	if len(claims) == 0 {
		return ""
	}
	var c struct {
		Limpet struct {
			Seat string `json:"seat"`
		} `json:"limpet"`
	}
	if json.Unmarshal(claims, &c) != nil {
		return "" // no gateway's: those have read it
	}
	return c.Limpet.Seat
}

// taken says why the seat that a new member's token names is not free. A member
// has its seat for as long as it is one, also while it is away.
func (r *Room) taken(seat string) *wire.Error {
	if seat == "" {
		return nil
	}
	for _, m := range r.order {
		if !m.gone && m.pass.seat == seat {
			return wire.Refuse(wire.CodeRoomFull, "somebody has the seat that the token names")
		}
	}
	return nil
}

// astray says why a member's new connection is not for its seat.
func (m *member) astray(a peer.Attach) *wire.Error {
	if seat := seatOf(a.Claims); seat != "" && seat != m.pass.seat {
		return wire.Refuse(wire.CodeUnauthorized, "the token is for another seat")
	}
	return nil
}

// savedSeat is a member's seat in a checkpoint.
type savedSeat struct {
	_    struct{} `cbor:",toarray"`
	ID   wire.MemberID
	Seat string
}

func (r *Room) seats() (all []savedSeat) {
	for _, m := range r.order {
		if !m.gone && m.pass.seat != "" {
			all = append(all, savedSeat{ID: m.id, Seat: m.pass.seat})
		}
	}
	return all
}

func (r *Room) restoreSeats(all []savedSeat) {
	for _, s := range all {
		if m := r.members[s.ID]; m != nil && len(s.Seat) <= peer.MaxClaims {
			m.pass = newPass(m.pass.user, m.pass.claims, s.Seat)
		}
	}
}
