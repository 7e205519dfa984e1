package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Drain sends clients to other gateways: it takes no new connections, tells
// each client to come back elsewhere within spread, and then closes the
// connections that are left, at even distances over spread. It returns when all
// have ended, or with ctx's error; Run goes on either way.
func (g *Gateway) Drain(ctx context.Context, spread time.Duration) error {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	all := g.connections(nil)
	away := encode(wire.GoAway{SpreadMS: uint32(spread.Milliseconds())})
	for _, c := range all {
		away.hold()
		c.sendNow(away)
	}
	away.release()
	g.log.Info().Int("connections", len(all)).Dur("spread_ms", spread).Msg("gateway drains")
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	began := time.Now()
	for i, c := range all {
		due := spread * time.Duration(i+1) / time.Duration(len(all))
		if wait := due - time.Since(began); wait > 0 {
			pause(ctx, wait)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.shut(wire.CloseShutdown, "this gateway is going away")
	}
	return g.empty(ctx)
}

// empty waits until no connection is left.
func (g *Gateway) empty(ctx context.Context) error {
	for {
		for _, c := range g.connections(nil) { // those that slipped in too
			c.shut(wire.CloseShutdown, "this gateway is going away")
		}
		if g.Connections() == 0 {
			return nil
		}
		if pause(ctx, 10*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

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
	for _, c := range g.connections(nil) {
		if !c.out.closing() {
			c.put(encode(wire.GoAway{SpreadMS: uint32(farewellSpread.Milliseconds())}))
			c.shut(wire.CloseShutdown, "this gateway is going away")
		}
	}
}
