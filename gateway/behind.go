package gateway

import (
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A client that reads more slowly than its rooms speak is helped in three steps.
// Newer frames of class latest take the place of older ones, and ephemeral ones
// are left out. When its outbox is full all the same, it is behind: it hears
// nothing more of the room, and when its socket has taken most of what waits, it is
// attached again and gets full state for what it missed. One that is still behind
// then, or soon again, is cut off with a code after which it may come back.
const slowText = "the client reads too slowly"

// fallBehind has a room pass over the sessions that had no room for what it just
// said. Nothing that the room says after that reaches them, since only the link's
// reader brings it, which calls this.
func (h *host) fallBehind(r *route) {
	if len(h.slow) == 0 {
		return
	}
	now := time.Now()
	r.mu.Lock()
	for i, s := range h.slow {
		if r.host == h && s.standing == live {
			r.passOver(s, now)
		}
		h.slow[i] = nil
	}
	r.mu.Unlock()
	h.slow = h.slow[:0]
}

// passOver takes a session that is behind from those who hear the room. mu is held.
func (r *route) passOver(s *session, now time.Time) {
	if now.Sub(s.troubles().behindAt) < r.g.limits.Behind {
		s.conn.shut(wire.CloseSlow, slowText)
		return
	}
	s.troubled().behindAt = now
	r.stand(s, behind)
	r.g.metrics.behind.Inc()
}

// caughtUp reports whether the session's socket has taken most of what waited.
func (s *session) caughtUp() bool {
	bytes, frames := s.conn.out.depth()
	l := &s.conn.g.limits
	return bytes <= l.OutboxBytes/4 && frames <= l.OutboxFrames/4
}

// cutBehind cuts those who take too long to catch up. mu is held.
func (r *route) cutBehind(now time.Time) {
	if r.behind == 0 {
		return
	}
	for _, s := range r.seats {
		if h := s.holder; h != nil && h.standing == behind && now.Sub(h.troubles().behindAt) > r.g.limits.Behind && !h.caughtUp() {
			h.conn.shut(wire.CloseSlow, slowText)
		}
	}
}
