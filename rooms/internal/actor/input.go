package actor

import (
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// askAgain is how long an Expect stands before the same one is sent again.
const askAgain = 200 * time.Millisecond

// maxInput bounds input numbers, so that a skip can't run a counter to its end.
const maxInput wire.Input = 1<<53 - 1

// Input is one input of the member that w names, held by w's connection.
// payload is not kept.
func (r *Room) Input(now time.Time, p Port, w peer.Who, n wire.Input, payload []byte) {
	m := r.due(now, p, w, n)
	if m == nil {
		return
	}
	if len(r.poison) > 0 && r.isPoison(Poison{m.id, m.instance, n}) {
		r.recordInput(m, Entry{Kind: EntrySkip, Input: n})
		m.applied = n
		r.ack(m)
		r.dirty = true
		r.tellFailed(m, n)
		return
	}
	r.recordInput(m, Entry{Kind: EntryInput, Input: n, Data: payload})
	r.applyInput(m, n, payload)
}

func (r *Room) applyInput(m *member, n wire.Input, payload []byte) {
	m.applied = n
	r.ack(m)
	r.dirty = true
	r.onInput(m, n, payload)
}

// Skip gives up the inputs from to to of the member that w names.
func (r *Room) Skip(now time.Time, p Port, w peer.Who, from, to wire.Input) {
	if from == 0 || from > to || to > maxInput {
		return
	}
	m := r.holder(now, p, w)
	if m == nil {
		return
	}
	if from > m.applied+1 {
		r.expect(m)
		return
	}
	if to > m.applied {
		r.recordInput(m, Entry{Kind: EntrySkip, Input: to})
		m.applied = to
		r.dirty = true
	}
	r.ack(m)
	r.tell(m, wire.Skipped{Handle: m.port.handle, From: from, To: to}.Append(r.scratch[:0]))
}

// Leave is a member's last input: it ends the membership.
func (r *Room) Leave(now time.Time, p Port, w peer.Who, n wire.Input) {
	m := r.due(now, p, w, n)
	if m == nil {
		return
	}
	poisoned := r.isPoison(Poison{m.id, m.instance, n})
	r.recordInput(m, Entry{Kind: EntryLeave, Input: n, Flag: poisoned})
	m.applied = n
	r.leave(m, n, poisoned)
}

// holder is the member that w names, if w's connection holds it and the room
// still runs.
func (r *Room) holder(now time.Time, p Port, w peer.Who) *member {
	if !r.begin(now) || r.ending.on {
		return nil
	}
	m := r.members[w.Member]
	if m == nil || m.port == nil || m.port.out != p || m.gen != w.Generation {
		return nil
	}
	m.proved = m.gen
	return m
}

// due is holder for an input whose number is the next one; it answers others.
func (r *Room) due(now time.Time, p Port, w peer.Who, n wire.Input) *member {
	m := r.holder(now, p, w)
	switch {
	case m == nil:
		return nil
	case n <= m.applied:
		r.ack(m)
		return nil
	case n > m.applied+1:
		r.expect(m)
		return nil
	}
	return m
}

// expect asks for the next input once, and again only when that has had time
// to be answered: all the inputs behind a gap arrive one by one.
func (r *Room) expect(m *member) {
	next := m.applied + 1
	if g := r.gaps[m.id]; g.next == next && r.wall.Sub(g.at) < askAgain {
		return
	}
	if r.gaps == nil {
		r.gaps = map[wire.MemberID]gap{}
	}
	r.gaps[m.id] = gap{next, r.wall}
	r.tell(m, wire.Expect{Handle: m.port.handle, Next: next}.Append(r.scratch[:0]))
}

func (r *Room) tellFailed(m *member, n wire.Input) {
	f := wire.Failed{Handle: m.port.handle, N: n, Code: wire.CodeInputFailed, Text: "the room's code failed on this input"}
	r.tell(m, f.Append(r.scratch[:0]))
}
