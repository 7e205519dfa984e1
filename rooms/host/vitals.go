package host

import (
	"time"

	"github.com/limpet-games/limpet/rooms/internal/actor"
)

const (
	measureEvery = time.Second     // a room's own numbers
	worstFor     = 5 * time.Second // a room's lateness shows the worst of so long, up to twice that
)

// vitals are what a room counts and measures for operators. The loop owns it.
type vitals struct {
	inputs  uint64
	late    worst
	numbers []actor.Number
	fresh   time.Time // when the numbers were measured
	stale   bool      // something happened since
}

// worst is the highest of the last seconds.
type worst struct {
	since    time.Time
	now, was time.Duration
}

func (w *worst) add(at time.Time, d time.Duration) {
	w.turn(at)
	w.now = max(w.now, d)
}

func (w *worst) turn(at time.Time) {
	switch age := at.Sub(w.since); {
	case age >= 2*worstFor:
		w.since, w.now, w.was = at, 0, 0
	case age >= worstFor:
		w.since, w.now, w.was = at, 0, w.now
	}
}

func (w *worst) value() time.Duration { return max(w.now, w.was) }

// observeLateness is for a timer that fired. The first of a copy was never
// armed for a time.
func (r *room) observeLateness(now time.Time) {
	if !r.armed.IsZero() {
		late := now.Sub(r.armed)
		r.metrics.lateness.Observe(late.Seconds())
		r.vitals.late.add(now, late)
	}
	r.armed = time.Time{}
}

// measure asks the room's code for its numbers, if that is due.
func (r *room) measure(now time.Time) error {
	if !r.measures {
		return nil
	}
	v := &r.vitals
	if v.stale = now.Before(v.fresh.Add(measureEvery)); v.stale {
		return nil
	}
	v.fresh = now
	v.numbers = r.actor.Measure(now, v.numbers[:0])
	return r.failed()
}

// measureAt is when numbers that are out of date are measured again.
func (r *room) measureAt() time.Time {
	if !r.vitals.stale {
		return time.Time{}
	}
	return r.vitals.fresh.Add(measureEvery)
}
