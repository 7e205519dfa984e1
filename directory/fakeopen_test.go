package directory

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// The part of a fake host that searches ask. Reservations never end by
// themselves: a test that wants so ends them.

func (h *fakeHost) Create(ctx context.Context, room wire.RoomID, floor wire.Epoch, made Made) (Location, error) {
	loc, err := h.Activate(ctx, room, wire.ModeCreate, floor)
	if err == nil {
		h.claims.change(room, func(c *claim) { c.made, c.born = made, time.Now() })
	}
	return loc, err
}

func (h *fakeHost) Open(kind string, f wire.Filter, most int) (all []OpenRoom, more bool) {
	all = h.takers(kind, func(o OpenRoom) bool { return f.Matches(o.Labels) && o.Free() >= f.Places() })
	slices.SortFunc(all, func(a, b OpenRoom) int { return b.Members + b.Reserved - a.Members - a.Reserved })
	return all[:min(len(all), most)], len(all) > most
}

func (h *fakeHost) Page(kind string, f wire.Filter, after string, most int) (all []OpenRoom, more bool) {
	all = h.takers(kind, func(o OpenRoom) bool { return f.Lists(o.Labels) && o.Room.Name() > after && o.Free() >= f.Places() })
	slices.SortFunc(all, func(a, b OpenRoom) int { return strings.Compare(string(a.Room), string(b.Room)) })
	return all[:min(len(all), most)], len(all) > most
}

func (h *fakeHost) Rooms() (n int) {
	h.each(func(claim) bool { n++; return true })
	return n
}

func (h *fakeHost) takers(kind string, wanted func(OpenRoom) bool) (all []OpenRoom) {
	h.each(func(c claim) bool {
		if o := c.open(); c.loc.Room.Kind() == kind && wanted(o) {
			all = append(all, o)
		}
		return true
	})
	return all
}

func (c *claim) open() OpenRoom {
	o := OpenRoom{
		Room: c.loc.Room, Members: c.joined, Max: seats, Labels: c.made.Labels, Epoch: c.loc.Epoch,
		Incarnation: c.loc.Incarnation, Rev: c.rev, By: c.made.By, AgeMS: time.Since(c.born).Milliseconds(),
	}
	for _, n := range c.reserved {
		o.Reserved += n
	}
	return o
}

func (h *fakeHost) Reserve(_ context.Context, want Reservation) (o OpenRoom, err error) {
	h.claims.change(want.Room, func(c *claim) {
		o = c.open()
		switch {
		case c.loc.Node != h.id:
			o, err = OpenRoom{}, wire.Refuse(wire.CodeNoRoom, "the room is not here")
		case !want.Filter.Matches(c.made.Labels):
			err = wire.Refuse(wire.CodeRoomLocked, "other labels")
		case o.Free() < want.Filter.Places():
			err = wire.Refuse(wire.CodeRoomFull, "no seat")
		default:
			if c.reserved == nil {
				c.reserved = map[wire.MemberID]int{}
			}
			c.reserved[want.Member] = want.Filter.Places()
		}
		if err == nil {
			c.rev++
			o = c.open()
		}
	})
	return o, err
}

func (c *claims) change(room wire.RoomID, f func(*claim)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[room]
	r.reserved = maps.Clone(r.reserved) // others read the former one
	r.rev++
	f(&r)
	if r.loc.Room != "" {
		c.rooms[room] = r
	}
}

// join takes a seat, as a room's host does.
func (c *claims) join(room wire.RoomID, who wire.MemberID) (ok bool) {
	c.change(room, func(r *claim) {
		_, sent := r.reserved[who]
		o := r.open()
		if ok = sent || o.Free() > 0; ok {
			delete(r.reserved, who)
			r.joined++
		}
	})
	return ok
}
