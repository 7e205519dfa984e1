package gateway

import (
	"context"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// The sweep is the one timer of all connections and routes.
const (
	sweepEvery = 250 * time.Millisecond
	waitEvery  = time.Second // between Waiting frames, and looks at connections: of thousands none is in a cache
)

func (g *Gateway) sweep(ctx context.Context) {
	t := g.cfg.Alarms.New()
	defer t.Stop()
	var told time.Time
	for {
		t.Set(time.Now(), sweepEvery)
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			g.sweepCallers(now)
			tell := now.Sub(told) >= waitEvery
			if tell {
				told = now
				g.addresses.sweep(now)
				g.cutSlowest()
				g.sweepConns()
			}
			g.sweepRoutes(now, tell)
		}
	}
}

// sweepConns cuts silent connections and measures the outboxes.
func (g *Gateway) sweepConns() {
	all, most := 0, 0
	var some [256]*conn
	for at, n := 0, len(some); n == len(some); at += n {
		n = g.some(some[:], at)
		for _, c := range some[:n] {
			if c.idle() > 2*g.limits.Heartbeat {
				c.shut(wire.CloseIdle, "nothing heard for too long")
			}
			bytes, _ := c.out.depth()
			all += bytes
			most = max(most, bytes)
		}
	}
	g.metrics.outboxBytes.Set(float64(all))
	g.metrics.outboxMost.Set(float64(most))
}

// sweepRoutes asks again for members whose re-attach is due, tells those who wait
// that they do, and tries hosts again whose links broke.
func (g *Gateway) sweepRoutes(now time.Time, tell bool) {
	lost := map[directory.NodeID]directory.Location{}
	for _, r := range g.waiting() {
		r.mu.Lock()
		if at, is := r.lost(); is {
			lost[at.Node] = at
		}
		if r.host != nil {
			r.reattach(now)
		}
		r.cutBehind(now)
		if tell {
			r.tellWaiting(now)
		}
		r.mu.Unlock()
	}
	g.redialLost(lost)
}

// waiting are the routes with members that are to be attached again.
func (g *Gateway) waiting() []*route {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := make([]*route, 0, len(g.tended))
	for r := range g.tended {
		all = append(all, r)
	}
	return all
}

// tellWaiting tells those who hear nothing of their room why, and for how long
// that has been so. mu is held.
func (r *route) tellWaiting(now time.Time) {
	for _, s := range r.seats {
		h := s.holder
		if h == nil || h.standing == live {
			continue
		}
		code, since := wire.CodeUnavailable, r.since
		if h.standing.late() {
			code, since = wire.CodeBusy, h.troubles().behindAt
		}
		if waited := now.Sub(since); waited >= waitEvery/2 {
			h.conn.sendNow(encode(wire.Waiting{Handle: r.handle, Code: code, ForMS: uint32(waited.Milliseconds())}))
		}
	}
}
