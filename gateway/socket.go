package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/internal/socket"
)

// open makes the outbox of c write to nc: without waiting on TCP, and with a
// goroutine on anything else. alone: it does so by a descriptor of its own, so that
// nc may be closed.
func (o *outbox) open(c *conn, nc net.Conn) (alone bool) {
	o.c = c
	if t, ok := nc.(*net.TCPConn); ok && len(c.g.loops) > 0 {
		if fd, ok := descriptor(t); ok {
			o.own(c, fd)
			return true
		}
	}
	o.via = &via{conn: nc}
	t := socketOf(nc)
	if t == nil {
		return false
	}
	if o.via.tls, _ = nc.(*tls.Conn); o.via.tls != nil {
		o.via.cipher = o.via.tls.NetConn().(*ciphertext) // socketOf has found it
		o.via.cipher.hold()
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) { o.fd, o.direct = int32(fd), true })
	return false
}

// own makes the outbox of c write to a socket by its descriptor, which is the
// outbox's from now on.
func (o *outbox) own(c *conn, fd uintptr) { o.c, o.fd, o.direct, o.owned = c, int32(fd), true, true }

// cipher is what TLS has sealed, nil where there is no TLS.
func (o *outbox) cipher() *ciphertext {
	if o.via == nil {
		return nil
	}
	return o.via.cipher
}

// writable writes to a socket that may take something again. False: it took
// nothing, wait.
func (o *outbox) writable(fd uintptr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	blocked, wrote := o.writeSome(fd)
	return !blocked || wrote
}

// writeNow writes without waiting. blocked: the socket did not take all. mu is
// held, and the outbox is not dead: only then is the descriptor sure to be the
// socket's.
func (o *outbox) writeNow() (blocked bool) {
	blocked, _ = o.writeSome(uintptr(o.fd))
	return blocked
}

// writeSome writes until nothing waits or the socket is full. mu is held.
func (o *outbox) writeSome(fd uintptr) (blocked, wrote bool) {
	for o.waits() {
		p, s, err := o.next()
		if err != nil {
			o.fail()
			return false, wrote
		}
		n, err := write(fd, p)
		o.drops().writes.Inc()
		whole := n == len(p)
		s.drop()
		if err != nil {
			o.fail()
			return false, wrote
		}
		o.took(n)
		wrote = wrote || n > 0
		if !whole {
			return true, wrote
		}
	}
	return false, wrote
}

// waits reports whether something is to be written. mu is held.
func (o *outbox) waits() bool {
	if o.frames > 0 {
		return true
	}
	cipher := o.cipher()
	return cipher != nil && len(cipher.waiting()) > 0
}

// next is what the socket is to take next. Under TLS, frames are sealed when
// all that was sealed before is out: until then they can still be replaced. mu
// is held.
func (o *outbox) next() (p []byte, s *scratch, err error) {
	cipher := o.cipher()
	if cipher == nil {
		p, s = o.gather()
		return p, s, nil
	}
	if p := cipher.waiting(); len(p) > 0 {
		return p, nil, nil
	}
	p, s = o.gather()
	p = p[:min(len(p), gatherMost)] // the rest of a long frame goes with the next
	_, err = o.via.tls.Write(p)
	s.drop()
	o.sent(len(p))
	return cipher.waiting(), nil, err
}

// took forgets what the socket has taken of next. mu is held.
func (o *outbox) took(n int) {
	if cipher := o.cipher(); cipher != nil {
		cipher.took(n)
		return
	}
	o.sent(n)
}

// write is one write(2). A socket that is full takes 0 bytes without an error.
func write(fd uintptr, p []byte) (int, error) {
	for {
		n, err := socket.Write(fd, p)
		switch {
		case err == nil:
			return n, nil
		case err == syscall.EAGAIN:
			return 0, nil
		case err != syscall.EINTR:
			return 0, err
		}
	}
}

// gatherMost is about how much one write carries.
const gatherMost = 64 << 10

// scratch is where several frames become one write.
type scratch []byte

var scratches = sync.Pool{New: func() any { s := make(scratch, 0, gatherMost); return &s }}

// drop gives s back; it may be nil.
func (s *scratch) drop() {
	if s != nil {
		scratches.Put(s)
	}
}

// drainAll is the goroutine of a socket that is full: it waits until that takes
// more, again and again until nothing waits. stalled: it took nothing for too
// long.
func (o *outbox) drainAll() (stalled bool) {
	nc, err := o.waiting()
	if err != nil {
		o.close()
		return false
	}
	if o.via == nil {
		defer nc.Close()
	}
	for {
		if err := o.drainSome(nc); err != nil {
			o.close()
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		o.mu.Lock()
		if !o.waits() {
			o.draining = false
			o.mu.Unlock()
			return false
		}
		o.mu.Unlock()
	}
}

// waiting is what to wait with for the socket, in drainAll.
func (o *outbox) waiting() (net.Conn, error) {
	if o.via == nil {
		return o.wrap()
	}
	return o.via.conn, nil
}

// drainSome waits until the socket has taken something, by nc.
func (o *outbox) drainSome(nc net.Conn) error {
	if err := nc.SetWriteDeadline(time.Now().Add(o.limits().WriteStall)); err != nil {
		return err
	}
	if !o.direct {
		p, s := o.takeOut()
		_, err := nc.Write(p)
		s.drop()
		return err
	}
	raw, err := socketOf(nc).SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Write(o.writable); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

// takeOut takes what one write carries out of the queue, for a socket that can
// only be written to without the lock.
func (o *outbox) takeOut() (p []byte, s *scratch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.frames == 0 {
		return nil, nil
	}
	if p, s = o.gather(); s == nil { // the frame's own bytes, which are about to be released
		s = scratches.Get().(*scratch)
		p = append((*s)[:0], p...)
	}
	o.sent(len(p))
	return p, s
}
