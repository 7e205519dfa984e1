package host

import (
	"context"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// seats are the places in a room that are kept for those whom a search has sent
// there. The room's loop owns them; they end with the copy. There are never
// more than the room has free.
type seats struct {
	held  map[wire.MemberID]hold
	own   int       // seats of holds that only their members can take
	group int       // seats kept for who joins by name
	next  time.Time // when the first hold ends, zero: there is none
}

type hold struct {
	until time.Time
	own   int // 1 until the member has come
	group int
}

func (s *seats) taken() int { return s.own + s.group }

// expire gives back what nobody came for.
func (s *seats) expire(now time.Time) {
	if s.next.IsZero() || now.Before(s.next) {
		return
	}
	s.next = time.Time{}
	for id, h := range s.held {
		if !now.Before(h.until) {
			s.remove(id, h)
		} else {
			s.next = earliest(s.next, h.until)
		}
	}
}

func (s *seats) remove(id wire.MemberID, h hold) {
	s.own -= h.own
	s.group -= h.group
	delete(s.held, id)
}

// keep holds seats for a member, in place of what it had.
func (s *seats) keep(now time.Time, id wire.MemberID, group int) {
	if s.held == nil {
		s.held = map[wire.MemberID]hold{}
	}
	s.remove(id, s.held[id])
	h := hold{until: now.Add(directory.ReservedFor), own: 1, group: group}
	s.held[id] = h
	s.own += h.own
	s.group += h.group
	s.next = earliest(s.next, h.until)
}

// claim says whether a new member may take a seat: its own, or one that is not
// kept for somebody else. Who was a member already needs none.
func (s *seats) claim(now time.Time, room *actor.Room, a *peer.Attach) *wire.Error {
	s.expire(now)
	if a.Why != peer.WhyJoin || len(s.held) == 0 || room.Member(rooms.MemberID(a.Member)) != nil {
		return nil
	}
	h, sent := s.held[a.Member]
	if sent && h.own > 0 {
		s.own--
		if h.own = 0; h.group == 0 {
			delete(s.held, a.Member)
		} else {
			s.held[a.Member] = h
		}
		return nil
	}
	l := room.Listing()
	if l.Members+s.own >= l.Max {
		return &wire.Error{Code: wire.CodeRoomFull, RetryMS: uint32(max(s.next.Sub(now), time.Millisecond).Milliseconds()),
			Text: "the last seats are kept for players on their way"}
	}
	if l.Members+s.taken() >= l.Max {
		s.useGroup()
	}
	return nil
}

// useGroup gives one of the seats that are kept for who joins by name.
func (s *seats) useGroup() {
	for id, h := range s.held {
		if h.group == 0 {
			continue
		}
		h.group--
		s.group--
		if s.held[id] = h; h.own+h.group == 0 {
			delete(s.held, id)
		}
		return
	}
}

// booking is a search's request for seats, which the room's loop answers.
type booking struct {
	want   directory.Reservation
	answer chan booked // capacity 1
}

type booked struct {
	room directory.OpenRoom
	err  error
}

// Reserve holds seats in a room that lives here. It implements directory.Host.
func (h *Host) Reserve(ctx context.Context, want directory.Reservation) (directory.OpenRoom, error) {
	notThere := wire.Refuse(wire.CodeNoRoom, "the room is not here")
	r := h.find(want.Room)
	if r == nil || r.over.Load() {
		return directory.OpenRoom{}, notThere
	}
	b := &booking{want: want, answer: make(chan booked, 1)}
	switch v, first := r.box.put(event{kind: evReserve, matter: &matter{reserve: b}}, nil); {
	case v == gone:
		return directory.OpenRoom{}, notThere
	case v != queued:
		return directory.OpenRoom{}, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many searches for the room"}
	case first:
		r.box.wake()
	}
	select {
	case a := <-b.answer:
		h.metrics.reserved(a.err)
		return a.room, a.err
	case <-r.done:
		return directory.OpenRoom{}, notThere
	case <-ctx.Done():
		return directory.OpenRoom{}, wire.Refuse(wire.CodeTimeout, "the room does not answer")
	}
}

// reserve answers a search, on the room's own state of this moment.
func (r *room) reserve(now time.Time, b *booking) {
	r.seats.expire(now)
	l, f := r.actor.Listing(), &b.want.Filter
	mine := r.seats.held[b.want.Member]
	free := l.Max - l.Members - r.seats.taken() + mine.own + mine.group
	var err error
	switch {
	case !r.actor.Matches():
		err = wire.Refuse(wire.CodeRoomLocked, "the room takes no members from searches now")
	case !f.Matches(l.Labels):
		err = wire.Refuse(wire.CodeRoomLocked, "the room has other labels by now")
	case free < f.Places():
		err = wire.Refuse(wire.CodeRoomFull, "no open seat")
	default:
		r.seats.keep(now, b.want.Member, f.Places()-1)
	}
	r.rev++
	r.status.mu.Lock()
	l = r.audibly(l)
	r.status.mu.Unlock()
	o := r.openRoom(now, l, r.seats.taken(), r.rev)
	b.answer <- booked{o, err}
}
