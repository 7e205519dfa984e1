package gateway

import (
	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// Whereabouts is where this gateway's members of a room are.
type Whereabouts struct {
	At      directory.Location // where they are attached, or were last; its epoch is the highest accepted
	Passed  wire.Epoch         // the highest epoch known to be over
	Members int
	Finding bool // they wait: the room's host is looked for
}

// Where tells where a room's members are attached, for those who look into it;
// false where it has none here.
func (g *Gateway) Where(room wire.RoomID) (w Whereabouts, ok bool) {
	g.mu.RLock()
	r := g.rooms[room]
	g.mu.RUnlock()
	if r == nil {
		return w, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Whereabouts{At: r.at, Passed: r.passed, Members: len(r.seats), Finding: r.host == nil}, !r.retired
}
