package host

import (
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

const (
	maxTrails = 8192        // remembered; the oldest goes first
	trailFor  = time.Minute // longer than lookups stay wrong
)

// trails remember where rooms went that moved away, for gateways that come late.
type trails struct {
	mu    sync.Mutex
	at    map[wire.RoomID]trail // guarded by mu
	order []wire.RoomID         // of at, oldest first; guarded by mu
}

type trail struct {
	loc   directory.Location
	until time.Time
}

func newTrails() *trails { return &trails{at: map[wire.RoomID]trail{}} }

func (t *trails) put(loc directory.Location) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.at[loc.Room]; !known {
		if len(t.order) >= maxTrails {
			delete(t.at, t.order[0])
			t.order = t.order[1:]
		}
		t.order = append(t.order, loc.Room)
	}
	t.at[loc.Room] = trail{loc, time.Now().Add(trailFor)}
}

func (t *trails) find(id wire.RoomID) (directory.Location, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[id]
	return at.loc, ok && time.Now().Before(at.until)
}

// movedTo is what gateways are told of a room's next place. epoch is one that
// is over.
func movedTo(handle wire.Handle, epoch wire.Epoch, loc directory.Location) []byte {
	return peer.Moved{
		Handle: handle, Epoch: epoch, Next: loc.Epoch, Incarnation: loc.Incarnation,
		Node: string(loc.Node), Addr: loc.Addr,
	}.Append(nil)
}

// tellNext tells a gateway where the room goes on, ahead of its Gone.
func (r *room) tellNext(p *port) {
	if r.next != nil {
		r.send(p, peer.KindMoved, movedTo(p.handle, r.claim.Epoch, *r.next))
	}
}

// tellTrail tells a gateway that comes late where the room went, ahead of the
// refusal of its attach.
func (g *gateway) tellTrail(a peer.Attach) {
	if loc, ok := g.host.trails.find(a.Room); ok && loc.Epoch > 0 {
		// A link that can't take it can't take the refusal either.
		_ = g.link.Send(peer.KindMoved, movedTo(a.Handle, loc.Epoch-1, loc), nil)
	}
}
