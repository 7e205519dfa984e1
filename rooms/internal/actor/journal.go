package actor

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// journal is what a room of a journaled kind writes down: each event that
// reaches the handler, at the room's own time, before it is handled. What the
// room says carries the number of the entry that it depends on, and leaves the
// host once that entry is stored.
//
// In such a room Now does not follow the clock: it is the time of the last
// entry or tick, so that a replay has the same.
type journal struct {
	on        bool // events are recorded, or come from a record
	replaying bool
	muted     bool // a Start that must not be seen

	last    uint64 // number of the last entry
	stored  uint64 // of the last one that is known to be in the store
	depends uint64 // of the last entry that output of now depends on
	entries [][]byte
	buf     []byte // of entries

	reserved uint64 // ticks that may run
	blocks   []block
	marks    []entryMark
	shift    time.Duration // the room's time is ahead of the host's by this
	stopped  bool
	diverged string

	trace  func(Entry, *Room)
	digest xxhash.Digest // of what was said, where there is a trace
}

// block is a reservation of ticks: those up to to depend on its entry.
type block struct{ entry, to uint64 }

// entryMark is how far a client instance's inputs are in an entry.
type entryMark struct {
	entry uint64
	mark
}

// record notes an event before it is handled. It sets the room's time.
func (r *Room) record(e Entry) {
	if r.wall.After(r.now) {
		r.now = r.wall
	}
	r.write(e)
}

// write notes an event at the room's time as it is.
func (r *Room) write(e Entry) {
	e.Now, e.Tick, e.Seq = r.now, r.ticks.run, r.seq
	if !r.on || r.replaying {
		return
	}
	r.last++
	e.Number = r.last
	r.show(e)
	from := len(r.buf)
	r.buf = e.append(r.buf)
	r.entries = append(r.entries, r.buf[from:len(r.buf):len(r.buf)])
	if e.Kind == EntryReserve {
		r.blocks = append(r.blocks, block{e.Number, e.Count})
		r.reserved = e.Count
		return // what is said before its ticks run does not depend on it
	}
	r.depends = e.Number
}

// show shows an entry to the trace, before it takes effect.
func (r *Room) show(e Entry) {
	if r.trace != nil {
		r.trace(e, r)
	}
}

// recordInput is record for what moves a member's input counter to n.
func (r *Room) recordInput(m *member, e Entry) {
	e.Member = m.id
	r.record(e)
	if r.on && !r.replaying {
		r.marks = append(r.marks, entryMark{r.last, mark{m, m.instance, e.Input}})
	}
}

// Journaled says whether events are recorded now.
func (r *Room) Journaled() bool { return r.on }

// Depends is the number of the entry that must be stored before what the room
// says now may be heard.
func (r *Room) Depends() uint64 {
	if !r.on {
		return 0
	}
	return r.depends
}

// Sequence is the number of the last reliable message.
func (r *Room) Sequence() wire.Seq { return r.seq }

// Recorded is the number of the last entry.
func (r *Room) Recorded() uint64 { return r.last }

// Entries hands over the entries recorded since the last call; first is the
// number of the first. They are the caller's.
func (r *Room) Entries() (first uint64, entries [][]byte) {
	entries = r.entries
	first = r.last + 1 - uint64(len(entries))
	r.entries, r.buf = nil, nil
	return first, entries
}

// Appended tells that the entries up to number n are stored: durable acks
// follow, and functions that waited for it.
func (r *Room) Appended(now time.Time, n uint64) {
	r.stored = max(r.stored, n)
	if !r.begin(now) || !r.on {
		return
	}
	done := 0
	for done < len(r.marks) && r.marks[done].entry <= n {
		k := &r.marks[done]
		if k.m.instance == k.instance && k.applied > k.m.durable {
			k.m.durable = k.applied
			r.ack(k.m)
		}
		done++
	}
	r.marks = append(r.marks[:0], r.marks[done:]...)
	due := 0
	for due < len(r.barriers) && r.barriers[due].entry <= n {
		due++
	}
	if due > 0 && r.runs() {
		r.record(Entry{Kind: EntryDurable, Count: uint64(due)})
		r.runBarriers(due)
	}
}

// Degrade stops recording: until Rejournal the room is one that is
// checkpointed. What it says from now on does not wait for the store.
func (r *Room) Degrade(now time.Time) {
	if !r.begin(now) || !r.on {
		return
	}
	r.on = false
	r.last += 1 // so that a checkpoint covers more than any entry that may be on its way
	r.entries, r.buf, r.marks, r.blocks = nil, nil, nil, nil
	for i := range r.barriers {
		r.barriers[i].cut = r.cut + 1
	}
	r.dirty, r.urgent = true, true
}

// Rejournal records again, from the checkpoint on that is encoded next. It
// reports false where functions wait for a checkpoint: they must run before.
func (r *Room) Rejournal() bool {
	if r.on || len(r.barriers) > 0 || r.failure != nil {
		return r.on
	}
	r.on, r.depends, r.reserved = true, r.last, r.ticks.run
	if r.wall.After(r.now) {
		r.now = r.wall
	}
	return true
}

// local is a time of the host on the room's clock.
func (r *Room) local(t time.Time) time.Time { return t.Add(r.shift) }

// runTick runs one tick at its own time, with the ends of graces and the
// timers that are due by then.
func (r *Room) runTick() {
	if r.ticks.due.After(r.now) {
		r.now = r.ticks.due
	}
	r.show(Entry{Kind: EntryTick, Now: r.now, Tick: r.ticks.run, Seq: r.seq})
	dt := r.ticks.every * time.Duration(1+r.ticks.left)
	r.ticks.left = 0
	r.ticks.due = r.ticks.due.Add(r.ticks.every)
	r.ticks.run++
	r.ticks.ran++
	for len(r.blocks) > 0 && r.blocks[0].to < r.ticks.run {
		r.blocks = append(r.blocks[:0], r.blocks[1:]...)
	}
	if len(r.blocks) > 0 {
		r.depends = max(r.depends, r.blocks[0].entry)
	}
	r.expire()
	if r.runs() {
		r.runTimers()
	}
	if r.runs() {
		r.onTick(dt)
	}
}

// tickRecorded is Tick where events are recorded.
func (r *Room) tickRecorded() {
	if r.ticker == nil {
		graces := r.away.next(r.cfg.Kind.Grace)
		late := len(r.timers) > 0 && r.timers[0].due <= r.wall.UnixNano()
		if r.runs() && (late || !graces.IsZero() && !graces.After(r.wall)) {
			r.record(Entry{Kind: EntryClock})
			r.expire()
			r.runTimers()
		}
		return
	}
	for n := 0; r.runs() && !r.ticks.due.After(r.wall); n++ {
		if n > maxCatchUp {
			n := uint64(r.wall.Sub(r.ticks.due)/r.ticks.every) + 1
			r.write(Entry{Kind: EntryPass, Count: n})
			r.passTicks(n)
			return
		}
		r.reserve()
		r.runTick()
	}
	if r.runs() {
		r.reserve()
	}
}

// reserve promises further ticks ahead of the time when they run, so that
// their output does not wait for the store.
func (r *Room) reserve() {
	ahead := uint64(max(1, r.cfg.Kind.TickRate/4))
	if r.ticks.run+ahead/2 >= r.reserved {
		r.write(Entry{Kind: EntryReserve, Count: r.ticks.run + ahead})
	}
}

// Digest sums up the room's state, its random source, and, in a room with a
// trace, all that it has said. Equal rooms have equal ones.
func (r *Room) Digest() (uint64, error) {
	state, err := r.encodeState()
	if err != nil {
		return 0, err
	}
	var d xxhash.Digest
	d.Reset()
	d.Write(state)
	rng, _ := r.source.MarshalBinary() // never fails
	d.Write(rng)
	if r.trace != nil {
		var said [8]byte
		n := r.digest.Sum64()
		for i := range said {
			said[i] = byte(n >> (8 * i))
		}
		d.Write(said[:])
	}
	return d.Sum64(), nil
}

// State is the handler's state in its saved form, CBOR; nil where it has none.
func (r *Room) State() ([]byte, error) { return r.encodeState() }

// barrier is a function that waits until all up to it is durable.
type barrier struct {
	f     func()
	entry uint64 // where events are recorded
	cut   uint64 // where they are not
}

// Durable calls f once all that has happened up to now is durable.
func (r *Room) Durable(f func()) {
	if r.muted {
		return
	}
	if len(r.barriers) >= rooms.MaxBarriers {
		panic("too many functions wait for durability")
	}
	r.barriers = append(r.barriers, barrier{f, r.depends, r.cut + 1})
	if r.durable && !r.on {
		r.dirty, r.urgent = true, true
	}
}

// Waiting is how many functions wait for durability.
func (r *Room) Waiting() int { return len(r.barriers) }

// runBarriers runs the first n functions that waited.
func (r *Room) runBarriers(n int) {
	due := append([]barrier(nil), r.barriers[:min(n, len(r.barriers))]...)
	r.barriers = append(r.barriers[:0], r.barriers[len(due):]...)
	for _, b := range due {
		if r.runs() {
			r.onDurable(b.f)
		}
	}
}

// saveBarriers runs the functions whose checkpoint is stored.
func (r *Room) saveBarriers() {
	due := 0
	for due < len(r.barriers) && r.barriers[due].cut <= r.savedCut {
		due++
	}
	if due > 0 && r.runs() {
		r.runBarriers(due)
	}
}
