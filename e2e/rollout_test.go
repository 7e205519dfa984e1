package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
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

// TestRolloutHaltsAtABadBuild rolls a good build out over all hosts, under
// load; then one whose rooms fail, which stops at the first host; then goes
// back. No input is lost on the way.
func TestRolloutHaltsAtABadBuild(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd := filepath.Join(dir, "roomd")
	good, bad, limpet := program(t, "e2e/roomd"), program(t, "e2e/roomd/bad"), program(t, "cmd/limpet")
	install(t, good, roomd)
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 3, Gateways: 2})
	c := crowdOn(ctx, t, cl, "ledger", 45, 2, 2)

	rollout := func(args ...string) (string, error) {
		ops := strings.TrimSuffix(c.Gateways[0].Ops(""), "/")
		out, err := exec.CommandContext(ctx, limpet, append([]string{"rollout", "--ops", ops, "--watch-for", "1s"}, args...)...).CombinedOutput()
		return string(out), err
	}
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

// TestSuccessorThatDies: the program that a restart runs ends at once. Its
// supervisor starts it again, and that one finds the rooms in shared memory.
func TestSuccessorThatDies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	roomd, good := filepath.Join(dir, "roomd"), program(t, "e2e/roomd")
	install(t, good, roomd)
	cl := startClusterOf(t, cluster.Config{Dir: dir, Roomd: roomd, Hosts: 2, Gateways: 1})
	c := crowdOn(ctx, t, cl, "ledger", 30, 2, 2)
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
