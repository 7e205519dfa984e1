package gateway

import (
	"context"
	"runtime"
	"time"
)

// Who plays goes before who comes. The gateway measures how late it is with what
// it has to do; while that is more than a player would notice, it takes fewer
// connections, down to a share of its rate, and more again when it has recovered.
const (
	lateEvery = 10 * time.Millisecond  // between looks, while connections come
	paceEvery = 100 * time.Millisecond // between changes of the pace, and between looks while none come
	lateAbove = 20 * time.Millisecond  // what is too late
	slowest   = 2                      // times the least time between connections
	paceDown  = 1.5                    // of the time between connections, where it is too late
	paceUp    = 0.9                    // and where it is not
)

// watchLateness measures until ctx is done.
func (g *Gateway) watchLateness(ctx context.Context) {
	t := g.cfg.Alarms.New()
	defer t.Stop()
	factor, worst, paced := 1.0, time.Duration(0), time.Now()
	for {
		wait := paceEvery
		if g.admission.coming(time.Now()) {
			wait = lateEvery
		}
		now := time.Now()
		due := now.Add(wait)
		t.Set(now, wait)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		runtime.Gosched() // a timer's goroutine goes first: stand in line behind what is ready
		late := max(0, time.Since(due))
		g.metrics.lateness.Observe(late.Seconds())
		if worst = max(worst, late); due.Sub(paced) < paceEvery {
			continue
		}
		factor = nextPace(factor, worst)
		g.admission.slow(factor)
		g.metrics.pace.Set(1 / factor)
		worst, paced = 0, due
	}
}

// nextPace is by how much connections are to be taken more slowly than the
// gateway is allowed to, after a while in which it was at worst so late.
func nextPace(factor float64, worst time.Duration) float64 {
	if worst > lateAbove {
		return min(slowest, factor*paceDown)
	}
	return max(1, factor*paceUp)
}
