package load

import (
	"sync"
	"time"
)

// Silence is how long a seat has waited for its room to say something.
type Silence struct {
	mu    sync.Mutex
	last  time.Time     // zero: nothing was heard yet; guarded by mu
	worst time.Duration // guarded by mu
}

func (s *Silence) heard(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() {
		s.worst = max(s.worst, now.Sub(s.last))
	}
	s.last = now
}

// Forget starts to look for the longest silence anew.
func (s *Silence) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worst = 0
}

// Longest is the longest silence since Forget, and HeardSince whether something
// was heard after t.
func (s *Silence) Longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worst
}

// HeardSince reports whether something was heard after t.
func (s *Silence) HeardSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.After(t)
}
