package gateway

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// opening bounds how many connections over TLS are worked on at once before they
// are WebSockets: half of the cores, one at least. A handshake is a millisecond of
// arithmetic, and hundreds that are ready at once would go ahead of all that
// players say. A place is held while there is something to compute, never while
// its peer is waited for.
type opening chan struct{}

func newOpening() opening { return make(opening, max(1, runtime.GOMAXPROCS(0)/coresEach)) }

// coresEach is how many cores there are for each place.
const coresEach = 2

// place is one connection's in an opening. The zero value has none and needs
// none.
type place struct {
	of   opening
	done atomic.Bool // no place is needed any more

	mu   sync.Mutex
	held bool // guarded by mu
}

// enter waits for a place, if one is needed and not held.
func (p *place) enter() {
	if p.over() || p.has() {
		return
	}
	p.of <- struct{}{}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held || p.done.Load() {
		<-p.of // another goroutine of the HTTP server's has come first, or it is over
		return
	}
	p.held = true
}

func (p *place) has() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// leave gives the place up while something is waited for.
func (p *place) leave() {
	if p.of == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		<-p.of
	}
}

// finish gives the place up for good.
func (p *place) finish() {
	if p.of != nil && !p.done.Swap(true) {
		p.leave()
	}
}

// Read is TLS's: what it brings is worked on with a place in the opening.
func (c *ciphertext) Read(b []byte) (int, error) {
	if c.place.over() {
		return c.TCPConn.Read(b)
	}
	c.place.leave()
	n, err := c.TCPConn.Read(b)
	if err == nil {
		c.place.enter()
	}
	return n, err
}

// Close is net.Conn's.
func (c *ciphertext) Close() error {
	c.place.finish()
	return c.TCPConn.Close()
}

// over reports whether places are no concern of the connection any more.
func (p *place) over() bool { return p.of == nil || p.done.Load() }

var _ net.Conn = (*ciphertext)(nil)
