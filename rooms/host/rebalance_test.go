package host

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// newUneven is a host with rooms and one without, which know each other.
func newUneven(t *testing.T, k rooms.Kind, n int, change func(*directory.Node)) *draining {
	t.Helper()
	var both atomic.Pointer[draining] // set once they run
	w := newDrainingWith(t, k, n, func(c *Config) {
		c.Peers = func() []*directory.Node {
			w := both.Load()
			if w == nil {
				return nil
			}
			nodes := []*directory.Node{peerOf(w.a, k), peerOf(w.b, k)}
			if change != nil {
				change(nodes[1])
			}
			return nodes
		}
	})
	both.Store(w)
	return w
}

func peerOf(h *linked, k rooms.Kind) *directory.Node {
	n := &directory.Node{ID: h.cfg.Node, Role: directory.RoleHost, Link: h.addr, Kinds: []string{k.Name}, Draining: h.Draining()}
	n.Load.Rooms = uint16(h.Load().Rooms)
	return n
}

// even carries out rounds until the host is idle.
func even(t *testing.T, h *Host) BalanceStatus {
	t.Helper()
	for range 10 {
		h.balancer.round(t.Context())
		if s := h.BalanceState(); s.State == BalanceIdle {
			return s
		}
	}
	t.Fatalf("it does not end: %+v", h.BalanceState())
	return BalanceStatus{}
}

func TestRebalanceEvensOutAndStops(t *testing.T) {
	w := newUneven(t, tallyKind(), 20, nil)
	s := w.a.BalanceState()
	if s.State != BalanceIdle || s.MovesAll != 10 || len(s.Moves) != 10 || s.Moves[0].To != "b" || w.b.Load().Rooms != 0 {
		t.Fatalf("plan: %+v", s)
	}
	if _, err := w.a.Rebalance(BalanceOptions{Rate: 1000}); err != nil {
		t.Fatal(err)
	}
	s = even(t, w.a.Host)
	until(t, "the last that moved is out", func() bool { return w.a.Load().Rooms == 10 })
	if b := w.b.Load().Rooms; b != 10 || s.Moved != 10 || s.Failures != 0 || s.Ended != endedEven || s.Pause.Max <= 0 {
		t.Errorf("%d rooms on the other: %+v", b, s)
	}
	if n := testutil.ToFloat64(w.a.metrics.moves.WithLabelValues("moved", causeRebalance)); n != 10 {
		t.Errorf("%v moves are counted", n)
	}
	// What has come stays, even where its new host has most.
	if n := len(w.b.movable()); n != 0 {
		t.Errorf("%d rooms that have just come would move on", n)
	}
}

func TestPolicyWaitsUntilTheDifferenceStays(t *testing.T) {
	t.Parallel()
	w := newUneven(t, tallyKind(), 20, nil)
	w.a.balancer.turn.Lock() // the host's own rounds would count
	defer w.a.balancer.turn.Unlock()
	w.a.balancer.look(t.Context())
	w.a.balancer.look(t.Context())
	if n := w.b.Load().Rooms; n != 0 {
		t.Errorf("%d rooms moved without a policy", n)
	}
	w.a.balancer.mu.Lock()
	w.a.balancer.policy, w.a.balancer.hot = true, 0
	w.a.balancer.mu.Unlock()
	w.a.balancer.look(t.Context())
	if n := w.b.Load().Rooms; n != 0 {
		t.Errorf("%d rooms moved at first sight", n)
	}
	w.a.balancer.look(t.Context())
	if n := w.b.Load().Rooms; n != 10 {
		t.Errorf("%d rooms moved", n)
	}
}

func TestRebalanceGivesWayToADrain(t *testing.T) {
	t.Parallel()
	w := newUneven(t, tallyKind(), 40, nil)
	if _, err := w.a.Rebalance(BalanceOptions{Rate: 10}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); w.a.balancer.round(t.Context()) }()
	until(t, "some have moved", func() bool { return w.a.BalanceState().Moved >= 2 })
	if _, err := w.a.StartDrain(t.Context(), DrainOptions{}); err != nil {
		t.Fatal(err)
	}
	<-ended
	w.a.balancer.round(t.Context())
	s := w.a.BalanceState()
	if s.State != BalanceIdle || s.Ended != endedDrain || s.Moved >= 20 {
		t.Errorf("%+v", s)
	}
	if d := w.wait(t); d.State != DrainDone {
		t.Errorf("the drain: %+v", d)
	}
	if _, err := w.a.Rebalance(BalanceOptions{}); err == nil {
		t.Error("a host that drains rebalances")
	}
}

func TestRebalanceStopped(t *testing.T) {
	w := newUneven(t, tallyKind(), 40, nil)
	if _, err := w.a.Rebalance(BalanceOptions{Rate: 10}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); w.a.balancer.round(t.Context()) }()
	until(t, "some have moved", func() bool { return w.a.BalanceState().Moved >= 2 })
	began := time.Now()
	s := w.a.StopRebalance()
	<-ended
	if s.State != BalanceIdle || s.Ended != endedStopped || time.Since(began) > 2*time.Second {
		t.Errorf("%+v after %s", s, time.Since(began))
	}
}

func TestRoomsPlacedByHashStay(t *testing.T) {
	k := tallyKind()
	k.Placement = rooms.ByHash()
	w := newUneven(t, k, 20, nil)
	if s := w.a.BalanceState(); s.MovesAll != 0 {
		t.Errorf("%+v", s)
	}
	full := newUneven(t, tallyKind(), 20, func(n *directory.Node) { n.Load.Full = true })
	if s := full.a.BalanceState(); s.MovesAll != 0 || s.Load != 21 {
		t.Errorf("%+v", s)
	}
	if r := full.a.find(wire.Room("tally", fmt.Sprint(0))); r == nil {
		t.Error("no room")
	}
}
