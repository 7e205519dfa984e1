package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Drain sends clients to other gateways: it takes no new connections, tells
// each client a time of its own to come back elsewhere, at even distances over
// spread, and closes the connections whose client is still there some time after.
// It returns when all have ended, or with ctx's error; Run goes on either way.
//
// The time is the gateway's to choose: were clients to draw theirs, and the
// gateway to close at another, most would go in the first half.
func (g *Gateway) Drain(ctx context.Context, spread time.Duration) error {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	all := g.connections()
	g.log.Info().Int("connections", len(all)).Dur("spread_ms", spread).Msg("gateway drains")
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	due := func(i int) time.Duration { return spread * time.Duration(i) / time.Duration(len(all)) }
	began := time.Now()
	for i, c := range all {
		left := max(0, due(i)-time.Since(began))
		c.sendNow(encode(wire.GoAway{AfterMS: uint32(left.Milliseconds())}))
	}
	stays := min(spread, mayStay)
	for closed := 0; g.Connections() > 0; pause(ctx, drainEvery) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for ; closed < len(all) && time.Since(began) >= due(closed)+stays; closed++ {
			all[closed].shut(wire.CloseShutdown, goingAway)
		}
		if closed == len(all) {
			for _, c := range g.connections() { // those that slipped in too
				c.shut(wire.CloseShutdown, goingAway)
			}
		}
	}
	return nil
}

const (
	mayStay    = time.Second           // a client after its time, before it is cut
	drainEvery = 10 * time.Millisecond // between looks at who is still there
	goingAway  = "this gateway is going away"
)

// Connections is how many WebSockets are open or about to be.
func (g *Gateway) Connections() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.conns) + g.upgrading
}

// Draining reports whether the gateway takes no new connections.
func (g *Gateway) Draining() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.draining
}

// farewellSpread is how long clients have to come back elsewhere when the
// gateway ends at once.
const farewellSpread = 2 * time.Second

// farewell closes every connection now.
func (g *Gateway) farewell() {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	for _, c := range g.connections() {
		if !c.out.closing() {
			c.put(encode(wire.GoAway{SpreadMS: uint32(farewellSpread.Milliseconds())}))
			c.shut(wire.CloseShutdown, goingAway)
		}
	}
}
