package actor

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Bounds of what a room remembers of members that are gone; the oldest goes.
const (
	maxKicked   = 1024
	maxDeparted = 256
	maxHeld     = 1024 // removals not yet durable, before new joins are refused
)

// kickedID is a member that may not come back.
type kickedID struct {
	id   wire.MemberID
	text string
	cut  uint64 // durable once this cut is saved
}

// departedID is a member whose membership is over, so that an old token does
// not bring it back.
type departedID struct {
	id   wire.MemberID
	code wire.Code
}

// ring keeps the last limit values.
type ring[T any] struct {
	limit int
	list  []T
	next  int // where the next one goes when full
}

func (g *ring[T]) add(v T) {
	if len(g.list) < g.limit {
		g.list = append(g.list, v)
		return
	}
	g.list[g.next] = v
	g.next = (g.next + 1) % g.limit
}

// inOrder returns the values, the oldest first.
func (g *ring[T]) inOrder() []T {
	return append(append(make([]T, 0, len(g.list)), g.list[g.next:]...), g.list[:g.next]...)
}

// dismissed says why one who was a member can't come back.
func (r *Room) dismissed(id wire.MemberID) *wire.Error {
	for _, k := range r.kicked.list {
		if k.id != id {
			continue
		}
		if k.cut > r.savedCut {
			return &wire.Error{Code: wire.CodeBusy, RetryMS: busyMS, Text: "the room is saving"}
		}
		return wire.Refuse(wire.CodeKicked, k.text)
	}
	for _, d := range r.departed.list {
		if d.id == id {
			return wire.Refuse(d.code, "the membership is over")
		}
	}
	return nil
}

// leave ends a membership by the member's own input n.
func (r *Room) leave(m *member, n wire.Input, poisoned bool) {
	r.sendLeft(m, wire.CodeLeft, "")
	r.strike(m)
	r.departed.add(departedID{m.id, wire.CodeLeft})
	if !poisoned {
		r.onLeave(m, rooms.Left, n)
	}
}

// expire ends the memberships of those who were away for too long.
func (r *Room) expire() {
	for r.runs() && r.away.first != nil && !r.away.next(r.cfg.Kind.Grace).After(r.now) {
		m := r.away.first
		r.strike(m)
		r.departed.add(departedID{m.id, wire.CodeGraceOver})
		r.onLeave(m, rooms.GraceOver, 0)
	}
}

// Detach tells that the connection that w names is gone.
func (r *Room) Detach(now time.Time, p Port, w peer.Who) {
	if !r.begin(now) {
		return
	}
	m := r.members[w.Member]
	if m != nil && m.port != nil && m.port.out == p && m.gen == w.Generation {
		r.record(Entry{Kind: EntryDrop, Members: []wire.MemberID{m.id}})
		r.drop(m)
		return
	}
	r.forgetHeld(p, w)
}

// PortDown tells that a port is released or its link broken: its members are
// dropped.
func (r *Room) PortDown(now time.Time, p Port) {
	if r.begin(now) {
		r.losePort(p)
	}
}

// losePort drops the members who are connected through p.
func (r *Room) losePort(p Port) {
	q := r.ports[p]
	if q == nil {
		return
	}
	r.closePort(q)
	ms := append([]*member(nil), q.members...)
	if r.on && len(ms) > 0 {
		ids := make([]wire.MemberID, len(ms))
		for i, m := range ms {
			ids[i] = m.id
		}
		r.record(Entry{Kind: EntryDrop, Members: ids})
	}
	r.setAllAway(ms)
}

func (r *Room) drop(m *member) {
	r.unbind(m)
	r.setAway(m)
	r.onDropped(m)
}

func (r *Room) setAway(m *member) {
	r.away.add(m, r.now)
}

// Kick removes a member. It hears of that once the removal is durable.
func (r *Room) Kick(who rooms.Member, reason string) {
	m := r.own(who)
	if m == nil || m.gone || r.muted {
		return
	}
	reason = clip(reason)
	k := kickedID{id: m.id, text: reason}
	if r.durable && !r.on { // else it is held back until its entry is stored
		k.cut, r.urgent = r.cut+1, true
	}
	r.kicked.add(k)
	if m.port != nil {
		r.dismiss(m, wire.CodeKicked, reason)
	}
	r.strike(m)
	r.onLeave(m, rooms.Kicked, 0)
}

// Close ends the room. Members hear of it once that is durable. They are all
// gone from the room before the first Leave, so that what a Leave sends goes
// to nobody.
func (r *Room) Close(reason string) {
	if r.ending.on || r.muted {
		return
	}
	r.ending = ending{on: true, text: clip(reason)}
	r.changed, r.dirty = true, true
	left := make([]*member, 0, len(r.members))
	for _, m := range r.order {
		if !m.gone {
			left = append(left, m)
		}
	}
	for _, m := range left {
		r.strike(m)
	}
	if r.durable {
		r.endCut, r.urgent = r.cut+1, true
	} else {
		r.sayGone()
	}
	for _, m := range left {
		r.onLeave(m, rooms.Closed, 0)
	}
}

// sayGone tells every gateway that the room is over.
func (r *Room) sayGone() {
	r.ending.confirmed = true
	for _, q := range r.portList {
		g := peer.Gone{Handle: q.handle, Epoch: r.cfg.Epoch, Code: wire.CodeRoomClosed, Text: r.ending.text}
		q.out.Send(peer.KindGone, g.Append(r.head[:0]), nil)
	}
}

// clip keeps a reason within what the wire takes.
func clip(s string) string { return s[:min(len(s), wire.MaxReasonLen)] }
