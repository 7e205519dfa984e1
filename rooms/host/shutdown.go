package host

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// shutdown takes the host out of service: every room stops and is saved, then
// the lease ends, and only then gateways hear of it, so that whom they ask next
// can claim the rooms at once. Rooms whose code does not return are given up.
func (h *Host) shutdown(stopRooms context.CancelCauseFunc, stopLease context.CancelFunc) error {
	h.mu.Lock()
	h.closing = true
	n := len(h.live)
	h.mu.Unlock()
	began := time.Now()
	stopRooms(errShutdown)
	saved := waitFor(&h.unsaved, h.cfg.SaveWithin+time.Second)
	stopLease()
	<-h.lease.ended
	close(h.released)
	if !saved || !waitFor(&h.running, time.Second) {
		return fmt.Errorf("shut down: rooms still run after %s: %v", time.Since(began).Round(time.Millisecond), h.unfinished())
	}
	h.log.Info().Int("rooms", n).Dur("took_ms", time.Since(began)).Msg("all rooms stopped")
	return nil
}

// unfinished names some of the rooms that are still here.
func (h *Host) unfinished() []string {
	names := h.stuck.names(10)
	for _, r := range h.all() {
		if names = append(names, string(r.id)); len(names) >= 10 {
			break
		}
	}
	return names
}

// waitFor reports whether wg came to zero within d. Where it did not, the
// goroutine that waits is left with those it waits for.
func waitFor(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-done:
		return true
	case <-late.C:
		return false
	}
}
