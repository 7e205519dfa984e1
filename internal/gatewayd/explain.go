package gatewayd

import (
	"context"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/gateway"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/wire"
)

// believe is what a gateway believes of a room: the lookup that it remembers, and
// where its members are attached.
func believe(g *gateway.Gateway, resolver *directory.Resolver) daemon.Believe {
	return func(_ context.Context, room wire.RoomID, b *explain.Belief) {
		if loc, ok := resolver.Cached(room); ok {
			at := daemon.PlaceOf(loc)
			b.Cache = &at
		}
		if w, ok := g.Where(room); ok {
			b.Route = &explain.Route{Place: daemon.PlaceOf(w.At), Members: w.Members, Finding: w.Finding, OverUntil: uint64(w.Passed)}
		}
	}
}
