package gateway

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/wire"
)

// pressed reports whether the process must not take on what a level forbids.
func (g *Gateway) pressed(l pressure.Level) bool {
	return g.cfg.Pressure != nil && g.cfg.Pressure() >= l
}

// scarce refuses a join to a room that nobody behind this gateway is in yet.
func (q *request) scarce() *wire.Error {
	g := q.c.g
	if q.what != "join" || !g.pressed(pressure.NoRooms) {
		return nil
	}
	g.mu.RLock()
	known := g.rooms[q.ask.Room] != nil
	g.mu.RUnlock()
	if known {
		return nil
	}
	g.metrics.pressed.WithLabelValues("room").Inc()
	return &wire.Error{Code: wire.CodeBusy, RetryMS: 2000 + rand.Uint32N(2000), Text: "this gateway is short of memory or descriptors"}
}

// cutShare is the part of the connections that is cut in a second while that
// lasts, at least one.
const cutShare = 50

// cutSlowest sends those away for whom the most waits, or of whom was not heard
// for longest, once a second while memory or descriptors are about to run out.
func (g *Gateway) cutSlowest() {
	if !g.pressed(pressure.CutSlowest) {
		return
	}
	type cost struct {
		c     *conn
		bytes int
		idle  time.Duration
	}
	var all []cost
	for _, c := range g.connections() {
		if c.out.closing() {
			continue
		}
		n, _ := c.out.depth()
		all = append(all, cost{c, n, c.idle()})
	}
	slices.SortFunc(all, func(a, b cost) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(b.idle, a.idle)) })
	for _, one := range all[:min(len(all), 1+len(all)/cutShare)] {
		g.metrics.pressed.WithLabelValues("connection").Inc()
		one.c.shut(wire.CloseSlow, "this gateway is short of memory or descriptors")
	}
}
