package gateway

import (
	"context"

	"github.com/limpet-games/limpet/directory"
)

// back is closed when a node that restarts in place can be reached, or restarts
// no more. One tries for all who wait: they are as many as the node has rooms,
// and its processors have better things to do.
func (g *Gateway) back(at directory.Location) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, waits := g.returns[at.Node]
	if waits {
		return c
	}
	c = make(chan struct{})
	if g.closed {
		close(c)
		return c
	}
	g.returns[at.Node] = c
	g.wg.Go(func() {
		g.awaitReturn(at)
		g.mu.Lock()
		delete(g.returns, at.Node)
		g.mu.Unlock()
		close(c)
	})
	return c
}

func (g *Gateway) awaitReturn(at directory.Location) {
	for g.ctx.Err() == nil && g.restarting(at.Node) {
		pause(g.ctx, findPause)
		ctx, cancel := context.WithTimeout(g.ctx, redialWithin)
		_, err := g.cfg.Mesh.Link(ctx, string(at.Node), at.Addr)
		cancel()
		if err == nil {
			return
		}
	}
}

// restarting reports whether a node restarts in place, with its rooms.
func (g *Gateway) restarting(node directory.NodeID) bool {
	return !g.cfg.Directory.Restarting(node).IsZero()
}
