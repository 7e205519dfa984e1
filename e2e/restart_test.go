package e2e

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// TestRestartInPlace restarts each host in place under load, by order and by
// signal: nothing is lost, nobody is told of a rewind or a gap, no socket
// closes, and each process stays the one that it was.
func TestRestartInPlace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	told := serviceManager(t)
	c := startCrowd(ctx, t, 3, 2, 90, 4, 3)
	before := c.roomsOf(ctx, t)
	for i, h := range c.Hosts {
		pid := h.Pid()
		s, err := cluster.RestartInPlace(ctx, c.Gateways[0], h.Name, func() error {
			if i == 0 {
				return c.Gateways[1].Admin(ctx, "/v1/restart", map[string]any{"host": h.Name}, nil)
			}
			h.Signal(syscall.SIGUSR2)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", h.Name, *s.Last)
		if s.PID != pid || s.Last.Shared < before[h.Name] || s.Last.Stored > 0 || s.Last.Error != "" {
			t.Errorf("%s had %d rooms and pid %d: %+v, %+v", h.Name, before[h.Name], pid, s, *s.Last)
		}
		pause(ctx, 500*time.Millisecond)
	}
	if after := c.roomsOf(ctx, t); after["host-1"] != before["host-1"] || after["host-2"] != before["host-2"] || after["host-3"] != before["host-3"] {
		t.Errorf("rooms were %v, are %v", before, after)
	}
	c.finish(ctx, t)
	c.unnoticed(t)
	for told("READY=1") < 5+3 && ctx.Err() == nil {
		pause(ctx, 10*time.Millisecond)
	}
	if ready, stopping := told("READY=1"), told("STOPPING=1"); ready != 5+3 || stopping != 0 {
		t.Errorf("a service manager was told %d times that a process is ready, want 8, and %d times that one stops", ready, stopping)
	}
}

// serviceManager listens as systemd does to processes of Type=notify, and tells
// how often it heard a message.
func serviceManager(t *testing.T) (told func(string) int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	var mu sync.Mutex
	heard := map[string]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 256)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			heard[string(b[:n])]++
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return func(what string) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[what]
	}
}
