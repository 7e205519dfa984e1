package directory

import (
	"context"
	"maps"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// refresh takes in what the hosts list now. Rooms of a host that does not
// answer stay as they were. all: what a host does not list is not open.
func (x *openIndex) refresh(ctx context.Context, k *openKey, f wire.Filter, all bool) {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	v := x.s.cfg.Members.View()
	var hosts []*Node
	for _, h := range v.Hosts {
		if h.Serves(k.kind) && !h.Draining {
			hosts = append(hosts, h)
		}
	}
	lists := x.s.lists(ctx, hosts, openCall{Kind: k.kind, Most: maxOpen, Filter: f})
	k.mu.Lock()
	defer k.mu.Unlock()
	if all {
		k.more = false
		for id, r := range k.rooms {
			if v.Node(r.node) == nil {
				delete(k.rooms, id)
			}
		}
	}
	for _, l := range lists {
		if l.err != nil {
			x.s.metrics.openMissed.Inc()
			continue
		}
		for _, id := range k.takeLocked(l, x.s.self, all) {
			x.s.metrics.openSurplus.Inc()
			x.s.cfg.Log.Info().Str("room", string(id)).Str("host", string(l.node.ID)).
				Msg("another node made a room for searches while this one had a seat")
		}
	}
}

// takeLocked brings the rooms of one host up to its list, and tells those that
// are surplus. all: what is not listed is not open any more.
func (k *openKey) takeLocked(l list, self NodeID, all bool) (surplus []wire.RoomID) {
	listed := make(map[wire.RoomID]bool, len(l.rooms))
	for i := range l.rooms {
		o := &l.rooms[i]
		listed[o.Room] = true
		r := k.rooms[o.Room]
		if r != nil && !o.newer(&r.last) {
			continue
		}
		if r == nil {
			if len(k.rooms) >= maxOpenRooms {
				k.more = true
				continue
			}
			if k.surplusLocked(o, self) {
				surplus = append(surplus, o.Room)
			}
			r = &seating{}
			k.rooms[o.Room] = r
		}
		r.node, r.last = l.node.ID, *o
	}
	k.more = k.more || l.more
	for id, r := range k.rooms {
		if all && r.node == l.node.ID && !listed[id] && r.pending == 0 {
			delete(k.rooms, id)
		}
	}
	return surplus
}

// surplusLocked reports whether a room that is new here should not have been
// made: searches came to this node, the key's owner, when another made it, and
// a room that this node made has a seat.
func (k *openKey) surplusLocked(o *OpenRoom, self NodeID) bool {
	born := time.Now().Add(-time.Duration(o.AgeMS) * time.Millisecond)
	if o.By == "" || o.By == self || k.since.IsZero() || born.Before(k.since) {
		return false
	}
	if _, counted := k.surplus.get(o.Room); counted {
		return false
	}
	for _, r := range k.rooms {
		if r.last.By == self && r.last.Free() > 0 && maps.Equal(r.last.Labels, o.Labels) {
			k.surplus.put(o.Room, born)
			return true
		}
	}
	return false
}

func (k *openKey) truncated() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.more
}
