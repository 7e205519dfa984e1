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
	waitEvery  = time.Second // between Waiting frames
)

func (g *Gateway) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	var conns []*conn // reused
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			tell := now.Sub(told) >= waitEvery
			if tell {
				told = now
				g.addresses.sweep(now)
				g.cutSlowest()
			}
			conns = g.connections(conns[:0])
			g.sweepConns(conns)
			clear(conns)
			g.sweepRoutes(now, tell)
		}
	}
}

// sweepConns cuts silent connections and measures the outboxes.
func (g *Gateway) sweepConns(conns []*conn) {
	all, most := 0, 0
	for _, c := range conns {
		idle := c.idle()
		if idle > 2*g.limits.Heartbeat {
			c.shut(wire.CloseIdle, "nothing heard for too long")
		}
		n, _ := c.out.depth()
		all += n
		most = max(most, n)
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
		if waited := now.Sub(r.since); tell && r.away > 0 && waited >= waitEvery/2 {
			r.tellWaiting(waited)
		}
		r.mu.Unlock()
	}
	g.redialLost(lost)
}

// waiting are the routes with members that wait for their room.
func (g *Gateway) waiting() []*route {
	g.mu.RLock()
	defer g.mu.RUnlock()
	away := make([]*route, 0, len(g.away))
	for r := range g.away {
		away = append(away, r)
	}
	return away
}

// tellWaiting tells those whose room is not there how long that has been so.
// mu is held.
func (r *route) tellWaiting(waited time.Duration) {
	f := encode(wire.Waiting{Handle: r.handle, Code: wire.CodeUnavailable, ForMS: uint32(waited.Milliseconds())})
	for _, s := range r.seats {
		if h := s.holder; h != nil && h.standing != live {
			f.hold()
			h.conn.sendNow(f)
		}
	}
	f.release()
}
