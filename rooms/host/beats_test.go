package host

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// back takes the store back to what it was when image was made, but for leases.
func (s *memStore) image() (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := map[wire.RoomID]memRoom{}
	for id, r := range s.rooms {
		saved[id] = *r
	}
	beats := maps.Clone(s.beats)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.rooms)
		for id, r := range saved {
			s.rooms[id] = &r
		}
		s.beats = beats
	}
}

// saved is a room's checkpoint in the store.
func (s *memStore) saved(id wire.RoomID) memRoom {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[id]; r != nil {
		return *r
	}
	return memRoom{}
}

// A store that comes back without its last writes, with leases and all, gets them
// again within two seconds: those of live rooms, and those of rooms that have
// left.
func TestLostTailIsWrittenAgain(t *testing.T) {
	for name, k := range map[string]rooms.Kind{"checkpoint": tallyKind(), "journal": journaled(tallyKind())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k.EmptyAfter = time.Second
				k.Grace = time.Second
				mem := newMemStore()
				h := start(t, mem, "a#1", k)
				_, p, _ := joined(t, h, "tally/one")
				l2, q, _ := joined(t, h, "tally/parked")
				time.Sleep(2 * time.Second)
				back := mem.image()
				p.moves(1, 3)
				p.waitAck(t, 3, 3)
				q.moves(1, 3)
				q.waitAck(t, 3, 3)
				h.linkDown(l2)
				until(t, "the empty room is unloaded", func() bool { return h.find("tally/parked") == nil })
				live, parked := mem.saved("tally/one"), mem.saved("tally/parked")
				back()
				lost := time.Now()
				until(t, "both are written again", func() bool {
					a, b := mem.saved("tally/one"), mem.saved("tally/parked")
					return a.seq > live.seq && string(b.data) == string(parked.data)
				})
				if took := time.Since(lost); took > 2*time.Second {
					t.Errorf("written again after %s", took)
				}
				if now := mem.saved("tally/one"); now.claim != live.claim {
					t.Errorf("claim %+v became %+v", live.claim, now.claim)
				}
			})
		})
	}
}

// A store that was emptied, but for the leases, gets every room again, in a higher
// epoch of the same incarnation; also one whose kind is not saved has its claim.
func TestEmptiedStoreGetsEveryRoomAgain(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), journaled(tallyKind()), fleetingKind()} {
		t.Run(k.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				h := start(t, mem, "a#1", k)
				id := wire.Room(k.Name, "one")
				l, p, first := joined(t, h, id)
				p.moves(1, 3)
				p.waitAck(t, 3, 3)
				mem.mu.Lock()
				leases := maps.Clone(mem.leases)
				mem.mu.Unlock()
				mem.wipe()
				mem.mu.Lock()
				maps.Copy(mem.leases, leases)
				mem.mu.Unlock()
				lost := time.Now()
				until(t, "the room is in the store", func() bool {
					r := mem.saved(id)
					return r.claim.Epoch > 0 && (k.Durability == rooms.None() || r.seq > 0)
				})
				if took := time.Since(lost); took > 2*time.Second {
					t.Errorf("written again after %s", took)
				}
				r := mem.saved(id)
				if r.claim.Incarnation != first.at.Incarnation || r.claim.Epoch <= first.at.Epoch {
					t.Errorf("claim %+v after incarnation %d epoch %d", r.claim, first.at.Incarnation, first.at.Epoch)
				}
				l.wait(t, "gone", isGone(7, wire.CodeNone))
				at := first.at
				at.Seq = 3
				if again := p.attach(t, peer.WhyReattach, at); again.at.How != wire.HowResumed || again.at.Applied != 3 {
					t.Errorf("attach: %v %+v", again, again.at)
				}
			})
		})
	}
}

// A write that was on its way when the store was emptied comes late: the room has
// been claimed again by then, by this very copy, which does not take that for
// another owner.
func TestEmptiedStoreAndALateWrite(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), journaled(tallyKind())} {
		t.Run(k.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				h := start(t, mem, "a#1", k)
				id := wire.Room(k.Name, "one")
				_, p, first := joined(t, h, id)
				p.moves(1, 3)
				p.waitAck(t, 3, 3)
				var late atomic.Bool // writes come from several goroutines
				h.store.onWrite(func() error {
					for !late.Load() && mem.saved(id).claim.Epoch == first.at.Epoch {
						time.Sleep(time.Millisecond) // until the store is emptied
					}
					for deadline := time.Now().Add(2 * time.Second); !late.Load() && mem.saved(id).claim.Epoch == 0 && time.Now().Before(deadline); {
						time.Sleep(time.Millisecond) // until the room is claimed again
					}
					late.Store(true)
					return nil
				})
				p.moves(4, 6)
				time.Sleep(time.Second) // it is being written
				h.store.forget = 1
				mem.wipe()
				until(t, "the room is in the store", func() bool { return mem.saved(id).seq > 0 })
				r := mem.saved(id)
				if r.claim.Incarnation != first.at.Incarnation || r.claim.Epoch <= first.at.Epoch {
					t.Errorf("claim %+v after incarnation %d epoch %d", r.claim, first.at.Incarnation, first.at.Epoch)
				}
				at := first.at
				at.Seq = 3
				if again := p.attach(t, peer.WhyReattach, at); again.at.How != wire.HowResumed || again.at.Applied != 6 {
					t.Errorf("attach: %v %+v", again, again.at)
				}
			})
		})
	}
}

// A cold room that the store lost is not created anew for one who knows of it.
func TestColdRoomThatTheStoreLost(t *testing.T) {
	t.Parallel()
	h := start(t, newMemStore(), "a#1", tallyKind(), fleetingKind())
	for _, mode := range []wire.Mode{wire.ModeJoin, wire.ModeJoinOrCreate} {
		if _, err := h.Activate(t.Context(), "tally/cold", mode, 5); wire.CodeOf(err).Code != wire.CodeStateLost {
			t.Errorf("mode %d: %v", mode, err)
		}
	}
	if _, err := h.Activate(t.Context(), "tally/cold", wire.ModeCreate, 5); err != nil {
		t.Errorf("a room that is to be created: %v", err)
	}
	// A kind of which nothing is kept can lose nothing.
	if _, err := h.Activate(t.Context(), "fleeting/cold", wire.ModeJoin, 5); wire.CodeOf(err).Code != wire.CodeNoRoom {
		t.Errorf("fleeting: %v", err)
	}
	if _, err := h.Activate(t.Context(), "fleeting/cold", wire.ModeJoinOrCreate, 5); err != nil {
		t.Errorf("fleeting: %v", err)
	}
}

// A room that its copy claimed again, after the store had lost it, is lost with
// that copy: it is not taken for one that never saved.
func TestRoomLostAgainBeforeItIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		now := wire.Epoch(time.Now().UnixMilli())
		for _, id := range []wire.RoomID{"tally/one", "fleeting/one"} {
			mem.mu.Lock()
			got := mem.claim(snapshot.ClaimRequest{Room: id, Holder: "dead#1/1", Nonce: 7, Floor: now, Incarnation: 5})
			mem.mu.Unlock()
			if got.Err != nil {
				t.Fatal(got.Err)
			}
		}
		h := start(t, mem, "a#1", tallyKind(), fleetingKind())
		for _, mode := range []wire.Mode{wire.ModeJoin, wire.ModeJoinOrCreate} {
			if _, err := h.Activate(t.Context(), "tally/one", mode, 0); wire.CodeOf(err).Code != wire.CodeStateLost {
				t.Errorf("mode %d: %v", mode, err)
			}
		}
		if _, err := h.Activate(t.Context(), "tally/one", wire.ModeCreate, 0); err != nil {
			t.Errorf("to create it: %v", err)
		}
		if r := mem.saved("tally/one"); r.claim.Incarnation == 5 {
			t.Error("it was created in the incarnation that was lost")
		}
		// Of this kind nothing is ever saved, and nothing could be lost.
		if _, err := h.Activate(t.Context(), "fleeting/one", wire.ModeJoinOrCreate, 0); err != nil {
			t.Errorf("fleeting: %v", err)
		}
	})
}

// A last write that fails on its way back is tried again under the claim that it
// has by then.
func TestLastWriteIsRepeatedUntilItIsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tallyKind())
		calls := 0
		h.store.onWrite(func() error {
			if calls++; calls == 2 { // the one under the new claim
				return errDown
			}
			return nil
		})
		req := snapshot.SaveRequest{Claim: snapshot.Claim{Room: "tally/one", Incarnation: 5, Epoch: 9, Nonce: 7}, Seq: 3, Data: []byte("state")}
		h.kept.add(time.Now(), req)
		h.rewrite(t.Context())
		if r := mem.saved("tally/one"); string(r.data) != "state" || calls != 3 {
			t.Errorf("after %d calls: %+v", calls, r)
		}
	})
}

// A room that the store lost is not given up while the host that had it last may
// write it again.
func TestLostRoomMayComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tallyKind())
		back := snapshot.ClaimRequest{Room: "tally/one", Holder: "b#1/1", Nonce: 7, Floor: 9, Incarnation: 5}
		var other sync.WaitGroup
		other.Go(func() {
			time.Sleep(time.Second)
			mem.mu.Lock()
			defer mem.mu.Unlock()
			got := mem.claim(back)
			if err := errors.Join(got.Err, mem.save(snapshot.SaveRequest{Claim: got.Claim, Seq: 1, Data: []byte("state")})); err != nil {
				t.Error(err)
			}
		})
		loc, err := h.Activate(t.Context(), "tally/one", wire.ModeJoin, 9)
		if code := wire.CodeOf(err).Code; code == wire.CodeStateLost || loc.Epoch != 0 && loc.Incarnation != 5 {
			t.Errorf("%+v, %v", loc, err)
		}
		other.Wait()
	})
}

// A store that takes leases but no writes, as a Redis that is out of memory,
// pauses durable acks within a second.
func TestStoreThatTakesNoWritesIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, _, _ := joined(t, h, "tally/one")
		time.Sleep(time.Second)
		l.forget()
		h.store.failBeats(errDown)
		began := time.Now()
		l.wait(t, "store paused", isTold(wire.TypeStore))
		if took := time.Since(began); took > time.Second {
			t.Errorf("told after %s", took)
		}
		l.forget()
		h.store.failBeats(nil)
		l.wait(t, "store runs", isTold(wire.TypeStore))
	})
}

func TestKeptWritesAreBounded(t *testing.T) {
	var k keptWrites
	now := time.Now()
	for range 3 {
		k.add(now, snapshot.SaveRequest{Seq: 1, Data: make([]byte, keptBytes/2)})
	}
	if len(k.list) != 2 || k.bytes != keptBytes {
		t.Errorf("%d writes of %d bytes are kept", len(k.list), k.bytes)
	}
	if n := len(k.all(now.Add(2 * keptFor))); n > 0 {
		t.Errorf("%d are repeated after their time", n)
	}
	k.add(now.Add(2*keptFor), snapshot.SaveRequest{Seq: 1})
	if len(k.list) != 1 || k.bytes != 0 {
		t.Errorf("%d writes of %d bytes are kept", len(k.list), k.bytes)
	}
}
