package directory

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// placer picks hosts for rooms, as their kind would have it. Of one load report
// each, it remembers what it has placed since, so that a burst of new rooms
// does not fall on one host.
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

// avoidFor is how long a host that did not answer is the last to be asked:
// about as long as gossip takes to notice that one is gone.
const avoidFor = 5 * time.Second

// clearly is how much more loaded, in percent, the first drawn has to be for
// the second to be taken. Reports are seconds old: on a smaller difference
// chance spreads rooms better than they do.
const clearly = 10

func newPlacer(r *rand.Rand) *placer {
	return &placer{rand: r, placed: map[NodeID]*placements{}}
}

// pick chooses a host that may take the room and for which not is false, and
// counts the room in. Its errors say why there is none.
func (p *placer) pick(v *View, w Want, not func(NodeID) bool) (*Node, error) {
	var free []*Node
	for _, n := range v.Hosts {
		if n.fits(&w) && !not(n.ID) {
			free = append(free, n)
		}
	}
	if len(free) == 0 {
		return nil, noHost(v, w)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	free = p.answeringLocked(free)
	var best *Node
	switch free[0].Placement(w.Room.Kind()).How {
	case PlaceByHash:
		best = home(free, w.Room)
	case PlaceAtRandom:
		best = free[p.rand.IntN(len(free))]
	default:
		best = p.lighterLocked(free)
	}
	p.countLocked(v, best)
	return best, nil
}

// answeringLocked leaves out hosts that did not answer lately, unless all did
// not.
func (p *placer) answeringLocked(hosts []*Node) []*Node {
	now := time.Now()
	answering := slices.DeleteFunc(slices.Clone(hosts), func(n *Node) bool {
		c := p.placed[n.ID]
		return c != nil && now.Sub(c.failed) < avoidFor
	})
	if len(answering) == 0 {
		return hosts
	}
	return answering
}

// lighterLocked draws two hosts and takes the second where the first is clearly
// more loaded.
func (p *placer) lighterLocked(hosts []*Node) *Node {
	best := hosts[p.rand.IntN(len(hosts))]
	if len(hosts) == 1 {
		return best
	}
	// The second is drawn out of the others.
	other := hosts[p.rand.IntN(len(hosts)-1)]
	if other == best {
		other = hosts[len(hosts)-1]
	}
	if p.loadLocked(other)*(100+clearly) < p.loadLocked(best)*100 {
		return other
	}
	return best
}

func (p *placer) loadLocked(n *Node) int {
	load := n.Load
	if c := p.placed[n.ID]; c != nil && c.reports == n.Reports {
		load.Rooms = uint16(min(int(load.Rooms)+c.rooms, math.MaxUint16))
	}
	return load.Score()
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
	if c.reports != n.Reports {
		c.reports, c.rooms = n.Reports, 0
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

// noHost says why no host can take a room.
func noHost(v *View, w Want) error {
	kind, suiting := w.Room.Kind(), false
	switch {
	case len(v.Hosts) == 0:
		return wire.Refuse(wire.CodeUnavailable, "no room host is known")
	case !v.Known(kind):
		return wire.Refuse(wire.CodeUnknownKind, "no host serves kind "+kind)
	}
	for _, n := range v.Hosts {
		if n.fits(&w) {
			return wire.Refuse(wire.CodeUnavailable, "no host could take the room")
		}
		suiting = suiting || n.suits(&w) && !n.Draining
	}
	if suiting {
		return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: "the hosts are full"}
	}
	for _, n := range v.Hosts {
		if !n.Draining && n.Serves(kind) {
			return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: "no host has the labels or the build that is asked for"}
		}
	}
	return &wire.Error{Code: wire.CodeKindUnavailable, RetryMS: 1000, Text: "no host serves kind " + kind + " now"}
}
