package host

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
)

// status is what a room's loop tells those who look at it from outside.
type status struct {
	mu        sync.Mutex
	listing   actor.Listing
	reserved  int
	rev       uint64
	connected int
	saves     uint64
	changed   time.Time // the oldest change that is not stored

	inputs, ticks, skipped uint64 // of this copy
	late                   worst
	numbers                []actor.Number
}

// publish updates what others see of the room.
func (r *room) publish() {
	if n := r.actor.TicksRun(); n > r.ticked {
		r.metrics.ticks.Add(float64(n - r.ticked))
		r.ticked = n
	}
	if n := r.actor.TicksSkipped(); n > r.skipped {
		r.metrics.ticksSkipped.Add(float64(n - r.skipped))
		r.skipped = n
	}
	listing, connected := r.actor.Listing(), r.actor.Connected()
	s := &r.status
	s.mu.Lock()
	defer s.mu.Unlock()
	r.host.members.Add(int64(listing.Members - s.listing.Members))
	listing = r.audibly(listing)
	r.rev++
	s.reserved, s.rev = r.seats.taken(), r.rev
	s.listing, s.connected, s.saves, s.changed = listing, connected, r.save.seq, r.save.changed
	s.inputs, s.ticks, s.skipped, s.late = r.vitals.inputs, r.ticked, r.skipped, r.vitals.late
	s.numbers = append(s.numbers[:0], r.vitals.numbers...)
}

// audibly leaves out of a listing what the journal does not hold yet. The
// status's mu is held.
func (r *room) audibly(l actor.Listing) actor.Listing {
	if r.actor.Depends() > r.audible() {
		told := &r.status.listing
		l.Labels, l.Open = told.Labels, told.Open && l.Open
	}
	return l
}

// clear takes the room's members out of the host's count.
func (s *status) clear(h *Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.members.Add(-int64(s.listing.Members))
	s.listing = actor.Listing{}
}

// RoomInfo is one room in the operators' list. Ages are in seconds.
type RoomInfo struct {
	Room        wire.RoomID       `json:"room"`
	Host        directory.NodeID  `json:"host"`
	Epoch       wire.Epoch        `json:"epoch"`
	Incarnation wire.Incarnation  `json:"incarnation"`
	Members     int               `json:"members"`
	Max         int               `json:"max"`
	Connected   int               `json:"connected"`
	Open        bool              `json:"open"`
	Labels      map[string]string `json:"labels,omitempty"`
	Age         float64           `json:"age"`     // of this copy
	Saves       uint64            `json:"saves"`   // of the room, over all copies
	Unsaved     float64           `json:"unsaved"` // age of the oldest change that is not stored
}

// List describes every room that lives here, by name.
func (h *Host) List() []RoomInfo {
	now := time.Now()
	var list []RoomInfo
	for _, r := range h.all() {
		list = append(list, r.info(now))
	}
	slices.SortFunc(list, func(a, b RoomInfo) int {
		if a.Room < b.Room {
			return -1
		}
		return 1
	})
	return list
}

// want is what the room needs of a host.
func (r *room) want() directory.Want {
	r.status.mu.Lock()
	defer r.status.mu.Unlock()
	return directory.Want{Room: r.id, Labels: r.status.listing.Labels}
}

func (r *room) info(now time.Time) RoomInfo {
	s := &r.status
	s.mu.Lock()
	defer s.mu.Unlock()
	i := RoomInfo{
		Room: r.id, Host: r.host.cfg.Node, Epoch: r.claim.Epoch, Incarnation: r.claim.Incarnation,
		Members: s.listing.Members, Max: r.kind.MaxMembers, Connected: s.connected,
		Open: s.listing.Open, Labels: s.listing.Labels,
		Age: now.Sub(r.began).Seconds(), Saves: s.saves,
	}
	if !s.changed.IsZero() {
		i.Unsaved = now.Sub(s.changed).Seconds()
	}
	return i
}

// Rooms is how many rooms live here. It implements directory.Host.
func (h *Host) Rooms() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.live)
}

// Load is how much the host carries, for gossip.
type Load struct{ Rooms, Members int }

// Load counts live rooms, those that start, and members.
func (h *Host) Load() Load {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Load{Rooms: len(h.live) + len(h.flights), Members: int(h.members.Load())}
}

// clipRooms and clipMembers are counts as gossip carries them.
func clipRooms(n int) uint16   { return uint16(min(n, math.MaxUint16)) }
func clipMembers(n int) uint32 { return uint32(min(n, math.MaxUint32)) }
