package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// maxStuck bounds the calls that hang in one process. Each costs a goroutine, and
// maybe a processor: with so many the process is to end, and no room is given up
// any more until it has.
const maxStuck = 64

// stuckRooms are the copies that were given up and whose goroutines have not
// come back from the rooms' code. A process that gathers them is drained, see
// Host.Hopeless.
type stuckRooms struct {
	mu   sync.Mutex
	list map[*room]time.Time // since when; guarded by mu
}

// take takes a room whose code does not return from its goroutine.
func (s *stuckRooms) take(r *room) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= maxStuck || !r.calls.take() {
		return false
	}
	if s.list == nil {
		s.list = map[*room]time.Time{}
	}
	s.list[r] = time.Now()
	return true
}

// remove is for the goroutine, when it is back.
func (s *stuckRooms) remove(r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.list, r)
	r.log().Warn().Msg("the call of the room's code has returned after all; what it came to is ignored")
}

func (s *stuckRooms) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

func (s *stuckRooms) has(id wire.RoomID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.list {
		if r.id == id {
			return true
		}
	}
	return false
}

// names are the rooms, at most n.
func (s *stuckRooms) names(n int) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.list {
		if len(names) < n {
			names = append(names, string(r.id))
		}
	}
	return names
}

// longest is the room that has been stuck for longest, and for how long.
func (s *stuckRooms) longest(now time.Time) (id wire.RoomID, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, since := range s.list {
		if now.Sub(since) > d {
			id, d = r.id, now.Sub(since)
		}
	}
	return id, d
}

// Hopeless waits until a call of some room's code has not returned for within
// although its room was given up, and other hosts take rooms; or until maxStuck
// hang. This process then holds processors or locks that nothing can free, and the
// error says so. It returns nil when ctx is done.
func (h *Host) Hopeless(ctx context.Context, within time.Duration, others func() bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n := h.stuck.count()
		if id, d := h.stuck.longest(time.Now()); n >= maxStuck || d >= within && others() {
			return fmt.Errorf("%d calls of rooms' code hang, that of room %s for %s after the room was given up: "+
				"ending this process, as nothing else ends them", n, id, d.Round(time.Second))
		}
	}
}
