package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
)

// crowd is a cluster under load.
type crowd struct {
	*cluster.Cluster
	rec   *recorder
	fleet *load.Fleet
	stop  func() error // of the players
}

func startCrowd(ctx context.Context, t *testing.T, hosts, gateways, rooms, members int, rate float64) *crowd {
	t.Helper()
	return startCrowdOf(ctx, t, "ledger", hosts, gateways, rooms, members, rate)
}

func startCrowdOf(ctx context.Context, t *testing.T, kind string, hosts, gateways, rooms, members int, rate float64) *crowd {
	t.Helper()
	return crowdOn(ctx, t, met(ctx, t, startCluster(t, hosts, gateways)), kind, rooms, members, rate)
}

// met is the cluster, once all of it see each other.
func met(ctx context.Context, t *testing.T, cl *cluster.Cluster) *cluster.Cluster {
	t.Helper()
	if err := cl.Met(ctx); err != nil {
		t.Fatal(err)
	}
	return cl
}

// crowdOn has players join a cluster and play until the crowd's stop is called.
func crowdOn(ctx context.Context, t *testing.T, cl *cluster.Cluster, kind string, rooms, members int, rate float64) *crowd {
	t.Helper()
	c := &crowd{Cluster: cl, rec: newRecorder()}
	var err error
	c.fleet, err = load.Join(ctx, load.Config{URLs: c.URLs(), Kind: kind, Rooms: rooms, PerRoom: members, OnEvent: c.rec.event, Record: true,
		Journaled: kind == "ledger-journal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.fleet.Close)
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- c.fleet.Play(playing, rate) }()
	c.stop = func() error { stop(); return <-played }
	return c
}

// finish stops the players and holds every room's book against what was sent.
func (c *crowd) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.fleet.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	books, err := c.fleet.Books(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var sent uint64
	for _, p := range c.fleet.Players {
		sent += p.Sent()
		if err := inOrderOnce(books[p.RoomName].Applied[p.Name].Numbers(), p.Sent()); err != nil {
			t.Errorf("%s in %s: %v", p.Name, p.RoomName, err)
		}
	}
	t.Logf("%d inputs sent; %s", sent, c.rec.summary())
	for _, p := range check.Check(c.fleet.History(books)) {
		t.Error(p)
	}
}

// unnoticed wants that no member lost its connection or was told of a loss.
func (c *crowd) unnoticed(t *testing.T) {
	t.Helper()
	if c.rec.drops != 0 || c.rec.rewinds != 0 || c.rec.gaps != 0 {
		t.Errorf("members noticed: %s", c.rec.summary())
	}
}

// roomsOf counts the rooms of each host, as one node finds them.
func (c *crowd) roomsOf(ctx context.Context, t *testing.T) map[string]int {
	t.Helper()
	var o struct {
		Rooms []struct{ Room, Host string }
	}
	if err := c.Gateways[0].Admin(ctx, "/v1/cluster", nil, &o); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range o.Rooms {
		count[r.Host]++
	}
	return count
}

// TestDrainAndRoll empties a host, cancels a drain half-way, moves rooms by
// hand, and restarts all hosts one after the other, under load: nothing is
// lost, nobody is told of a rewind or a gap, and no socket closes.
func TestDrainAndRoll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := startCrowd(ctx, t, 3, 2, 150, 4, 3)
	by := c.Gateways[1]

	var plan struct {
		Plan struct {
			Rooms int
			Fits  bool
		}
	}
	if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": "host-1", "dry_run": true}, &plan); err != nil {
		t.Fatal(err)
	}
	before := c.roomsOf(ctx, t)
	if !plan.Plan.Fits || plan.Plan.Rooms != before["host-1"] || before["host-1"] == 0 {
		t.Errorf("plan %+v for %v", plan, before)
	}

	s, err := cluster.Drain(ctx, by, "host-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("host-1: %+v", s)
	if s.State != "drained" || s.Left != 0 || s.Moved < before["host-1"] {
		t.Errorf("drain of %d rooms: %+v", before["host-1"], s)
	}
	if n := c.roomsOf(ctx, t); n["host-1"] != 0 || n["host-2"]+n["host-3"] != 150 {
		t.Errorf("rooms after the drain: %v", n)
	}
	if err := by.Admin(ctx, "/v1/drain/cancel", map[string]any{"host": "host-1"}, nil); err != nil {
		t.Fatal(err)
	}

	// A slow drain is cancelled half-way, and the host serves on.
	if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": "host-2", "rate": 20}, nil); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Second)
	if err := by.Admin(ctx, "/v1/drain/cancel", map[string]any{"host": "host-2"}, &s); err != nil {
		t.Fatal(err)
	}
	if s.State != "cancelled" || s.Moved == 0 || s.Left == 0 {
		t.Errorf("cancelled half-way: %+v", s)
	}
	if err := c.Hosts[1].Ready(ctx); err != nil {
		t.Error(err)
	}

	var moved struct{ From, To string }
	if err := by.Admin(ctx, "/v1/move", map[string]any{"room": "ledger/room-0", "to": "host-1"}, &moved); err != nil && !strings.Contains(err.Error(), "on that host already") {
		t.Error(err)
	}

	for _, h := range c.Hosts {
		began := time.Now()
		h.Signal(syscall.SIGTERM)
		t.Logf("%s has ended after %s", h.Name, time.Since(began).Round(time.Millisecond))
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		if err := h.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		pause(ctx, time.Second) // gossip tells the others that it is back
	}
	c.finish(ctx, t)
	c.unnoticed(t)
}

// TestJournaledRoomsMove empties a host of journaled rooms and rolls it, under
// load: no member sees a rewind or a gap, and no room waits for the end of its
// host.
func TestJournaledRoomsMove(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := startCrowdOf(ctx, t, "ledger-journal", 3, 2, 60, 4, 3)
	by := c.Gateways[1]
	before := c.roomsOf(ctx, t)
	s, err := cluster.Drain(ctx, by, "host-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("host-1: %+v", s)
	if s.State != "drained" || s.Left != 0 || s.Moved < before["host-1"] || before["host-1"] == 0 {
		t.Errorf("drain of %d rooms: %+v", before["host-1"], s)
	}
	if s.Pause.Max > 1000 {
		t.Errorf("a room stood still for %.0f ms", s.Pause.Max)
	}
	began := time.Now()
	c.Hosts[1].Signal(syscall.SIGTERM)
	t.Logf("host-2 has ended after %s", time.Since(began).Round(time.Millisecond))
	if n := c.roomsOf(ctx, t); n["host-3"] != 60 {
		t.Errorf("rooms when only host-3 takes them: %v", n)
	}
	c.finish(ctx, t)
	c.unnoticed(t)
}

// TestHostsDieInDrains kills the host that drains, and a host that rooms move
// to, in the middle of it.
func TestHostsDieInDrains(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := startCrowd(ctx, t, 3, 2, 90, 4, 3)
	for _, victim := range []*cluster.Process{c.Hosts[0], c.Hosts[1]} {
		if err := c.Gateways[0].Admin(ctx, "/v1/drain", map[string]any{"host": "host-1", "rate": 30}, nil); err != nil {
			t.Fatal(err)
		}
		pause(ctx, 500*time.Millisecond)
		victim.Signal(syscall.SIGKILL)
		pause(ctx, 3*time.Second)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		if err := victim.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		pause(ctx, time.Second)
	}
	c.finish(ctx, t)
	if c.rec.drops != 0 || c.rec.gaps != 0 {
		t.Errorf("members noticed: %s", c.rec.summary())
	}
}

// TestGatewayDrain ends a gateway with a spread: its clients come back through
// the other one, and resume.
func TestGatewayDrain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := startCrowd(ctx, t, 2, 2, 30, 4, 3)
	began := time.Now()
	c.Gateways[0].Signal(syscall.SIGTERM)
	took := time.Since(began)
	t.Logf("the gateway has ended after %s", took.Round(time.Millisecond))
	if took < time.Second || took > 10*time.Second {
		t.Errorf("clients were sent away within %s, want about 5 s", took)
	}
	if status := c.Gateways[0].Status(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	c.finish(ctx, t)
	if c.rec.drops == 0 || c.rec.rewinds != 0 {
		t.Errorf("members noticed: %s", c.rec.summary())
	}
}
