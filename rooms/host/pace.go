package host

import (
	"context"
	"math"
	"sync"
	"time"
)

// pace is how fast a drain goes: rooms that move at the same time make each
// other stand still for longer, and all the others too. It begins with one at a
// time, and takes more while they stand still no longer than the goal. Where
// even one at a time stands still for longer, it rests between two. It never
// goes so slowly that the drain would miss its deadline.
type pace struct {
	goal  time.Duration // for how long a room may stand still
	most  int           // moves under way
	every time.Duration // between the starts of two, at least
	end   time.Time     // when all should have moved: at three quarters of the deadline

	mu    sync.Mutex
	free  chan struct{} // closed when a move ends; guarded by mu, as all below
	under int           // moves under way
	limit float64       // of them
	rest  time.Duration // after each
	next  time.Time     // when the next may start
	cut   time.Time     // when limit or rest last gave way
	takes time.Duration // a move, lately
}

// restMost bounds the rest after a move, in those moves' own time: a drain
// yields to players, but at most half of what it could do.
const restMost = 1

func newPace(o DrainOptions, now time.Time) *pace {
	return &pace{
		goal: o.Pause, most: o.AtOnce, every: time.Duration(float64(time.Second) / o.Rate), end: now.Add(o.Deadline * 3 / 4),
		free: make(chan struct{}), limit: 1,
	}
}

// start waits for the turn of the next move, of which left are to come. False:
// ctx is done.
func (p *pace) start(ctx context.Context, left int) bool {
	for {
		p.mu.Lock()
		now := time.Now()
		free, wait := p.free, p.next.Sub(now)
		fits := p.under < p.allows(now, left)
		if fits && wait <= 0 {
			p.under++
			// A wait that was overslept is not made up for beyond a tick of it.
			p.next = later(p.next.Add(p.every), now.Add(p.every-drainPoll))
			p.mu.Unlock()
			return ctx.Err() == nil
		}
		p.mu.Unlock()
		if fits {
			if sleep(ctx, wait); ctx.Err() != nil {
				return false
			}
			continue
		}
		select {
		case <-free:
		case <-ctx.Done():
			return false
		}
	}
}

// allows is how many moves may be under way. mu is held.
func (p *pace) allows(now time.Time, left int) int {
	return min(max(int(p.limit), int(math.Ceil(p.needs(now, left)))), p.most)
}

// needs is how many have to be, for the rooms that are left to move in time.
// mu is held.
func (p *pace) needs(now time.Time, left int) float64 {
	remain := p.end.Sub(now)
	if remain <= 0 {
		return float64(p.most)
	}
	return float64(left) * float64(p.takes) / float64(remain)
}

// ended is told of a move that began at a time. stood is for how long its room
// stood still; 0: it did not move.
func (p *pace) ended(began time.Time, stood time.Duration, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.under--
	close(p.free)
	p.free = make(chan struct{})
	if stood == 0 {
		return
	}
	p.takes += (now.Sub(began) - p.takes) / 8
	switch {
	case stood <= p.goal && p.rest > time.Millisecond:
		p.rest /= 2
	case stood <= p.goal:
		p.rest, p.limit = 0, min(p.limit+1/p.limit, float64(p.most))
	case began.Before(p.cut): // it suffered from what has been mended since
	default:
		p.cut = now
		if p.rest == 0 && p.limit > 1 {
			p.limit = max(1, p.limit/2)
		} else {
			p.rest = min(max(2*p.rest, stood/8), restMost*stood)
		}
	}
	if p.needs(now, left) < 1 { // there is time for it
		p.next = later(p.next, now.Add(p.rest))
	}
}
