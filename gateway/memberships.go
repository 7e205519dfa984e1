package gateway

import (
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

// What a connection knows of its rooms.

// seatFor counts a request in.
func (c *conn) seatFor() *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.asking
	for _, s := range c.sessions {
		if s.counted {
			held++
		}
	}
	if held >= c.g.limits.Rooms {
		return wire.Refuse(wire.CodeTooManyRooms, fmt.Sprintf("a connection may be in %d rooms", c.g.limits.Rooms))
	}
	c.asking++
	return nil
}

func (c *conn) unask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking--
}

// keep records a session under its handle.
func (c *conn) keep(s *session) *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sessions == nil:
		return wire.Refuse(wire.CodeTimeout, "the connection has ended")
	case c.sessions[s.route.handle] != nil:
		return wire.Refuse(wire.CodeAlreadyMember, "this connection is in that room")
	}
	c.sessions[s.route.handle] = s
	return nil
}

// drop forgets a session.
func (c *conn) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[s.route.handle] == s {
		delete(c.sessions, s.route.handle)
	}
}

// detachAll takes the connection's members away from their rooms, for which
// they are dropped then.
func (c *conn) detachAll() {
	c.mu.Lock()
	all := c.sessions
	c.sessions = nil
	c.mu.Unlock()
	for _, s := range all {
		s.route.leave(s)
	}
}
