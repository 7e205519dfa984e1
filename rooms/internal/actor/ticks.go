package actor

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

// maxCatchUp is how many missed ticks one call of Tick makes up for. What is
// missed beyond is left out, and the next tick's dt tells of it.
const maxCatchUp = 4

// ticks is the room's absolute schedule: tick k is due at the first one's time
// plus k lengths, whatever happened before.
type ticks struct {
	every   time.Duration
	due     time.Time
	left    int64  // ticks left out before the next one
	skipped uint64 // ticks left out in all
	run     uint64 // ticks run, where events are recorded
	ran     uint64 // ticks in all
}

// slot is how finely ticks are spread: those of one slot share a wake-up of the
// host, and writes on each link where its writer is busy. It divides the length of
// the usual ticks.
const slot = 2500 * time.Microsecond

// open sets the schedule. The first tick's place within a tick's length comes
// from the room's id, so that a host's rooms don't tick all at once.
func (t *ticks) open(r *Room) {
	t.every = time.Second / time.Duration(r.cfg.Kind.TickRate)
	phase := xxhash.Sum64String(string(r.cfg.Room)) % uint64(t.every)
	// A room that moved keeps its schedule, unless the clocks disagree on it.
	if t.due.IsZero() || t.due.After(r.now.Add(t.every)) {
		t.due = r.now.Add(time.Duration(phase) + 1)
		t.due = t.due.Add(slot - time.Duration(t.due.UnixNano())%slot)
	}
}

// next is when the next tick is due, in a room without ticks the next timer.
func (t *ticks) next(r *Room) time.Time {
	switch {
	case r.ticker != nil:
		return t.due
	case len(r.timers) > 0:
		return time.Unix(0, r.timers[0].due)
	default:
		return time.Time{}
	}
}

// pacedMost is the longest tick for which an input may be kept waiting.
const pacedMost = 50 * time.Millisecond

// Paced says whether the room ticks so often that its inputs may wait for the
// next tick.
func (r *Room) Paced() bool {
	return r.ticker != nil && r.failure == nil && r.runs() && r.ticks.every <= pacedMost
}

// TicksRun is how many ticks there were.
func (r *Room) TicksRun() uint64 { return r.ticks.ran }

// TicksSkipped is how many ticks were left out because the room was too late.
func (r *Room) TicksSkipped() uint64 { return r.ticks.skipped }

// Tick runs what is due: ends of graces, timers, ticks.
func (r *Room) Tick(now time.Time) {
	if !r.begin(now) {
		return
	}
	r.unquiet()
	if r.on {
		r.tickRecorded()
		return
	}
	r.expire()
	if r.ticker == nil {
		r.runTimers()
		return
	}
	for n := 0; r.runs() && !r.ticks.due.After(r.now); n++ {
		if n > maxCatchUp {
			r.skipTicks()
			return
		}
		dt := r.ticks.every * time.Duration(1+r.ticks.left)
		r.ticks.left = 0
		r.ticks.due = r.ticks.due.Add(r.ticks.every)
		r.runTimers()
		if r.runs() {
			r.ticks.ran++
			r.onTick(dt)
		}
	}
}

// skipTicks leaves out every tick that is due by now.
func (r *Room) skipTicks() {
	r.passTicks(uint64(r.now.Sub(r.ticks.due)/r.ticks.every) + 1)
}

func (r *Room) passTicks(n uint64) {
	r.ticks.due = r.ticks.due.Add(time.Duration(n) * r.ticks.every)
	r.ticks.left += int64(n)
	r.ticks.skipped += n
}
