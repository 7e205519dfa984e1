package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestConcurrentActivationsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		var wg sync.WaitGroup
		var epochs sync.Map
		for range 100 {
			wg.Go(func() {
				loc := activate(t, h.Host, "tally/one", wire.ModeJoinOrCreate, 0)
				epochs.Store(loc.Epoch, true)
			})
		}
		wg.Wait()
		n := 0
		epochs.Range(func(any, any) bool { n++; return true })
		mem := h.memStore()
		mem.mu.Lock()
		defer mem.mu.Unlock()
		if n != 1 || mem.claimReqs != 1 {
			t.Errorf("%d epochs, %d claims, want one of each", n, mem.claimReqs)
		}
	})
}

func TestOneCreatorWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		var won, exists atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := h.Activate(t.Context(), "tally/one", wire.ModeCreate, 0)
				switch {
				case err == nil:
					won.Add(1)
				case wire.CodeOf(err).Code == wire.CodeRoomExists:
					exists.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || exists.Load() != 19 {
			t.Errorf("%d created the room, %d heard that it exists", won.Load(), exists.Load())
		}
	})
}

// Claims of many rooms share calls, and stay within the bound on activations.
func TestClaimsAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		time.Sleep(time.Millisecond) // off the lease's beat
		resume := h.store.hang()
		const n = 256
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { activate(t, h.Host, wire.RoomID(fmt.Sprint("tally/", i)), wire.ModeCreate, 0) })
		}
		synctest.Wait()
		wantCode(t, h.Host, "tally/more", wire.ModeCreate, wire.CodeBusy)
		resume()
		wg.Wait()
		mem := h.memStore()
		mem.mu.Lock()
		defer mem.mu.Unlock()
		if mem.claimReqs != n || mem.claimCalls > n/16 {
			t.Errorf("%d claims in %d calls", mem.claimReqs, mem.claimCalls)
		}
	})
}

func TestLostClaimAnswerIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		h.store.mu.Lock()
		h.store.forget = 3
		h.store.mu.Unlock()
		loc := activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
		mem := h.memStore()
		mem.mu.Lock()
		defer mem.mu.Unlock()
		if r := mem.rooms["tally/one"]; r.claim.Epoch != loc.Epoch || wire.Epoch(r.claim.Incarnation) != loc.Epoch {
			t.Errorf("room is at %+v, activation says %+v", r.claim, loc)
		}
	})
}

func TestActivationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		a := start(t, mem, "a#1", tallyKind())
		b := start(t, mem, "b#1", tallyKind())
		wantCode(t, a.Host, "chess/one", wire.ModeCreate, wire.CodeUnknownKind)
		wantCode(t, a.Host, "tally/one", wire.ModeJoin, wire.CodeNoRoom)
		wantCode(t, a.Host, "tally/", wire.ModeCreate, wire.CodeBadRequest)
		wantCode(t, a.Host, "tally/one", wire.ModeAny, wire.CodeBadRequest)
		loc := activate(t, a.Host, "tally/one", wire.ModeCreate, 0)
		wantCode(t, a.Host, "tally/one", wire.ModeCreate, wire.CodeRoomExists)
		wantCode(t, b.Host, "tally/one", wire.ModeCreate, wire.CodeRoomExists)
		_, err := b.Activate(t.Context(), "tally/one", wire.ModeJoin, 0)
		var held *directory.HeldElsewhere
		if !errors.As(err, &held) || held.Node != "a#1" || held.Epoch != loc.Epoch {
			t.Errorf("activation of a held room: %v", err)
		}
		a.stop()
		wantCode(t, a.Host, "tally/two", wire.ModeCreate, wire.CodeUnavailable)
	})
}

func TestFullHostTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &view{memStore: newMemStore()}
		cfg := testConfig(v, "a#1", nil)
		cfg.Kinds = append(cfg.Kinds, tallyKind())
		cfg.MaxRooms = 2
		h := startWith(t, v, cfg)
		activate(t, h.Host, "tally/1", wire.ModeCreate, 0)
		activate(t, h.Host, "tally/2", wire.ModeCreate, 0)
		wantCode(t, h.Host, "tally/3", wire.ModeCreate, wire.CodeUnavailable)
		activate(t, h.Host, "tally/2", wire.ModeJoin, 0)
		if h.Ready() == nil {
			t.Error("a full host says that it is ready")
		}
	})
}

// One who takes the live epoch for over gets it all the same if its claim
// stands, and a new one if it does not.
func TestFloorAtTheLiveEpochIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		loc := activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
		if again := activate(t, h.Host, "tally/one", wire.ModeJoin, loc.Epoch); again != loc {
			t.Errorf("standing claim: %+v, want %+v", again, loc)
		}
		// An epoch above the store's was seen somewhere: the room goes above it.
		above := activate(t, h.Host, "tally/one", wire.ModeJoin, loc.Epoch+50)
		if above.Epoch <= loc.Epoch+50 || above.Incarnation != loc.Incarnation {
			t.Errorf("above a higher epoch: %+v", above)
		}
		// Fenced by a process that is gone since.
		mem := h.memStore()
		mem.mu.Lock()
		mem.rooms["tally/one"].claim.Epoch += 10
		mem.rooms["tally/one"].holder = "b#1/1"
		mem.mu.Unlock()
		fenced := activate(t, h.Host, "tally/one", wire.ModeJoin, above.Epoch+10)
		if fenced.Epoch <= above.Epoch+10 {
			t.Errorf("after a fence: %+v", fenced)
		}
	})
}

// A room without durability lives as long as its copy.
func TestRoomsWithoutDurability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		a := start(t, mem, "a#1", fleetingKind())
		b := start(t, mem, "b#1", fleetingKind())
		wantCode(t, a.Host, "fleeting/one", wire.ModeJoin, wire.CodeNoRoom)
		l, p, first := joined(t, a, "fleeting/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 3) // applied is all there is
		if a.memStore().rooms["fleeting/one"].data != nil {
			t.Error("a room without durability was saved")
		}
		a.store.fail(errDown)
		a.endLeaseOf(mem)
		wantCode(t, b.Host, "fleeting/one", wire.ModeJoin, wire.CodeNoRoom)
		loc := activate(t, b.Host, "fleeting/one", wire.ModeCreate, 0)
		if loc.Incarnation == first.at.Incarnation || loc.Epoch <= first.at.Epoch {
			t.Errorf("new room %+v after %+v", loc, first.at)
		}
		a.store.fail(nil)
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		q := newPipe(b.Host)
		old := newPlayer(q, q.ear, "fleeting/one", 3, 100)
		if got := old.attach(t, peer.WhyReattach, first.at); got.kind != peer.KindRefused || got.code != wire.CodeEnded {
			t.Errorf("member of the old room: %v", got)
		}
		b.linkDown(q)
	})
}

func (n *node) endLeaseOf(mem *memStore) {
	mem.mu.Lock()
	defer mem.mu.Unlock()
	mem.endLease(n.lease.current())
}

// A lease of this very process that it no longer knows to be current does not
// keep it out of its own rooms.
func TestEarlierLeaseOfThisProcessIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		loc := activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
		h.find("tally/one").kill(errFenced)
		until(t, "copy is out", func() bool { return h.find("tally/one") == nil })
		mem := h.memStore()
		mem.mu.Lock()
		mem.takeLease("a#1/0", time.Hour)
		mem.rooms["tally/one"].holder = "a#1/0"
		mem.mu.Unlock()
		if again := activate(t, h.Host, "tally/one", wire.ModeJoin, loc.Epoch); again.Epoch <= loc.Epoch {
			t.Errorf("claimed again at %d, was %d", again.Epoch, loc.Epoch)
		}
	})
}

func TestActivationEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		resume := h.store.hang()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := h.Activate(ctx, "tally/one", wire.ModeCreate, 0); wire.CodeOf(err).Code != wire.CodeTimeout {
			t.Errorf("activation without an answer: %v", err)
		}
		resume()
		activate(t, h.Host, "tally/one", wire.ModeJoinOrCreate, 0)
	})
}
