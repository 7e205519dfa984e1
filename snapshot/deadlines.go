package snapshot

import (
	"context"
	"time"
)

// Deadlines gives calls that follow one another a context each, which ends with
// its deadline and nothing else. Calls that return in time share its memory: each
// of their contexts is over when its call has returned. It is used by one
// goroutine at a time.
type Deadlines struct{ ctx *timed }

// Begin is the context of a call that may take so long.
func (d *Deadlines) Begin(within time.Duration) context.Context {
	at := time.Now().Add(within)
	if d.ctx == nil {
		c := &timed{at: at, done: make(chan struct{})}
		c.timer = time.AfterFunc(within, func() { close(c.done) })
		d.ctx = c
		return c
	}
	d.ctx.at = at
	d.ctx.timer.Reset(within)
	return d.ctx
}

// End says that the call has returned.
func (d *Deadlines) End() {
	if !d.ctx.timer.Stop() { // it is done for good
		d.ctx = nil
	}
}

type timed struct {
	at    time.Time
	done  chan struct{}
	timer *time.Timer
}

// Deadline is context.Context's, as the methods below.
func (c *timed) Deadline() (time.Time, bool) { return c.at, true }

// Done is closed by the timer.
func (c *timed) Done() <-chan struct{} { return c.done }

// Err is why Done is closed.
func (c *timed) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Value knows none.
func (c *timed) Value(any) any { return nil }
