package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// TestDeployIsolatedKind rolls out hosts whose kind runs in processes of its
// own, and drains one, whose process dies in the middle of it: the drain goes to
// its end, nothing starts to take rooms again before it is cancelled, and no
// input is lost.
func TestDeployIsolatedKind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd, limpet := filepath.Join(dir, "roomd"), program(t, "cmd/limpet")
	install(t, program(t, "e2e/roomd"), roomd)
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 2, Gateways: 1, Host: []string{"--isolate", "ledger"}})
	for _, h := range cl.Hosts {
		readyChild(ctx, t, h)
	}
	c := crowdOn(ctx, t, met(ctx, t, cl), "ledger", 30, 2, 2)
	by := c.Gateways[0]

	out, err := c.rollout(ctx, limpet)
	if err != nil || strings.Count(out, " restarted, build") != 2 {
		t.Fatalf("rollout: %v\n%s", err, out)
	}
	for _, h := range cl.Hosts {
		if s := isolated(ctx, t, h); s.State != "ready" || s.Deaths != 0 {
			t.Errorf("after the rollout: %+v", s)
		}
	}

	// The process dies in the middle of the drain.
	before := isolated(ctx, t, cl.Hosts[0])
	if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": "host-1", "rate": 5}, nil); err != nil {
		t.Fatal(err)
	}
	// A plan, or an order that is refused, stops nothing.
	for _, dry := range []bool{true, false} {
		if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": "host-1", "dry_run": dry}, nil); err == nil != dry {
			t.Errorf("drain again, dry run %v: %v", dry, err)
		}
	}
	var s cluster.DrainStatus
	if err := by.Admin(ctx, "/v1/drain?host=host-1", nil, &s); err != nil || s.State != "draining" {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, err = cluster.AwaitDrain(ctx, by, "host-1"); err != nil || s.State != "drained" {
		t.Fatalf("%+v, %v", s, err)
	}
	for c.roomsOf(ctx, t)["host-2~ledger"] != 30 {
		wait(ctx, t, "the other host has all rooms")
	}
	if now := isolated(ctx, t, cl.Hosts[0]); now.PID != 0 || now.Deaths != before.Deaths+1 {
		t.Errorf("while the host drains: %+v", now)
	}

	if err := by.Admin(ctx, "/v1/drain/cancel", map[string]any{"host": "host-1"}, nil); err != nil {
		t.Fatal(err)
	}
	readyChild(ctx, t, cl.Hosts[0])
	if s, err = cluster.Drain(ctx, by, "host-2", nil); err != nil || s.State != "drained" || s.Moved != 30 {
		t.Fatalf("drain of the other host: %+v, %v", s, err)
	}
	c.finish(ctx, t)
	if c.rec.drops != 0 {
		t.Errorf("sockets closed: %s", c.rec.summary())
	}
}

func readyChild(ctx context.Context, t *testing.T, host *cluster.Process) {
	t.Helper()
	for isolated(ctx, t, host).State != "ready" {
		wait(ctx, t, "the isolated kind's process is ready")
	}
}
