package gateway

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// admission paces what a storm brings: when another gateway or a host comes
// back, thousands of clients do so at once, and those who play already must not
// wait for them.
type admission struct {
	every time.Duration // between connections, at the full rate; static

	mu    sync.Mutex
	doors turns  // connections taken; guarded by mu, as is the rest
	seats bucket // joins and resumes
	rate  int    // of seats; static
	queue turns  // of those turned away: when they may try again
}

// tlsCost is how many connections in the clear one over TLS counts for.
const tlsCost = 3

func newAdmission(l *Limits, secured bool) *admission {
	every := time.Second / time.Duration(l.Accepts)
	if secured {
		every *= tlsCost
	}
	return &admission{
		every: every,
		doors: turns{every: every, slack: 100 * time.Millisecond},
		rate:  l.Admits, queue: turns{every: time.Second / time.Duration(l.Admits)},
	}
}

// turns are moments one after the other, of which those of the last while may
// still be taken at once.
type turns struct {
	every, slack time.Duration
	next         time.Time
}

// take is how long to wait for the next.
func (t *turns) take(now time.Time) time.Duration {
	if oldest := now.Add(-t.slack); t.next.Before(oldest) {
		t.next = oldest
	}
	wait := max(0, t.next.Sub(now))
	t.next = t.next.Add(t.every)
	return wait
}

// door is how long to wait before the next connection is taken.
func (a *admission) door(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.doors.take(now)
}

// lull is how long none must have come until no more are expected.
const lull = time.Second

// coming reports whether connections came of late.
func (a *admission) coming(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Sub(a.doors.next) < lull
}

// slow has connections taken so many times more slowly than the gateway may.
func (a *admission) slow(times float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doors.every = time.Duration(float64(a.every) * times)
}

// admitFirst is for how long the seats that are kept for resumes last: who plays
// already goes before who wants to.
const admitFirst = time.Second / 2

// seat lets a join or a resume through, or tells when to try again: each of
// those turned away a while after the one before, and somewhat at random.
func (a *admission) seat(now time.Time, resume bool) *wire.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.seats
	if a.seats.allow(now, a.rate) {
		if resume || a.seats.left(now) >= admitFirst {
			return nil
		}
		a.seats = before
	}
	wait := min(a.queue.take(now), maxAdvice)
	ms := wait.Milliseconds() + 100
	return &wire.Error{Code: wire.CodeBusy, RetryMS: uint32(ms + rand.Int64N(ms)), Text: "many players come at once: wait for your turn"}
}

// maxAdvice bounds how long a client is told to wait.
const maxAdvice = 10 * time.Second

// paced is a listener that takes connections no faster than admission has it:
// the rest waits in the kernel's queue, where it costs next to nothing. Those
// that their address may not have are closed, and count for nothing.
type paced struct {
	net.Listener
	g    *Gateway
	done <-chan struct{} // closed when the gateway stops
}

// Accept is net.Listener's.
func (p paced) Accept() (net.Conn, error) {
	for {
		nc, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p.admit(peerAddr(nc.RemoteAddr())) {
			return nc, nil
		}
		nc.Close()
	}
}

// admit waits until a connection that has been taken may go on. False: its address
// may not have it.
func (p paced) admit(peer netip.Addr) bool {
	if !p.g.addresses.roomFor(p.g.accountOf(peer)) {
		return false
	}
	wait := p.g.admission.door(time.Now())
	if wait == 0 {
		return true
	}
	p.g.metrics.acceptsPaced.Inc()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.done:
	}
	return true
}

// accountOf is the address that a connection of peer counts for, none where a
// proxy that is believed makes it for others.
func (g *Gateway) accountOf(peer netip.Addr) netip.Addr {
	if g.believed(peer) {
		return netip.Addr{}
	}
	return peer
}
