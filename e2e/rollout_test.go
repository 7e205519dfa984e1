package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/wire"
)

// install puts a program into a file as a deploy does: by renaming it there.
func install(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", raw, 0o755)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rollout runs limpet rollout.
func (c *crowd) rollout(ctx context.Context, limpet string, args ...string) (string, error) {
	ops := strings.TrimSuffix(c.Gateways[0].Ops(""), "/")
	out, err := exec.CommandContext(ctx, limpet, append(append([]string{"rollout"}, args...), "--ops", ops, "--watch-for", "200ms")...).CombinedOutput()
	return string(out), err
}

// TestRolloutHaltsAtABadBuild rolls a good build out over all hosts, under
// load; then one whose rooms fail, which stops at the first host; then goes
// back. No input is lost on the way.
func TestRolloutHaltsAtABadBuild(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd := filepath.Join(dir, "roomd")
	good, bad, limpet := program(t, "e2e/roomd"), program(t, "e2e/roomd/bad"), program(t, "cmd/limpet")
	install(t, good, roomd)
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 3, Gateways: 2})
	c := crowdOn(ctx, t, met(ctx, t, cl), "ledger", 45, 2, 2)

	rollout := func(args ...string) (string, error) { return c.rollout(ctx, limpet, args...) }
	if out, err := rollout(); err != nil || strings.Count(out, " restarted, build") != 3 {
		t.Fatalf("rollout of the same build: %v\n%s", err, out)
	}
	c.unnoticed(t)

	install(t, bad, roomd)
	if out, err := rollout(); err == nil || strings.Contains(out, "restarted") {
		t.Fatalf("a build that does not serve all kinds was planned: %v\n%s", err, out)
	}
	out, err := rollout("--force")
	t.Log(out)
	if err == nil || !strings.Contains(out, "halted at") || !strings.Contains(out, "misbehaves") || strings.Count(out, " restarted, build") != 1 {
		t.Fatalf("rollout of a bad build: %v\n%s", err, out)
	}

	install(t, good, roomd)
	if out, err := rollout(); err != nil {
		t.Fatalf("going back: %v\n%s", err, out)
	}
	c.finish(ctx, t)
	if c.rec.drops != 0 {
		t.Errorf("sockets closed: %s", c.rec.summary())
	}
}

// TestRolloutGoesBack rolls out a build whose rooms' state has another form, has
// rooms played, moved and restored there, and goes back to the former build: until
// it is confirmed, the new one writes what the former one reads.
func TestRolloutGoesBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd := filepath.Join(dir, "roomd")
	old, next, limpet := program(t, "e2e/roomd"), program(t, "e2e/roomd/next"), program(t, "cmd/limpet")
	install(t, old, roomd)
	c := crowdOn(ctx, t, met(ctx, t, startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 2, Gateways: 2})), "ledger", 30, 2, 3)
	roll := func(said string, args ...string) {
		t.Helper()
		out, err := c.rollout(ctx, limpet, args...)
		if err != nil || !strings.Contains(out, said) {
			t.Fatalf("rollout %v, want %q said: %v\n%s", args, said, err, out)
		}
	}
	install(t, next, roomd)
	roll("ledger goes from state version 0 to 1, and is written in 0 until", "--dry-run")
	roll("the rollout can go back", "host-1")
	if s, err := cluster.Drain(ctx, c.Gateways[0], "host-1", nil); err != nil || s.Left != 0 { // to the former build
		t.Fatalf("drain from the new build to the former one: %+v, %v", s, err)
	}
	if err := c.Gateways[0].Admin(ctx, "/v1/drain/cancel", map[string]any{"host": "host-1"}, nil); err != nil {
		t.Fatal(err)
	}
	roll("the rollout can go back")
	c.unnoticed(t)

	c.Hosts[1].Signal(syscall.SIGKILL) // what it had comes from the store, in the other form
	if err := c.Hosts[1].Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Hosts[1].Ready(ctx); err != nil {
		t.Fatal(err)
	}
	install(t, old, roomd)
	roll("ledger goes back from state version 1 to 0, in which its rooms are written")
	pause(ctx, 500*time.Millisecond)

	install(t, next, roomd)
	roll("the rollout can go back")
	roll("confirmed: ledger", "--confirm")
	roll("nothing to confirm", "--confirm")
	install(t, old, roomd)
	if out, err := c.rollout(ctx, limpet); err == nil || !strings.Contains(out, "its rooms will not load") {
		t.Errorf("going back behind a confirmed version: %v\n%s", err, out)
	}

	install(t, program(t, "e2e/roomd/fewer"), roomd)
	if out, err := c.rollout(ctx, limpet); err == nil || !strings.Contains(out, "no longer serves: ledger") || strings.Contains(out, "restarted") {
		t.Fatalf("a kind that is served no longer: %v\n%s", err, out)
	}
	roll("restarted", "--force")
	wantKindUnavailable(ctx, t, c)
	install(t, next, roomd)
	roll("restarted")
	c.finish(ctx, t)
	if c.rec.drops != 0 {
		t.Errorf("sockets closed: %s", c.rec.summary())
	}
}

// wantKindUnavailable joins a room whose kind no host serves.
func wantKindUnavailable(ctx context.Context, t *testing.T, c *crowd) {
	t.Helper()
	p, err := client.Dial(ctx, client.Config{URLs: c.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		_, err = p.Join(ctx, wire.ModeJoin, "ledger", "room-0", nil)
		if wire.CodeOf(err).Code == wire.CodeKindUnavailable {
			return
		}
		pause(ctx, 50*time.Millisecond) // gossip tells the gateways
	}
	t.Errorf("join of a kind that no host serves: %v", err)
}

// TestRolloutOfGateways restarts all gateways by a rollout, under load: their
// clients come back spread over time, where they were.
func TestRolloutOfGateways(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limpet := program(t, "cmd/limpet")
	dir := t.TempDir()
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: program(t, "e2e/roomd"), Hosts: 2, Gateways: 2, Edge: []string{"--drain-spread", "1s"}})
	c := crowdOn(ctx, t, met(ctx, t, cl), "ledger", 20, 4, 3)
	var supervised sync.WaitGroup
	defer supervised.Wait()
	for _, g := range c.Gateways { // as systemd would
		if err := os.WriteFile(filepath.Join(dir, g.Name+".pid"), fmt.Append(nil, g.Pid()), 0o600); err != nil {
			t.Fatal(err)
		}
		supervised.Go(func() {
			if err := g.Ended(ctx); err != nil {
				return
			}
			if err := g.Start(); err != nil {
				t.Error(err)
			}
		})
	}
	out, err := c.rollout(ctx, limpet, "gateway-1", "gateway-2", "--restart", "kill -TERM $(cat "+dir+"/{node}.pid)")
	if err != nil || strings.Count(out, " restarted, build") != 2 {
		t.Fatalf("rollout: %v\n%s", err, out)
	}
	c.finish(ctx, t)
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	if n := len(c.fleet.Players); c.rec.drops < n || c.rec.drops > 2*n || c.rec.rewinds != 0 {
		t.Errorf("%d players, %d connections dropped, %d rewinds", n, c.rec.drops, c.rec.rewinds)
	}
	if spread := c.rec.last.Sub(c.rec.first); spread < time.Second {
		t.Errorf("all were sent away within %s", spread)
	}
}

// TestSuccessorThatDies: the program that a restart runs ends at once. Its
// supervisor starts it again, and that one finds the rooms in shared memory.
func TestSuccessorThatDies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd, good := filepath.Join(dir, "roomd"), program(t, "e2e/roomd")
	install(t, good, roomd)
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 2, Gateways: 1})
	c := crowdOn(ctx, t, met(ctx, t, cl), "ledger", 30, 2, 2)
	before := c.roomsOf(ctx, t)

	script := filepath.Join(dir, "dies")
	if err := os.WriteFile(script, []byte(fmt.Sprintf("#!/bin/sh\n[ \"$1\" = describe ] && exec %s describe\nexit 1\n", good)), 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, script, roomd)
	h := c.Hosts[0]
	h.Signal(syscall.SIGUSR2)
	if err := h.Ended(ctx); err != nil {
		t.Fatal(err)
	}
	install(t, good, roomd)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := cluster.RestartState(ctx, h, h.Name)
	if err != nil {
		t.Fatal(err)
	}
	if s.Last == nil || s.Last.Shared != before[h.Name] || s.Last.Stored != 0 {
		t.Errorf("%d rooms were left in shared memory: %+v", before[h.Name], s.Last)
	}
	c.finish(ctx, t)
	c.unnoticed(t)
}
