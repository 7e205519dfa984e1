package sqlitestore

import (
	"context"
	"sync"
	"time"
)

// pace leaves the write lock free after a transaction for as long as it was
// held, at most maxPause. SQLite's lock is not fair: who waits for it looks
// again from time to time, and would find it taken for ever by a process that
// writes without a break.
type pace struct {
	mu   sync.Mutex
	next time.Time
}

const maxPause = 20 * time.Millisecond

// held notes a transaction that began at start and ends now.
func (p *pace) held(start time.Time) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = now.Add(min(now.Sub(start), maxPause))
}

// wait lets the pause pass.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	d := time.Until(p.next)
	p.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
