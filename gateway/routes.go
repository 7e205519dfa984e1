package gateway

import (
	"github.com/limpet-games/limpet/wire"
)

// lockRoute finds or makes the route of a room, and locks it. Whoever has it
// must settle it before unlocking.
func (g *Gateway) lockRoute(room wire.RoomID) (*route, error) {
	for {
		r, err := g.routeOf(room)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		if !r.retired {
			return r, nil
		}
		r.mu.Unlock()
	}
}

func (g *Gateway) routeOf(room wire.RoomID) (*route, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.rooms[room]; r != nil {
		return r, nil
	}
	if len(g.rooms) >= g.limits.Routes {
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 5000, Text: "this gateway has as many rooms as it may"}
	}
	r := &route{g: g, room: room, handle: g.freeHandle(), seats: map[wire.MemberID]seat{}}
	g.rooms[room], g.handles[r.handle] = r, r
	g.metrics.routes.Inc()
	return r, nil
}

// freeHandle is the next handle. After four thousand million they come again.
func (g *Gateway) freeHandle() wire.Handle {
	for {
		g.lastHandle++
		if g.lastHandle != 0 && g.handles[g.lastHandle] == nil {
			return g.lastHandle
		}
	}
}

func (g *Gateway) retire(r *route) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.rooms, r.room)
	delete(g.handles, r.handle)
	delete(g.tended, r)
	g.metrics.routes.Dec()
}

// byHandle finds a route for a host's message.
func (g *Gateway) byHandle(h wire.Handle) *route {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.handles[h]
}

// passedEpoch is the highest epoch of a room that is known to be over.
func (g *Gateway) passedEpoch(room wire.RoomID) wire.Epoch {
	g.mu.RLock()
	r := g.rooms[room]
	g.mu.RUnlock()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed
}

// tend has the sweep look after a route, or no longer.
func (g *Gateway) tend(r *route, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if on {
		g.tended[r] = struct{}{}
	} else {
		delete(g.tended, r)
	}
}
