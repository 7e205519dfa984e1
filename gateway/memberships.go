package gateway

import (
	"fmt"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// What a connection knows of its rooms.

// seatFor counts a request in, which the connection's end will cancel.
func (c *conn) seatFor(q *request) *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := 0
	for other := c.asking; other != nil; other = other.next {
		held++
	}
	for s := c.sessions; s != nil; s = s.next {
		if s.counted {
			held++
		}
	}
	if held >= c.g.limits.Rooms {
		return wire.Refuse(wire.CodeTooManyRooms, fmt.Sprintf("a connection may be in %d rooms", c.g.limits.Rooms))
	}
	if c.gone {
		return errConnGone
	}
	q.next, c.asking = c.asking, q
	return nil
}

func (c *conn) unask(q *request) {
	q.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := &c.asking; *at != nil; at = &(*at).next {
		if *at == q {
			*at = q.next
			return
		}
	}
}

var errConnGone = wire.Refuse(wire.CodeTimeout, "the connection has ended")

// held is the session of a handle, or nil. mu is held. There are few.
func (c *conn) held(h wire.Handle) *session {
	for s := c.sessions; s != nil; s = s.next {
		if s.route.handle == h {
			return s
		}
	}
	return nil
}

// roomsOf are the connection's rooms of a kind.
func (c *conn) roomsOf(kind string) (all []wire.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := c.sessions; s != nil; s = s.next {
		if s.route.room.Kind() == kind && len(all) < directory.MaxNotRooms/2 {
			all = append(all, s.route.room)
		}
	}
	return all
}

// keep records a session under its handle.
func (c *conn) keep(s *session) *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return errConnGone
	case c.held(s.route.handle) != nil:
		return wire.Refuse(wire.CodeAlreadyMember, "this connection is in that room")
	}
	s.next, c.sessions = c.sessions, s
	return nil
}

// drop forgets a session.
func (c *conn) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := &c.sessions; *at != nil; at = &(*at).next {
		if *at == s {
			*at, s.next = s.next, nil
			return
		}
	}
}

// detachAll cancels the connection's requests and takes its members away from
// their rooms, for which they are dropped then.
func (c *conn) detachAll() {
	c.mu.Lock()
	s, q, watches := c.sessions, c.asking, c.watches
	c.sessions, c.asking, c.watches, c.gone = nil, nil, nil, true
	c.mu.Unlock()
	for _, w := range watches {
		c.g.lobby.drop(w)
	}
	for ; q != nil; q = q.next {
		q.cancel()
	}
	for ; s != nil; s = s.next {
		s.route.leave(s)
	}
}
