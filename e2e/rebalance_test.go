package e2e

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// balanceStatus is what a host says of rebalancing.
type balanceStatus struct {
	Host, State       string
	Policy            bool
	Load, Mean, Moved int
	Failures          int
	MovesAll          int                             `json:"moves_all"`
	Pause             struct{ P50, P99, Max float64 } `json:"pause_ms"`
}

type balanceAnswer struct {
	Hosts           []balanceStatus
	Asked, Answered int
}

// TestHostJoinsUnderLoad has a third host join two that are loaded, with the
// policy on: rooms move there by themselves, at the pace, until the loads are
// even; nothing is lost, nobody is told of a rewind or a gap, no socket closes.
func TestHostJoinsUnderLoad(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cl := startClusterOf(t, cluster.Config{Roomd: program(t, "e2e/roomd"), Hosts: 3, Gateways: 2, Host: []string{"--rebalance"}})
	cl.Hosts[2].Signal(syscall.SIGTERM)
	c := crowdOn(ctx, t, cl, "ledger", 90, 2, 3)
	if n := c.roomsOf(ctx, t); n["host-3"] != 0 || n["host-1"]+n["host-2"] != 90 {
		t.Fatalf("rooms at first: %v", n)
	}
	third := c.Hosts[2]
	if err := third.Start(); err != nil {
		t.Fatal(err)
	}
	if err := third.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	joined := time.Now()
	for {
		var a balanceAnswer
		if err := c.Gateways[0].Admin(ctx, "/v1/rebalance", nil, &a); err != nil {
			t.Fatal(err)
		}
		n := c.roomsOf(ctx, t)
		idle := a.Answered == 3 && a.Asked == 3
		for _, h := range a.Hosts {
			idle = idle && h.State == "idle" && h.Policy
		}
		if idle && n["host-3"] >= 22 {
			t.Logf("%s after it had joined: %v; %+v", time.Since(joined).Round(100*time.Millisecond), n, a.Hosts)
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("rooms: %v; %+v", n, a)
		}
		pause(ctx, 200*time.Millisecond)
	}
	settled := c.roomsOf(ctx, t)
	if most := max(settled["host-1"], settled["host-2"], settled["host-3"]); most > 40 {
		t.Errorf("rooms: %v", settled)
	}
	c.finish(ctx, t)
	c.unnoticed(t)
}
