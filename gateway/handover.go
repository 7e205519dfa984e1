package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// handOver leaves the connection to the HTTP server, which is to read head first.
func (c *conn) handOver(head []byte, no *refusal) {
	c.unwatch()
	c.g.callers.remove(c.caller)
	nc, err := c.out.wrap()
	c.hangUp() // nc has a descriptor of its own
	if t, ok := nc.(*net.TCPConn); ok && err == nil {
		h := &handed{TCPConn: t, head: append([]byte(nil), head...), until: c.caller.until, refusal: no}
		if c.g.handover.put(h) {
			c.g.wg.Done()
			return
		}
		t.Close()
	}
	c.g.depart(c.from.addr())
	c.g.wg.Done()
}

// handed is a connection whose beginning a loop has read. It is counted already.
type handed struct {
	*net.TCPConn
	head    []byte    // of at most a page: the server's first read takes all of it
	until   time.Time // when the request's head must be there
	refusal *refusal  // not nil: the answer to the first request, as a loop has decided
}

// Read is net.Conn's.
func (h *handed) Read(p []byte) (int, error) {
	if len(h.head) == 0 {
		return h.TCPConn.Read(p)
	}
	n := copy(p, h.head)
	h.head = h.head[n:]
	return n, nil
}

// SetReadDeadline is net.Conn's. The time that the head may take began with the
// connection.
func (h *handed) SetReadDeadline(t time.Time) error {
	if len(h.head) > 0 && t.After(h.until) {
		t = h.until
	}
	return h.TCPConn.SetReadDeadline(t)
}

// handover is the HTTP server's listener for connections that loops hand it.
type handover struct {
	conns  chan *handed // as many as may be no WebSockets yet
	closed chan struct{}
	close  func() // closes closed, once
}

func newHandover(most int) *handover {
	h := &handover{conns: make(chan *handed, most), closed: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.closed) })
	return h
}

// put does not wait. False: nobody takes it.
func (h *handover) put(nc *handed) bool {
	select {
	case <-h.closed:
		return false
	default:
	}
	select {
	case h.conns <- nc:
		return true
	default:
		return false
	}
}

// Accept is net.Listener's.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (h *handover) Close() error {
	h.close()
	return nil
}

// Addr is net.Listener's. The connections know theirs.
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

// left are the connections that nobody has taken, once nobody puts any more.
func (h *handover) left() (all []*handed) {
	for {
		select {
		case nc := <-h.conns:
			all = append(all, nc)
		default:
			return all
		}
	}
}

type refusedKey struct{}

// withRefusal has requests of a connection know what a loop has decided.
func withRefusal(ctx context.Context, nc net.Conn) context.Context {
	if h, ok := nc.(*handed); ok && h.refusal != nil {
		return context.WithValue(ctx, refusedKey{}, h)
	}
	return ctx
}

// takeRefusal is what a loop has decided about a request: the first of its
// connection.
func takeRefusal(r *http.Request) (no *refusal) {
	if h, ok := r.Context().Value(refusedKey{}).(*handed); ok {
		no, h.refusal = h.refusal, nil
	}
	return no
}
