package e2e

import (
	"context"
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
}
