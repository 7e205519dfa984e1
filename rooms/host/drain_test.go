package host

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// draining is a host with rooms, and another that placement picks.
type draining struct{ a, b *linked }

func newDraining(t *testing.T, k rooms.Kind, n int) *draining {
	t.Helper()
	return newDrainingWith(t, k, n, func(*Config) {})
}

func newDrainingWith(t *testing.T, k rooms.Kind, n int, change func(*Config)) *draining {
	t.Helper()
	mem := newMemStore()
	b := startLinkedWith(t, mem, hostB, change, k)
	place := func(_ directory.Want, not func(directory.NodeID) bool) (*directory.Node, error) {
		if not(hostB) {
			return nil, wire.Refuse(wire.CodeUnavailable, "no host could take the room")
		}
		return &directory.Node{ID: hostB, Role: directory.RoleHost, Link: b.addr}, nil
	}
	w := &draining{startLinkedWith(t, mem, hostA, func(c *Config) { change(c); c.Place = place }, k), b}
	for i := range n {
		activate(t, w.a.Host, wire.Room(k.Name, fmt.Sprint(i)), wire.ModeCreate, 0)
	}
	return w
}

// wait waits until the drain is over.
func (w *draining) wait(t *testing.T) DrainStatus {
	t.Helper()
	until(t, "the drain is over", func() bool { return w.a.DrainState().State != DrainRunning })
	return w.a.DrainState()
}

func TestDrainMovesAllRooms(t *testing.T) {
	w := newDraining(t, tallyKind(), 20)
	if s := w.a.DrainState(); s.State != DrainNone || s.Left != 20 {
		t.Errorf("before: %+v", s)
	}
	p, err := w.a.StartDrain(t.Context(), DrainOptions{})
	if err != nil || !p.Fits || p.Rooms != 20 || len(p.Targets) != 1 || len(p.Targets[0].Rooms) != 20 || p.Targets[0].Host != "b" {
		t.Fatalf("plan %+v, %v", p, err)
	}
	wantCode(t, w.a.Host, "tally/new", wire.ModeCreate, wire.CodeUnavailable)
	s := w.wait(t)
	if s.State != DrainDone || s.Moved != 20 || s.Left != 0 || s.Total != 20 || len(s.Blockers) != 0 || s.Pause.Max <= 0 {
		t.Errorf("after: %+v", s)
	}
	if n := w.b.Load().Rooms; n != 20 {
		t.Errorf("%d rooms on the other host", n)
	}
	wantCode(t, w.a.Host, "tally/new", wire.ModeCreate, wire.CodeUnavailable)
	if w.a.Ready() == nil {
		t.Error("a drained host is ready")
	}
	if err := w.a.CancelDrain(); err != nil {
		t.Fatal(err)
	}
	activate(t, w.a.Host, "tally/new", wire.ModeCreate, 0)
	if err := w.a.CancelDrain(); err == nil {
		t.Error("cancelled twice")
	}
}

func TestDrainRefusedWhereRoomsDoNotFit(t *testing.T) {
	w := newDraining(t, tallyKind(), 3)
	w.b.mu.Lock()
	w.b.cfg.MaxRooms = 2
	w.b.mu.Unlock()
	p, err := w.a.StartDrain(t.Context(), DrainOptions{})
	if err == nil || p.Fits || len(p.Unplaced) != 1 || len(p.Targets[0].Rooms) != 2 {
		t.Errorf("plan %+v, %v", p, err)
	}
	if w.a.Draining() {
		t.Error("a refused drain took the host out of service")
	}
}

func TestDrainCancelledHalfWay(t *testing.T) {
	w := newDraining(t, tallyKind(), 30)
	if _, err := w.a.StartDrain(t.Context(), DrainOptions{Rate: 30}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.a.StartDrain(t.Context(), DrainOptions{}); err == nil {
		t.Error("two drains at once")
	}
	until(t, "some have moved", func() bool { return w.a.DrainState().Moved >= 3 })
	if s := w.a.DrainState(); s.State != DrainRunning || s.ETA <= 0 || s.Rate <= 0 {
		t.Errorf("half-way: %+v", s)
	}
	if err := w.a.CancelDrain(); err != nil {
		t.Fatal(err)
	}
	b := w.b.Load().Rooms
	if s := w.a.DrainState(); s.State != DrainCancelled || b == 0 || b >= 30 || s.Moved != b {
		t.Errorf("%d moved: %+v", b, s)
	}
	until(t, "the last that moved is out", func() bool { return w.a.Load().Rooms == 30-b })
	if err := w.a.Ready(); err != nil {
		t.Errorf("not back in service: %v", err)
	}
}

// patient finishes its round first.
type patient struct {
	tally
	over *atomic.Bool
}

func (p *patient) Drain(rooms.Room, time.Duration) bool { return p.over.Load() }

func patientKind(over *atomic.Bool) rooms.Kind {
	k := tallyKind()
	k.New = func() rooms.Handler { return &patient{over: over} }
	return k
}

func TestDrainWaitsForRounds(t *testing.T) {
	var over atomic.Bool
	w := newDraining(t, patientKind(&over), 1)
	if _, err := w.a.StartDrain(t.Context(), DrainOptions{Deadline: time.Minute}); err != nil {
		t.Fatal(err)
	}
	until(t, "the room is named", func() bool {
		s := w.a.DrainState()
		return len(s.Blockers) == 1 && s.Blockers[0].Room == "tally/0" && strings.Contains(s.Blockers[0].Error, "asks to wait")
	})
	over.Store(true)
	if s := w.wait(t); s.State != DrainDone {
		t.Errorf("%+v", s)
	}
}

func TestDrainWaitsForRoundsUpToALimit(t *testing.T) {
	t.Parallel()
	w := newDraining(t, patientKind(&atomic.Bool{}), 1)
	if _, err := w.a.StartDrain(t.Context(), DrainOptions{Patience: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if s := w.wait(t); s.State != DrainDone || s.Failures == 0 {
		t.Errorf("%+v", s)
	}
}

func TestDrainHasADeadline(t *testing.T) {
	w := newDraining(t, tallyKind(), 2)
	w.b.drains.on.Store(true) // since the plan was made
	if _, err := w.a.beginDrain(DrainOptions{Deadline: 400 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	s := w.wait(t)
	if s.State != DrainFailed || s.Left != 2 || s.Error == "" || len(s.Blockers) != 2 || !strings.Contains(s.Blockers[0].Error, "host drains") {
		t.Errorf("%+v", s)
	}
	if !w.a.Draining() {
		t.Error("a host whose drain failed takes rooms")
	}
}

// A process that is told to stop does not wait for hosts that are told so too.
func TestLonelyDrainGivesUp(t *testing.T) {
	w := newDraining(t, tallyKind(), 2)
	w.b.drains.on.Store(true)
	began := time.Now()
	if _, err := w.a.beginDrain(DrainOptions{Deadline: time.Minute, Lonely: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if s := w.wait(t); s.State != DrainFailed || s.Left != 2 || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), s)
	}
}
