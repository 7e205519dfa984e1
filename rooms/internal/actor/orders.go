package actor

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// Promise is something that is done and will be durable; see Room.Kept.
type Promise struct{ cut, entry uint64 }

// promise is for what has just been recorded.
func (r *Room) promise() Promise {
	p := Promise{cut: r.cut + 1}
	if r.on {
		p.entry = r.last
	}
	return p
}

// Kept reports whether what a promise is for is durable.
func (r *Room) Kept(p Promise) bool {
	return !r.durable || r.savedCut >= p.cut || p.entry > 0 && r.stored >= p.entry
}

// Dismiss has an operator kick a member, as Kick would. ok is false where there
// is no such member, or the room has ended.
func (r *Room) Dismiss(now time.Time, id wire.MemberID, reason string) (p Promise, ok bool) {
	m := r.members[id]
	if !r.begin(now) || !r.runs() || m == nil {
		return p, false
	}
	reason = clip(reason)
	r.record(Entry{Kind: EntryKick, Member: id, Data: []byte(reason)})
	p = r.promise()
	r.Kick(m, reason)
	return p, true
}

// Shut has an operator close the room, as Close would; see Ended.
func (r *Room) Shut(now time.Time, reason string) {
	if !r.begin(now) || !r.runs() {
		return
	}
	reason = clip(reason)
	r.record(Entry{Kind: EntryClose, Data: []byte(reason)})
	r.Close(reason)
}

// MemberInfo is one member as operators see it.
type MemberInfo struct {
	ID         wire.MemberID   `json:"id"`
	User       string          `json:"user"`
	Generation wire.Generation `json:"generation"`
	Applied    wire.Input      `json:"applied"` // its last input
	Durable    wire.Input      `json:"durable"`
	Connected  bool            `json:"connected"`
	Away       float64         `json:"away"` // seconds since its connection was lost
}

// Roll lists the members in the order in which they joined, at most most.
func (r *Room) Roll(most int) []MemberInfo {
	list := make([]MemberInfo, 0, min(most, len(r.members)))
	for m := range r.Members {
		own := r.own(m)
		if len(list) == most {
			break
		}
		i := MemberInfo{
			ID: own.id, User: own.pass.user, Generation: own.gen, Applied: own.applied, Durable: own.durableInput(), Connected: own.Connected(),
		}
		if own.away != nil {
			i.Away = max(0, r.wall.Sub(own.away.since).Seconds())
		}
		list = append(list, i)
	}
	return list
}

var _ rooms.Member = (*member)(nil)
