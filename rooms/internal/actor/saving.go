package actor

import (
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// saving is what waits for checkpoints to be stored.
type saving struct {
	cut      uint64 // the last one made
	spare    []mark // empty, for the next one
	savedCut uint64 // the last one known to be stored
	endCut   uint64 // the first one that holds the room's close
	held     []held
}

// held is the confirmation of a removal that is not durable yet.
type held struct {
	port *port
	who  peer.Who
	code wire.Code
	text string
	cut  uint64 // to be stored first
}

// Cut is what an Encode covers. Cuts may be saved in any order, more than once or
// not at all; a later one covers what an earlier one did.
type Cut struct {
	serial uint64
	marks  []mark
	entry  uint64

	version uint32
}

// StateVersion is the version in which the state was encoded.
func (c Cut) StateVersion() uint32 { return c.version }

// Journal is the number of the last entry that the cut covers.
func (c Cut) Journal() uint64 { return c.entry }

// mark is how far one client instance's inputs are in a cut.
type mark struct {
	m        *member
	instance wire.Instance
	applied  wire.Input
}

// Dirty says whether something that a checkpoint holds may have changed since
// the last Encode.
func (r *Room) Dirty() bool { return r.durable && (r.dirty || r.fresh) }

// Changed is Dirty but for what the handler's Start alone has changed, which it
// changes again when the room starts from the checkpoint before it.
func (r *Room) Changed() bool { return r.durable && r.dirty }

// Urgent says that a checkpoint is wanted now, not at the kind's interval:
// someone waits for a kick or a close to be confirmed, or an input that must
// be passed over has not been written down.
func (r *Room) Urgent() bool { return r.durable && r.urgent }

// Mark is the cut of now without a checkpoint, for a close that the store
// records as such.
func (r *Room) Mark() Cut {
	r.cut++
	c := Cut{serial: r.cut, entry: r.last, marks: r.spare}
	r.spare = nil
	for _, m := range r.order {
		if !m.gone && m.applied > m.durable {
			c.marks = append(c.marks, mark{m, m.instance, m.applied})
		}
	}
	return c
}

// Saved tells that the state as of c is stored: durable acks follow, and the
// confirmations that waited for it.
func (r *Room) Saved(now time.Time, c Cut) {
	if !r.begin(now) {
		return
	}
	if c.serial > r.savedCut { // a later one has covered it else
		r.savedCut = c.serial
		r.heedMarks(c.marks)
	}
	r.confirm()
	if r.on {
		r.Appended(now, c.entry)
	} else {
		r.saveBarriers()
	}
	if r.ending.on && !r.ending.confirmed && r.endCut <= r.savedCut {
		r.sayGone()
	}
}

// heedMarks has what they cover acknowledged, and keeps their memory.
func (r *Room) heedMarks(marks []mark) {
	for _, k := range marks {
		if m := k.m; m.instance == k.instance && k.applied > m.durable {
			m.durable = k.applied
			r.ack(m)
		}
	}
	clear(marks)
	r.spare = marks[:0]
}

// confirm sends the confirmations whose cut is stored.
func (r *Room) confirm() {
	kept := r.held[:0]
	for _, h := range r.held {
		if h.cut > r.savedCut {
			kept = append(kept, h)
			continue
		}
		h.port.unghost(h.who.Member)
		h.port.out.Send(peer.KindLeft, peer.AppendLeft(r.head[:0], h.who, h.code, h.text), nil)
	}
	r.held = kept
}

// dismiss tells m's connection that the room removed it, when that is durable.
// Until then it gets nothing.
func (r *Room) dismiss(m *member, code wire.Code, text string) {
	if !r.durable || r.on {
		r.sendLeft(m, code, text)
		return
	}
	m.port.ghosts = append(m.port.ghosts, m.id)
	r.held = append(r.held, held{m.port, m.who(), code, text, r.cut + 1})
}

// forgetHeld drops the confirmation for a connection that is gone.
func (r *Room) forgetHeld(p Port, w peer.Who) {
	for i, h := range r.held {
		if h.port.out == p && h.who.Member == w.Member && h.who.Generation == w.Generation {
			h.port.unghost(w.Member)
			r.held = append(r.held[:i], r.held[i+1:]...)
			return
		}
	}
}

func (q *port) unghost(id wire.MemberID) {
	for i, g := range q.ghosts {
		if g == id {
			q.ghosts = append(q.ghosts[:i], q.ghosts[i+1:]...)
			return
		}
	}
}
