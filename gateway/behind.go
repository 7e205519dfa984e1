package gateway

import (
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A client that reads more slowly than its rooms speak is helped in three steps.
// Newer frames of class latest take the place of older ones, and ephemeral ones
// are left out. When its outbox is full all the same, it is behind: rooms' output
// passes it over, and when its socket has taken most of what waits, it is attached
// again and gets full state for what it missed. One that is still behind then, or
// soon again, is cut off with a code after which it may come back.
const slowText = "the client reads too slowly"

// fallBehind has a room's output pass over a session. It is called on the link's
// reader, with the route locked for reading.
func (h *host) fallBehind(s *session) {
	now := time.Now()
	if now.Sub(s.behindAt) < s.conn.g.limits.Behind {
		s.conn.shut(wire.CloseSlow, slowText)
		return
	}
	s.behind, s.behindAt = true, now
	h.slow = append(h.slow, s)
	s.conn.g.metrics.behind.Inc()
}

// setBack has those who fell behind in a batch attached again, in time.
func (h *host) setBack() {
	for i, s := range h.slow {
		s.route.mu.Lock()
		if s.standing == live && s.behind {
			s.route.stand(s, lost)
		}
		s.route.mu.Unlock()
		h.slow[i] = nil
	}
	h.slow = h.slow[:0]
}

// caughtUp reports whether a session that is behind can be attached again. One that
// takes too long is cut. route.mu is held.
func (s *session) caughtUp(now time.Time) bool {
	bytes, frames := s.conn.out.depth()
	l := &s.conn.g.limits
	if bytes <= l.OutboxBytes/4 && frames <= l.OutboxFrames/4 {
		return true
	}
	if now.Sub(s.behindAt) > l.Behind {
		s.conn.shut(wire.CloseSlow, slowText)
	}
	return false
}
