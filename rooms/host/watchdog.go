package host

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	watchEvery = 250 * time.Millisecond
	stuckAfter = 4 // looks at one and the same call
)

// pulse tells a watcher which call of its code a room is in, without a clock.
type pulse struct {
	count uint64        // owned by the room's goroutine
	call  atomic.Uint64 // 0: none

	// Owned by the watcher.
	seen  uint64
	looks int
}

func (p *pulse) begin() { p.count++; p.call.Store(p.count) }
func (p *pulse) end()   { p.call.Store(0) }

// stuck reports, once a call, that it has lasted for stuckAfter looks.
func (p *pulse) stuck() bool {
	call := p.call.Load()
	if call == 0 || call != p.seen {
		p.seen, p.looks = call, 0
		return false
	}
	p.looks++
	return p.looks == stuckAfter
}

// watch logs calls of rooms' code that last longer than a second. A goroutine
// can't be ended from outside, so the room stays as it is.
func (h *Host) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, r := range h.all() {
			if r.calls.stuck() {
				r.metrics.stuck.Inc()
				h.failures.stuck.Add(1)
				r.log.Error().Msg("a call of the room's code lasts longer than a second, and nobody in the room is answered")
			}
		}
	}
}
