package gateway

import (
	"context"

	"github.com/limpet-games/limpet/directory"
)

// redialLost tries the hosts of rooms that were lost with a link alone. Such a
// room may well live on where it was, at the epoch that its members know, and no
// lookup above that epoch leads there: only the host itself can say. For as long
// as others find it alive it is tried at every sweep, once at a time.
func (g *Gateway) redialLost(lost map[directory.NodeID]directory.Location) {
	for node, at := range lost {
		g.mu.Lock()
		trying := g.redials[node]
		g.mu.Unlock()
		if trying || !g.cfg.Directory.Up(node) {
			continue
		}
		g.mu.Lock()
		g.redials[node] = true
		g.mu.Unlock()
		if !g.begin(func() { g.redial(at) }) {
			return
		}
	}
}

// redial binds all rooms that were lost at a node, if that can be reached.
func (g *Gateway) redial(at directory.Location) {
	defer func() {
		g.mu.Lock()
		delete(g.redials, at.Node)
		g.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(g.ctx, g.limits.CutOff)
	defer cancel()
	h, err := g.reach(ctx, at)
	if err != nil {
		return // the next sweep tries again
	}
	for _, r := range g.waiting() {
		r.mu.Lock()
		if at, lost := r.lost(); lost && at.Node == h.node {
			r.bind(h, at) // refused only where the link is down again
		}
		r.mu.Unlock()
	}
}

// lost is where a room was before its link broke, unless its epoch there is
// known to be over. mu is held.
func (r *route) lost() (directory.Location, bool) {
	return r.at, r.host == nil && !r.retired && r.at.Node != "" && r.at.Epoch > r.passed
}
