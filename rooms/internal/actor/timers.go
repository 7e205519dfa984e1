package actor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// timer is one of the room's, due at a time in nanoseconds since 1970.
type timer struct {
	name string
	due  int64
}

func (t timer) compare(u timer) int {
	return cmp.Or(cmp.Compare(t.due, u.due), cmp.Compare(t.name, u.name))
}

// SetTimer calls Timed.Timer once after d, at the earliest at the room's next
// tick, in a room without ticks when it is due. Negative d counts as 0.
func (r *Room) SetTimer(name string, d time.Duration) {
	if r.timed == nil {
		panic(fmt.Errorf("timer %.70q: handler %T has no method Timer(rooms.Room, string) to be called", name, r.handler))
	}
	if r.muted {
		return
	}
	r.StopTimer(name)
	if len(r.timers) >= rooms.MaxTimers {
		panic(fmt.Errorf("timer %.70q: a room has at most %d", name, rooms.MaxTimers))
	}
	r.addTimer(timer{name, r.now.Add(max(d, 0)).UnixNano()})
}

func (r *Room) addTimer(t timer) {
	i, _ := slices.BinarySearchFunc(r.timers, t, timer.compare)
	r.timers = slices.Insert(r.timers, i, t)
	r.dirty = true
}

// StopTimer forgets a timer, also one that is due and waits for others to run.
func (r *Room) StopTimer(name string) {
	if r.muted {
		return
	}
	is := func(t timer) bool { return t.name == name }
	if i := slices.IndexFunc(r.timers, is); i >= 0 {
		r.timers = slices.Delete(r.timers, i, i+1)
		r.dirty = true
	}
	if i := slices.IndexFunc(r.firing, is); i >= 0 {
		r.firing = slices.Delete(r.firing, i, i+1)
	}
}

// runTimers runs the timers that are due, but not those set meanwhile: one
// that sets itself again with no delay must not keep the room from the rest.
func (r *Room) runTimers() {
	now := r.now.UnixNano()
	n := 0
	for n < len(r.timers) && r.timers[n].due <= now {
		n++
	}
	if n == 0 {
		return
	}
	r.firing = append(r.firing[:0], r.timers[:n]...)
	r.timers = slices.Delete(r.timers, 0, n)
	r.dirty = true
	for r.runs() && len(r.firing) > 0 {
		t := r.firing[0]
		r.firing = slices.Delete(r.firing, 0, 1)
		r.onTimer(t.name)
	}
}
