package gateway

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limpet-games/limpet/internal/socket"
	"github.com/limpet-games/limpet/wire"
)

// caller is what a connection is until it has said hello.
type caller struct {
	c       *conn
	until   time.Time // when it must have gone on; guarded by callers.mu
	open    bool      // it is a WebSocket; changed by the reader, under callers.mu
	offered []byte    // the token that came with the handshake; the reader's
	hello   []byte    // a hello that a loop has read for a goroutine to answer; the reader's

	next, prev *caller // nil: it is not among the callers; guarded by callers.mu
}

// callers are all of them. Those that are no WebSockets yet and those that are have
// bounds of their own.
type callers struct {
	mu     sync.Mutex
	all    caller // the head of a ring
	n      int
	closed bool // only WebSockets are taken
}

func (t *callers) init() { t.all.next, t.all.prev = &t.all, &t.all }

// add takes k in, unless it is there. mu is held.
func (t *callers) add(k *caller) {
	if k.next == nil {
		last := t.all.prev
		k.prev, k.next = last, &t.all
		last.next, t.all.prev = k, k
		t.n++
	}
}

// each calls f for all. mu is held.
func (t *callers) each(f func(*caller)) {
	for k := t.all.next; k != &t.all; k = k.next {
		f(k)
	}
}

// listen has the loop of a connection watch it. False: it does not.
func (t *callers) listen(k *caller) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !k.c.its().Add(int(k.c.out.fd), k.c) {
		return false
	}
	t.add(k)
	return true
}

// open counts a WebSocket in, of which a hello is expected by then.
func (t *callers) open(k *caller, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.open, k.until = true, until
	t.add(k)
}

func (t *callers) remove(k *caller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.next != nil {
		k.prev.next, k.next.prev = k.next, k.prev
		k.prev, k.next = nil, nil
		t.n--
	}
}

// close ends those that are no WebSockets.
func (t *callers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.each(func(k *caller) {
		if !k.open {
			k.c.its().Rouse(int(k.c.out.fd), k.c)
		}
	})
}

// sweep ends those that are late, and returns the WebSockets among them.
func (t *callers) sweep(now time.Time) (late []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each(func(k *caller) {
		switch {
		case now.Before(k.until):
		case k.open:
			late = append(late, k.c)
		default:
			k.c.its().Rouse(int(k.c.out.fd), k.c)
		}
	})
	return late
}

var errHelloLate = &end{wire.CloseHelloLate, "no hello in time"}

func (g *Gateway) sweepCallers(now time.Time) {
	for _, c := range g.callers.sweep(now) {
		if !c.out.closing() {
			c.noteBreach(errHelloLate)
			c.shut(errHelloLate.code, errHelloLate.text)
		}
	}
}

// meet has a loop listen to a connection that has been taken.
func (g *Gateway) meet(fd uintptr, peer netip.Addr) {
	c := &conn{g: g, from: addressOf(peer), id: &nobody, loop: g.loopFor(), looped: true}
	c.out.own(c, fd)
	c.caller = &caller{c: c, until: time.Now().Add(headerWithin)}
	counted := g.arrive(peer)
	if counted && g.wait() {
		if g.callers.listen(c.caller) {
			return
		}
		g.wg.Done()
	}
	g.depart(peer)
	c.hangUp()
}

// wait counts something in that Run waits for. False: the gateway is closed.
func (g *Gateway) wait() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Add(1)
	return true
}

// vanish is the end of a connection that no loop watches any more and that was no
// WebSocket.
func (c *conn) vanish() {
	c.g.callers.remove(c.caller)
	c.g.depart(c.from.addr())
	c.hangUp()
	c.g.wg.Done()
}

// knock reads what a connection says first, on the loop.
func (c *conn) knock(now time.Time, ended bool) {
	d := &c.its().door
	n, err := socket.Read(uintptr(c.out.fd), d.page[:])
	switch {
	case err == syscall.EAGAIN: // the loop hears of what comes
		return
	case n <= 0:
		if c.unwatch() {
			c.vanish()
		}
		return
	}
	head := d.page[:n]
	r := d.request(head)
	if r == nil || ended {
		c.handOver(head, nil)
		return
	}
	from := c.g.clientAddr(c.from.addr(), r)
	offered, no := c.g.decide(r, from)
	if no != nil {
		c.handOver(head, no)
		return
	}
	answer, err := d.answer(r)
	if err != nil {
		c.g.undo(from)
		c.handOver(head, nil)
		return
	}
	c.enter(now, from, offered, answer)
}

// enter makes the connection a WebSocket, on the loop.
func (c *conn) enter(now time.Time, from netip.Addr, offered, answer []byte) {
	n, err := socket.Write(uintptr(c.out.fd), answer)
	if err != nil || n < len(answer) { // a new socket that does not take 200 bytes is broken
		c.g.metrics.handshakes.WithLabelValues("failed").Inc()
		c.g.undo(from)
		if c.unwatch() {
			c.vanish()
		}
		return
	}
	c.g.metrics.handshakes.WithLabelValues("ok").Inc()
	unix.SetsockoptInt(int(c.out.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, c.g.limits.SendBuffer)
	c.g.depart(c.from.addr())
	c.from, c.caller.offered = addressOf(from), offered
	c.touch(now)
	c.g.callers.open(c.caller, now.Add(c.g.limits.HelloWithin))
	if !c.g.install(c) && c.unwatch() {
		c.g.callers.remove(c.caller)
		c.g.addresses.close(from)
		c.hangUp()
		c.g.wg.Done()
	}
}
