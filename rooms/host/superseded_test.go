package host

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// told has a host told of a copy elsewhere, some epochs above its own, and
// reports whether its own copy ended, and after how long, within 5 s.
func (n *node) told(t *testing.T, room wire.RoomID, above int) (ended bool, took time.Duration) {
	t.Helper()
	r := n.find(room)
	start := time.Now()
	n.Superseded(directory.Location{Room: room, Node: "b#1", Epoch: r.claim.Epoch + wire.Epoch(above)})
	select {
	case <-r.done:
		return true, time.Since(start)
	case <-time.After(5 * time.Second):
		return false, 0
	}
}

// The store says that another took the room over: the copy ends at once.
func TestSupersededCopyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tallyKind())
		l, _, _ := joined(t, h, "tally/one")
		mem.takenOver("tally/one")
		if ended, took := h.told(t, "tally/one", 1); !ended || took > 100*time.Millisecond {
			t.Errorf("ended %v after %s", ended, took)
		}
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		if got := testutil.ToFloat64(h.metrics.superseded); got != 1 {
			t.Errorf("counted %v copies", got)
		}
	})
}

// The store can't be asked: the higher epoch is proof enough, after the second
// that the question may take.
func TestSupersededCopyEndsWithoutTheStore(t *testing.T) {
	for name, cut := range map[string]func(*view) (heal func()){
		"refuses": func(v *view) func() { v.fail(errDown); return func() { v.fail(nil) } },
		"hangs":   (*view).hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, newMemStore(), "a#1", tallyKind())
				l, _, _ := joined(t, h, "tally/one")
				heal := cut(h.store)
				if ended, took := h.told(t, "tally/one", 1); !ended || took > supersededWithin+100*time.Millisecond {
					t.Errorf("ended %v after %s", ended, took)
				}
				l.wait(t, "gone", isGone(7, wire.CodeNone))
				heal()
			})
		})
	}
}

// The store says that the claim stands, or knows nothing of the room: the news
// was of a copy that it has lost, and the one here stays.
func TestCopyWhoseClaimStandsIsNotSuperseded(t *testing.T) {
	for name, change := range map[string]func(*memStore){
		"stands":  func(*memStore) {},
		"missing": (*memStore).loseRooms,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				h := start(t, mem, "a#1", tallyKind())
				joined(t, h, "tally/one")
				change(mem)
				r := h.find("tally/one")
				h.Superseded(directory.Location{Room: r.id, Node: "b#1", Epoch: r.claim.Epoch + 1})
				synctest.Wait()
				if r.ctx.Err() != nil || r.doubt.Load() {
					t.Errorf("the copy ends (%v), or is in doubt still", r.ctx.Err())
				}
			})
		})
	}
}

// What does not tell of another's newer copy is not looked into, though the
// store would say that the claim is fenced.
func TestSupersededIgnoresWhatIsNoNews(t *testing.T) {
	for name, c := range map[string]struct {
		above int
		from  directory.NodeID
		ready func(*room)
	}{
		"a lower epoch":    {above: -1, from: "b#1"},
		"its own epoch":    {above: 0, from: "b#1"},
		"its own host":     {above: 1, from: "a#1"},
		"a room that ends": {above: 1, from: "b#1", ready: func(r *room) { r.over.Store(true) }},
		"a room on a move": {above: 1, from: "b#1", ready: func(r *room) { r.going.Store(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				h := start(t, mem, "a#1", tallyKind())
				joined(t, h, "tally/one")
				mem.takenOver("tally/one")
				r := h.find("tally/one")
				if c.ready != nil {
					c.ready(r)
				}
				h.Superseded(directory.Location{Room: r.id, Node: c.from, Epoch: r.claim.Epoch + wire.Epoch(c.above)})
				synctest.Wait()
				if r.ctx.Err() != nil {
					t.Error("the copy ends")
				}
				r.over.Store(false)
				r.going.Store(false)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // and a room that is not here
		h := start(t, newMemStore(), "a#1", tallyKind())
		h.Superseded(directory.Location{Room: "tally/none", Node: "b#1", Epoch: 9})
	})
}

// takenOver gives a room to another host.
func (s *memStore) takenOver(room wire.RoomID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := *s.rooms[room]
	n.claim.Epoch++
	n.claim.Nonce++
	n.holder = "b#1/1"
	s.rooms[room] = &n
}

// loseRooms forgets all rooms, and keeps the leases.
func (s *memStore) loseRooms() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.rooms)
}

// A gateway knows of a higher epoch, and its hint leads to the stale copy: that
// does not take the member in, and the lookup that follows ends it.
func TestGatewayThatKnowsBetterEndsAStaleCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tallyKind())
		start(t, mem, "b#1", tallyKind())
		l, _, first := joined(t, h, "tally/one")
		stale := h.find("tally/one")
		mem.takenOver("tally/one")
		newer := first.at
		newer.Epoch++
		q := newPlayer(l, l.ear, "tally/one", 9, 200)
		began := time.Now()
		if got := q.attach(t, peer.WhyReattach, newer); got.kind != peer.KindRefused || got.code != wire.CodeNone {
			t.Fatalf("attach above the copy's epoch: %v", got)
		}
		var held *directory.HeldElsewhere
		if loc, err := h.Activate(t.Context(), "tally/one", wire.ModeJoin, newer.Epoch); !errors.As(err, &held) || held.Epoch != newer.Epoch {
			t.Errorf("lookup: %+v, %v", loc, err)
		}
		select {
		case <-stale.done:
		default:
			t.Error("the stale copy lives")
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("took %s", took)
		}
		l.wait(t, "gone", isGone(7, wire.CodeNone))
	})
}
