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
				k.hidden.put(id, hidden{time.Now(), r.last.Epoch})
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
				Msg("a room was made for searches while another had a seat: views differed")
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
			if id := k.surplusLocked(o, self); id != "" {
				surplus = append(surplus, id)
			}
			r = &seating{born: o.born()}
			k.rooms[o.Room] = r
		}
		r.node = l.node.ID
		r.heard(*o)
	}
	k.more = k.more || l.more
	for id, r := range k.rooms {
		if all && r.node == l.node.ID && !listed[id] && r.pending == 0 {
			delete(k.rooms, id)
		}
	}
	return surplus
}

// surplusLocked is the room that should not have been made, of the one that is
// new here and those that this node made: "" where there is none. Either
// another node made the new one, while searches came to this node as the key's
// owner and a room of its own had a seat. Or this node made one because it
// could not see the new one's host, which had a seat all the time.
func (k *openKey) surplusLocked(o *OpenRoom, self NodeID) wire.RoomID {
	was, back := k.hidden.get(o.Room)
	back = back && was.epoch == o.Epoch
	foreign := o.By != "" && o.By != self && !k.since.IsZero() && !o.born().Before(k.since)
	for id, r := range k.rooms {
		if r.last.By != self || r.last.Free() <= 0 || !maps.Equal(r.last.Labels, o.Labels) {
			continue
		}
		extra := o.Room
		switch {
		case back && !r.born.Before(was.since):
			extra = id
		case back || !foreign:
			continue
		}
		if _, counted := k.surplus.get(extra); !counted {
			k.surplus.put(extra, time.Now())
			return extra
		}
	}
	return ""
}

func (o *OpenRoom) born() time.Time {
	return time.Now().Add(-time.Duration(o.AgeMS) * time.Millisecond)
}

func (k *openKey) truncated() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.more
}
