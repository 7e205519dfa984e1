package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/query"
	"github.com/limpet-games/limpet/wire"
)

// roomWithin bounds the questions to all hosts for one room.
const roomWithin = 2 * time.Second

// RoomAnswer is GET /v1/room: one room, where it lives, and where it has lived
// as far as the hosts that answered remember.
type RoomAnswer struct {
	Room    json.RawMessage   `json:"room"`    // null: it lives nowhere now
	Tenures []json.RawMessage `json:"tenures"` // the newest first
	Hosts   Completeness      `json:"hosts"`   // of the history
}

// hostOfRoom asks all hosts for a room.
func (a *admin) hostOfRoom(ctx context.Context, room string) (*directory.Node, error) {
	q, err := query.Parse(fmt.Sprintf("host, epoch where room = '%s' order by epoch desc", room))
	if err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, roomWithin)
	defer cancel()
	found := a.Ask(ctx, q, nil)
	if len(found.Rows) == 0 {
		return nil, wire.Refuse(wire.CodeNoRoom,
			fmt.Sprintf("room %s is on none of the hosts that answered (%d of %d did)", room, found.Hosts.Answered, found.Hosts.Asked))
	}
	return a.host(found.Rows[0][0].Text)
}

// roomOrder reads a request for one room and finds its host.
func (a *admin) roomOrder(r *http.Request) (o RoomOrder, at *directory.Node, err error) {
	if err := readRequest(r, &o); err != nil {
		return o, nil, err
	}
	if _, err := wire.ParseRoom(o.Room); err != nil {
		return o, nil, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	if len(o.Reason) > wire.MaxReasonLen {
		return o, nil, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("reason of %d bytes: want at most %d", len(o.Reason), wire.MaxReasonLen))
	}
	at, err = a.hostOfRoom(r.Context(), o.Room)
	return o, at, err
}

func (a *admin) closeRoom(r *http.Request) (any, error) {
	o, at, err := a.roomOrder(r)
	if err != nil {
		return nil, err
	}
	return a.ask(r.Context(), at, AdminClose, o)
}

func (a *admin) kick(r *http.Request) (any, error) {
	o, at, err := a.roomOrder(r)
	if err != nil {
		return nil, err
	}
	return a.ask(r.Context(), at, AdminKick, o)
}

func (a *admin) room(r *http.Request) (any, error) {
	o := RoomOrder{Room: r.URL.Query().Get("room")}
	if _, err := wire.ParseRoom(o.Room); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	var answer RoomAnswer
	at, err := a.hostOfRoom(r.Context(), o.Room)
	var none *wire.Error
	switch {
	case err == nil:
		if answer.Room, err = a.ask(r.Context(), at, AdminRoom, o); err != nil {
			return nil, err
		}
	case errors.As(err, &none) && none.Code == wire.CodeNoRoom:
	default:
		return nil, err
	}
	a.history(r.Context(), o, &answer)
	if answer.Room == nil && len(answer.Tenures) == 0 {
		return nil, err
	}
	return answer, nil
}

// history asks all hosts for when the room lived there.
func (a *admin) history(ctx context.Context, o RoomOrder, answer *RoomAnswer) {
	ctx, cancel := context.WithTimeout(ctx, roomWithin)
	defer cancel()
	hosts := a.Members.View().Hosts
	all := askAll(ctx, hosts, func(n *directory.Node) (tenures []json.RawMessage, err error) {
		raw, err := a.ask(ctx, n, AdminHistory, o)
		if err == nil {
			err = json.Unmarshal(raw, &tenures)
		}
		return tenures, err
	})
	answer.Tenures = []json.RawMessage{}
	h := Completeness{Asked: len(hosts), Missing: []NoAnswer{}}
	for _, got := range all {
		if n := got.node; got.err != nil {
			h.Missing = append(h.Missing, NoAnswer{string(n.ID), uint64(n.Load.Rooms), whyNot(got.err)})
			continue
		}
		h.Answered++
		answer.Tenures = append(answer.Tenures, got.value...)
	}
	if h.Asked > 0 {
		h.Share = float64(h.Answered) / float64(h.Asked)
	}
	answer.Hosts = h
	slices.SortStableFunc(answer.Tenures, func(x, y json.RawMessage) int { return cmp.Compare(epochOf(y), epochOf(x)) })
	answer.Tenures = answer.Tenures[:min(len(answer.Tenures), maxTenuresShown)]
}

// maxTenuresShown bounds the history of one answer.
const maxTenuresShown = 200

func epochOf(tenure json.RawMessage) uint64 {
	var t struct{ Epoch uint64 }
	_ = json.Unmarshal(tenure, &t) // one that does not decode comes last
	return t.Epoch
}
