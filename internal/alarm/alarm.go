package alarm

import (
	"container/heap"
	"time"
)

// Alarm rings once at a time. It belongs to one goroutine, which sets it and
// listens.
type Alarm struct {
	// Static.
	C     <-chan time.Time // where it rings
	clock *Clock           // nil: it has the timer
	timer *time.Timer
	bell  chan time.Time // C; capacity 1

	at time.Duration // since clock.base; guarded by clock.mu, as i
	i  int           // in clock.due; notSet
}

const notSet = -1

// New makes an alarm that is not set. A nil clock has it ring by a timer of its
// own.
func (c *Clock) New() *Alarm {
	if c == nil {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return &Alarm{C: t.C, timer: t}
	}
	bell := make(chan time.Time, 1)
	return &Alarm{C: bell, clock: c, bell: bell, i: notSet}
}

// Set has the alarm ring d after now, a time that was just taken, in place of what
// was set before.
func (a *Alarm) Set(now time.Time, d time.Duration) {
	if a.clock == nil {
		// Not at once: goroutines of one synctest bubble that take timers which have
		// ended crash each other under the race detector (Go 1.26).
		a.timer.Reset(max(1, d))
		return
	}
	a.clock.set(a, now.Sub(a.clock.base)+d)
}

// Stop has the alarm not ring.
func (a *Alarm) Stop() {
	if a.clock == nil {
		a.timer.Stop()
		return
	}
	a.clock.stop(a)
}

// quiet takes back a ring that nobody has heard.
func (a *Alarm) quiet() {
	select {
	case <-a.bell:
	default:
	}
}

// queue is a heap of alarms by time.
type queue []*Alarm

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].i, q[j].i = i, j
}

// Push is heap's.
func (q *queue) Push(x any) {
	a := x.(*Alarm)
	a.i = len(*q)
	*q = append(*q, a)
}

// Pop is heap's.
func (q *queue) Pop() any {
	last := len(*q) - 1
	a := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	a.i = notSet
	return a
}
