package host

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
)

// Open lists rooms for searches. It implements directory.Host.
func (h *Host) Open(kind string, f wire.Filter, most int) (open []directory.OpenRoom, more bool) {
	open = h.takers(kind, func(o *directory.OpenRoom) bool { return f.Matches(o.Labels) && o.Free() >= f.Places() })
	slices.SortFunc(open, func(a, b directory.OpenRoom) int {
		return cmp.Or(cmp.Compare(b.Members+b.Reserved, a.Members+a.Reserved), cmp.Compare(a.Room, b.Room))
	})
	return cut(open, most)
}

// Page lists rooms for people. It implements directory.Host.
func (h *Host) Page(kind string, f wire.Filter, after string, most int) (open []directory.OpenRoom, more bool) {
	open = h.takers(kind, func(o *directory.OpenRoom) bool {
		return o.Room.Name() > after && f.Lists(o.Labels) && o.Free() >= f.Places()
	})
	slices.SortFunc(open, func(a, b directory.OpenRoom) int { return strings.Compare(string(a.Room), string(b.Room)) })
	return cut(open, most)
}

func cut(all []directory.OpenRoom, most int) ([]directory.OpenRoom, bool) {
	if len(all) <= most {
		return all, false
	}
	return slices.Clip(all[:most]), true
}

// takers are the rooms of a kind that take members and are wanted.
func (h *Host) takers(kind string, wanted func(*directory.OpenRoom) bool) (all []directory.OpenRoom) {
	now := time.Now()
	for _, r := range h.all() {
		if r.kind.Name != kind || r.over.Load() {
			continue
		}
		r.status.mu.Lock()
		l, reserved, rev := r.status.listing, r.status.reserved, r.status.rev
		r.status.mu.Unlock()
		if !l.Open {
			continue
		}
		if o := r.openRoom(now, l, reserved, rev); wanted(&o) {
			all = append(all, o)
		}
	}
	return all
}

// openRoom is the room as searches see it.
func (r *room) openRoom(now time.Time, l actor.Listing, reserved int, rev uint64) directory.OpenRoom {
	return directory.OpenRoom{
		Room: r.id, Members: l.Members, Max: l.Max, Labels: l.Labels, Reserved: reserved,
		Epoch: r.claim.Epoch, Incarnation: r.claim.Incarnation, Rev: rev, By: r.by, AgeMS: now.Sub(r.began).Milliseconds(),
	}
}
