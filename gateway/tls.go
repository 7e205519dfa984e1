package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// secured is a listener whose connections are TLS.
type secured struct {
	net.Listener
	cfg     *tls.Config
	opening opening
}

// Accept is net.Listener's. The handshake is the HTTP server's, in time.
func (s secured) Accept() (net.Conn, error) {
	nc, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return tls.Server(nc, s.cfg), nil
	}
	c := &ciphertext{TCPConn: t}
	c.place.of = s.opening
	return tls.Server(c, s.cfg), nil
}

// ciphertext is the TCP connection under TLS. Once it holds, what TLS writes is
// kept for an outbox, which alone writes to the socket: TLS can't write half a
// record and come back for the rest, an outbox can.
type ciphertext struct {
	*net.TCPConn
	place place // until it holds

	mu    sync.Mutex
	holds bool
	buf   *[]byte // from cipherBuffers; nil: nothing waits
	off   int     // bytes of it that the socket has
}

// maxCipher bounds what waits: an outbox seals one write's worth at a time, and
// TLS itself says little.
const maxCipher = 80 << 10

var cipherBuffers = sync.Pool{New: func() any { b := make([]byte, 0, maxCipher); return &b }}

var errCipherFull = errors.New("too much waits for the socket")

// Write is TLS's.
func (c *ciphertext) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.holds {
		c.mu.Unlock()
		c.place.leave() // the peer may have to be waited for
		return c.TCPConn.Write(p)
	}
	defer c.mu.Unlock()
	if c.buf == nil {
		c.buf, c.off = cipherBuffers.Get().(*[]byte), 0
		*c.buf = (*c.buf)[:0]
	}
	if len(*c.buf)+len(p) > maxCipher {
		return 0, errCipherFull
	}
	*c.buf = append(*c.buf, p...)
	return len(p), nil
}

// hold begins to keep what TLS writes.
func (c *ciphertext) hold() {
	c.place.finish()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds = true
}

// waiting is what the socket is to take next, valid until took.
func (c *ciphertext) waiting() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		return nil
	}
	return (*c.buf)[c.off:]
}

// took forgets n bytes that the socket has.
func (c *ciphertext) took(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		return
	}
	if c.off += n; c.off == len(*c.buf) {
		cipherBuffers.Put(c.buf)
		c.buf = nil
	}
}

// halfClose ends the sending half: TLS's own farewell, then TCP's. It waits at
// most as long as within.
func (c *ciphertext) halfClose(t *tls.Conn, within time.Duration) error {
	if err := t.CloseWrite(); err != nil {
		return err
	}
	if p := c.waiting(); len(p) > 0 {
		c.SetWriteDeadline(time.Now().Add(within))
		n, err := c.TCPConn.Write(p)
		if c.took(n); err != nil {
			return err
		}
	}
	return c.TCPConn.CloseWrite()
}

// halfClose ends a connection's sending half, where it has halves.
func halfClose(nc net.Conn, within time.Duration) bool {
	if t, ok := nc.(*tls.Conn); ok {
		c, ok := t.NetConn().(*ciphertext)
		return ok && c.halfClose(t, within) == nil
	}
	half, ok := nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// socketOf is the TCP connection at the bottom, nil where there is none.
func socketOf(nc net.Conn) *net.TCPConn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	switch c := nc.(type) {
	case *net.TCPConn:
		return c
	case *ciphertext:
		return c.TCPConn
	}
	return nil
}
