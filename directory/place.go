package directory

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// placer picks hosts for rooms: the less loaded of two that are drawn at
// random. Of one load report each, it remembers what it has placed since, so
// that a burst of new rooms does not fall on one host.
type placer struct {
	mu     sync.Mutex
	rand   *rand.Rand             // guarded by mu
	placed map[NodeID]*placements // guarded by mu; bounded by the view
}

type placements struct {
	reports uint64 // of the node when they were counted
	rooms   int
	failed  time.Time // when it last did not answer
}

// avoidFor is how long a host that did not answer counts as heavily loaded:
// about as long as gossip takes to notice that one is gone.
const (
	avoidFor  = 5 * time.Second
	avoidLoad = 1 << 30
)

func newPlacer(r *rand.Rand) *placer {
	return &placer{rand: r, placed: map[NodeID]*placements{}}
}

// pick chooses a host that serves the kind, isn't draining and for which not
// is false, and counts the room in. Its errors say why there is none.
func (p *placer) pick(v *View, kind string, not func(NodeID) bool) (*Node, error) {
	var free []*Node
	for _, n := range v.Hosts {
		if !n.Draining && n.Serves(kind) && !not(n.ID) {
			free = append(free, n)
		}
	}
	if len(free) == 0 {
		return nil, noHost(v, kind)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	best := free[p.rand.IntN(len(free))]
	if len(free) > 1 {
		// The second is drawn out of the others.
		at := p.rand.IntN(len(free) - 1)
		other := free[at]
		if other == best {
			other = free[len(free)-1]
		}
		if p.loadLocked(other) < p.loadLocked(best) {
			best = other
		}
	}
	p.countLocked(v, best)
	return best, nil
}

func (p *placer) loadLocked(n *Node) int {
	load := int(n.Load.Rooms) + int(n.Load.Members)
	c := p.placed[n.ID]
	if c != nil && c.reports == n.reports {
		load += c.rooms
	}
	if c != nil && time.Since(c.failed) < avoidFor {
		load += avoidLoad
	}
	return load
}

// countLocked counts a room in. Every host that is avoided has been counted.
func (p *placer) countLocked(v *View, n *Node) {
	c := p.placed[n.ID]
	if c == nil {
		for id := range p.placed {
			if v.Node(id) == nil {
				delete(p.placed, id)
			}
		}
		c = &placements{}
		p.placed[n.ID] = c
	}
	if c.reports != n.reports {
		c.reports, c.rooms = n.reports, 0
	}
	c.rooms++
}

// avoid has the other hosts preferred for a while.
func (p *placer) avoid(id NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.placed[id]; c != nil {
		c.failed = time.Now()
	}
}

// noHost says why no host can take a room of a kind.
func noHost(v *View, kind string) error {
	switch {
	case len(v.Hosts) == 0:
		return wire.Refuse(wire.CodeUnavailable, "no room host is known")
	case !v.Known(kind):
		return wire.Refuse(wire.CodeUnknownKind, "no host serves kind "+kind)
	}
	for _, n := range v.Hosts {
		if !n.Draining && n.Serves(kind) {
			return wire.Refuse(wire.CodeUnavailable, "no host could take the room")
		}
	}
	return &wire.Error{Code: wire.CodeKindUnavailable, RetryMS: 1000, Text: "no host serves kind " + kind + " now"}
}
