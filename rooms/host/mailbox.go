package host

import (
	"sync"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// event is something that happened to a room. Inputs are most of them: it fits
// a cache line.
type event struct {
	kind    eventKind
	at, end uint32 // the payload within its batch's bytes
	port    *port
	who     peer.Who
	n       wire.Input // an input's, a leave's; a skip's from
	*matter            // nil where the kind has none
}

// matter is what an event that is no input is about. Of a room's own it is never
// nil.
type matter struct {
	to      wire.Input // of a skip
	attach  *peer.Attach
	floor   wire.Epoch // reclaim
	grant   *grant     // reclaimed
	err     error      // saved, closed, reclaimed
	move    *departure
	act     *act
	part    *parting
	reserve *booking
}

type eventKind uint8

const (
	evAttach eventKind = iota
	evInput
	evSkip
	evLeave
	evDetach
	evPortDown  // its gateway released the handle, or its link broke
	evSaved     // the writer's answer to a checkpoint
	evClosed    // the store's answer to a tombstone
	evReclaim   // the store has lost the room, or an epoch of it that was seen
	evFenced    // another claim has the room
	evReclaimed // its answer to the claim that follows
	evSaveAgain // the store has lost data, of this room or another
	evMove      // the room is to live on another host
	evAct       // an operator wants something of it
	evHandOver  // the room is to live in the next process of this host
	evReserve   // a search wants seats
	eventKinds
)

var eventNames = [eventKinds]string{
	"attach", "input", "skip", "leave", "detach", "port_down", "saved", "closed", "reclaim", "fenced", "reclaimed", "save_again", "move",
	"act", "hand_over", "reserve",
}

// verdict is what became of an event.
type verdict uint8

const (
	queued  verdict = iota
	dropped         // no room for an input: the loop will ask its sender for it again
	overrun         // no room for what can't be asked for again
	gone            // the copy is over
)

// mailbox holds the events that wait for a room, in order. Inputs and control
// events are bounded apart, so that a flood of the one never keeps out the
// other; answers to the room's own requests, of which each is outstanding at
// most once, and one portDown for each port are always taken.
type mailbox struct {
	ready chan struct{} // capacity 1: there may be something to take

	maxInputs, maxBytes, maxControls int

	mu       sync.Mutex
	next     batch
	inputs   int
	controls int
	patient  bool    // inputs alone need not wake the room: it looks at its next tick
	woken    bool    // whoever put an event was told to wake the room
	own      []event // answers to the room's own requests
	closed   bool
}

// batch is what a loop takes at once.
type batch struct {
	events []event
	bytes  []byte            // payloads
	lost   map[loss]struct{} // senders of inputs that were dropped
}

// loss is a member who must be asked for its inputs again.
type loss struct {
	port *port
	who  peer.Who
}

func newMailbox(inputs, bytes, members int) *mailbox {
	return &mailbox{
		ready:     make(chan struct{}, 1),
		maxInputs: inputs, maxBytes: bytes,
		maxControls: max(1024, 4*members), // every member may come and go at once
	}
}

// put takes an event in; payload is copied. wake tells its caller to wake the
// room, at once or when it has put what else it has: one caller for all that
// the room takes at once.
func (b *mailbox) put(ev event, payload []byte) (v verdict, wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return gone, false
	case ev.kind <= evDetach || ev.kind == evReserve:
		if v := b.admit(ev, len(payload)); v != queued {
			return v, b.rouse(v == dropped)
		}
	}
	ev.at = uint32(len(b.next.bytes))
	b.next.bytes = append(b.next.bytes, payload...)
	ev.end = uint32(len(b.next.bytes))
	b.next.events = append(b.next.events, ev)
	return queued, b.rouse(!b.patient || ev.kind != evInput || 2*b.inputs > b.maxInputs || 2*len(b.next.bytes) > b.maxBytes)
}

// rouse says yes once for all that waits; mu is held.
func (b *mailbox) rouse(now bool) bool {
	now = now && !b.woken
	b.woken = b.woken || now
	return now
}

// admit counts an event from a gateway in; mu is held.
func (b *mailbox) admit(ev event, size int) verdict {
	if ev.kind == evAttach || ev.kind == evDetach || ev.kind == evReserve {
		if b.controls >= b.maxControls {
			return overrun
		}
		b.controls++
		return queued
	}
	if b.inputs >= b.maxInputs || len(b.next.bytes)+size > b.maxBytes {
		return b.lose(loss{ev.port, ev.who})
	}
	b.inputs++
	return queued
}

// lose notes whom to ask again, each once; mu is held.
func (b *mailbox) lose(l loss) verdict {
	if b.next.lost == nil {
		b.next.lost = map[loss]struct{}{}
	}
	if _, known := b.next.lost[l]; !known && len(b.next.lost) >= b.maxControls {
		return overrun
	}
	b.next.lost[l] = struct{}{}
	return dropped
}

// putOwn takes in an answer to a request of the room's own. They are handled
// ahead of everything else, and while the room stands still.
func (b *mailbox) putOwn(ev event) {
	if ev.matter == nil {
		ev.matter = new(matter)
	}
	b.mu.Lock()
	if !b.closed {
		b.own = append(b.own, ev)
	}
	b.mu.Unlock()
	b.wake()
}

// takeOwn swaps the answers for an emptied list.
func (b *mailbox) takeOwn(used []event) []event {
	clear(used)
	b.mu.Lock()
	defer b.mu.Unlock()
	used, b.own = b.own, used[:0]
	return used
}

// wake makes the room look into its mailbox. It never blocks.
func (b *mailbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take swaps what waits for the emptied batch that was taken before.
func (b *mailbox) take(used batch) batch {
	used.reset()
	b.mu.Lock()
	defer b.mu.Unlock()
	used, b.next = b.next, used
	b.inputs, b.controls = 0, 0
	b.woken = false
	return used
}

// wait says whether inputs may wait for the room's next tick.
func (b *mailbox) wait(patient bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.patient = patient; !patient && len(b.next.events) > 0 && b.rouse(true) {
		b.wake()
	}
}

// keepBytes and keepEvents are what a quiet room's mailbox may keep allocated.
const (
	keepBytes  = 16 << 10
	keepEvents = 256
)

// reset empties a batch for its next use. Buffers far larger than their last
// use are given up.
func (t *batch) reset() {
	if cap(t.bytes) > keepBytes && len(t.bytes) < cap(t.bytes)/4 {
		t.bytes = nil
	}
	if cap(t.events) > keepEvents && len(t.events) < cap(t.events)/4 {
		t.events = nil
	}
	clear(t.events) // they hold attaches and ports
	t.events, t.bytes, t.lost = t.events[:0], t.bytes[:0], nil
}

// close refuses everything from now on and returns what was still waiting.
func (b *mailbox) close() batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	left := b.next
	b.next = batch{}
	return left
}

// closeIfEmpty closes the mailbox unless something waits.
func (b *mailbox) closeIfEmpty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.next.events)+len(b.own) > 0 {
		return false
	}
	b.closed = true
	return true
}

// waiting is how many events wait.
func (b *mailbox) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.next.events)
}
