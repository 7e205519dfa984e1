package snapshot

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Deadlines
		call := func(takes time.Duration) error {
			ctx := d.Begin(time.Second)
			defer d.End()
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("deadline in %v", time.Until(at))
			}
			below, cancel := context.WithCancel(ctx)
			defer cancel()
			select {
			case <-time.After(takes):
			case <-below.Done():
			}
			return ctx.Err()
		}
		for _, takes := range []time.Duration{999 * time.Millisecond, 0, 2 * time.Second, 999 * time.Millisecond, time.Minute, 500 * time.Millisecond} {
			start := time.Now()
			err := call(takes)
			if late := takes > time.Second; late != errors.Is(err, context.DeadlineExceeded) || time.Since(start) != min(takes, time.Second) {
				t.Errorf("a call that takes %v ended with %v after %v", takes, err, time.Since(start))
			}
			time.Sleep(3 * time.Second) // the timer of a call that returned is off
		}
		if n := testing.AllocsPerRun(100, func() { d.Begin(time.Second); d.End() }); n > 0 {
			t.Errorf("a call in time allocates %v times", n)
		}
	})
}
