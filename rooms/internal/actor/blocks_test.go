package actor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// metronome tells its ticks, each with its number and its time.
type metronome struct{ state struct{ Ticks int } }

func (h *metronome) State() any                                      { return &h.state }
func (h *metronome) Join(rooms.Room, rooms.Member, []byte) error     { return nil }
func (h *metronome) Leave(rooms.Room, rooms.Member, rooms.Reason)    {}
func (h *metronome) Input(r rooms.Room, m rooms.Member, data []byte) {}

func (h *metronome) Tick(r rooms.Room, dt time.Duration) {
	h.state.Ticks++
	r.All().Send(fmt.Appendf(nil, "%d %d", h.state.Ticks, r.Now().UnixMilli()))
}

// undiced is for worlds in which nothing is left to chance.
type undiced struct{ *testing.T }

func (undiced) between(lo, _ int, _ string) int { return lo }

func newMetronome(t *testing.T) *journalWorld {
	w := &journalWorld{t: undiced{t}, now: start, epoch: 1, mates: map[wire.MemberID]*mate{1: {id: 1, gen: 1}}}
	w.v.heard = map[wire.Seq]string{}
	var err error
	w.kind, err = rooms.Kind{
		Name: "k", Durability: rooms.Journal(), Grace: time.Minute, TickRate: 40, // blocks of ten
		New: func() rooms.Handler { return &metronome{} },
	}.Checked()
	if err != nil {
		t.Fatal(err)
	}
	w.boot()
	return w
}

// listen has the member attach, for the first time or again.
func (w *journalWorld) listen() {
	m := w.mates[1]
	a := peer.Attach{Handle: 1, Member: m.id, Generation: m.gen, Incarnation: 1, Why: peer.WhyReattach, At: m.at}
	if !m.in {
		a.Why, a.Incarnation = peer.WhyJoin, 0
	}
	m.asks = true
	w.room.Attach(w.now, w, a)
	w.end()
	w.store(len(w.pend))
}

// tick goes to the next tick's time and runs it.
func (w *journalWorld) tick() {
	w.now = w.room.Next()
	w.room.Tick(w.now)
	w.room.Flush(w.now)
	w.end()
}

// blocks are the ticks up to which the store's entries promise them.
func (w *journalWorld) blocks() (all []uint64) {
	for i, raw := range w.v.entries {
		e, err := DecodeEntry(w.v.base+uint64(i)+1, raw)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Kind != EntryReserve {
			continue
		}
		if e.Count != e.Tick+10 || len(all) > 0 && (e.Count <= all[len(all)-1] || e.Tick > all[len(all)-1]) {
			w.t.Fatalf("at tick %d ticks up to %d are promised, after %v", e.Tick, e.Count, all)
		}
		all = append(all, e.Count)
	}
	return all
}

// heardTicks is the last tick that the member has heard of: of all, in order, and
// of none at a time before the last one's.
func (w *journalWorld) heardTicks() int {
	last, lastAt := 0, int64(0)
	for _, seq := range slices.Sorted(maps.Keys(w.v.heard)) {
		var n int
		var at int64
		if _, err := fmt.Sscan(w.v.heard[seq], &n, &at); err != nil {
			w.t.Fatalf("message %d: %q: %v", seq, w.v.heard[seq], err)
		}
		if n != last+1 || at < lastAt {
			w.t.Fatalf("message %d tells tick %d at %d, behind tick %d at %d", seq, n, at, last, lastAt)
		}
		last, lastAt = n, at
	}
	return last
}

// TestTicksOfABlockRunOnce crashes a room at each tick of its first blocks, with
// all stored and with the last entries under way, with a checkpoint in the middle
// of a block and without one: whoever takes it over has run exactly the ticks that
// the store had promised, and goes on behind them. Nobody hears a tick twice, or
// misses one, or sees time go back.
func TestTicksOfABlockRunOnce(t *testing.T) {
	for ticks := range 25 {
		for _, lag := range []int{0, 1, 3, 7} {
			for _, cutAt := range []int{-1, 0, 4, 9} {
				w := newMetronome(t)
				w.listen()
				promised := uint64(0)
				for n := range ticks {
					w.tick()
					if n == cutAt {
						w.encode()
						promised = w.room.reserved // the checkpoint holds it
						w.saved()
					}
					if n < ticks-lag {
						w.store(len(w.pend))
					}
				}
				if all := w.blocks(); len(all) > 0 {
					promised = max(promised, all[len(all)-1])
				}
				before := w.heardTicks()
				w.now = w.now.Add(30 * time.Millisecond)
				w.boot()
				if ran := w.room.ticks.run; ran != promised || uint64(before) > ran {
					t.Fatalf("crash after %d ticks, %d behind, checkpoint at %d: %d were promised, %d heard, and the next owner has run %d",
						ticks, lag, cutAt, promised, before, ran)
				}
				w.listen()
				for range 25 {
					w.tick()
					w.store(len(w.pend))
				}
				w.blocks()
				if after := w.heardTicks(); after < int(promised)+20 || after != w.room.handler.(*metronome).state.Ticks {
					t.Fatalf("crash after %d ticks, %d behind, checkpoint at %d: %d ticks heard of %d", ticks, lag, cutAt, after, w.room.ticks.run)
				}
			}
		}
	}
}
