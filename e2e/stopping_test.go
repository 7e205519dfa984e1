package e2e

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// TestHostStoppedWithoutAStore: with Redis down a drain waits and says so. A host
// that is told to stop then leaves its rooms in shared memory at its deadline,
// and its next process takes them up when Redis is back: nothing is lost, though
// the store has not seen the last of it.
func TestHostStoppedWithoutAStore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cl := startClusterOf(t, cluster.Config{Roomd: program(t, "e2e/roomd"), Hosts: 2, Gateways: 2, Host: []string{"--drain-deadline", "2s"}})
	c := crowdOn(ctx, t, met(ctx, t, cl), "ledger", 40, 2, 3)
	h, by := c.Hosts[0], c.Gateways[0]
	before := c.roomsOf(ctx, t)[h.Name]
	c.Redis.Signal(syscall.SIGTERM)

	if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": h.Name}, nil); err != nil {
		t.Fatal(err)
	}
	for {
		var s cluster.DrainStatus
		if err := by.Admin(ctx, "/v1/drain?host="+h.Name, nil, &s); err != nil {
			t.Fatal(err)
		}
		if s.State != "draining" {
			t.Fatalf("a drain without the store did not wait: %+v", s)
		}
		if s.Waits != "" {
			break
		}
		pause(ctx, 20*time.Millisecond)
	}
	began := time.Now()
	h.Signal(syscall.SIGTERM)
	if took, status := time.Since(began), h.Status(); status != 0 || took < 2*time.Second || took > 15*time.Second {
		t.Errorf("the host has ended after %s with status %d", took, status)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Second) // it waits as well
	if err := c.StartRedis(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := cluster.RestartState(ctx, h, h.Name)
	if err != nil {
		t.Fatal(err)
	}
	if s.Last == nil || s.Last.Shared != before || s.Last.Rooms != before || before == 0 {
		t.Errorf("%d rooms were left in shared memory: %+v", before, s.Last)
	}
	c.finish(ctx, t)
	c.unnoticed(t)
}
