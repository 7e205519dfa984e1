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

// open makes the outbox write to c: without waiting on TCP, and with a
// goroutine on anything else.
func (o *outbox) open(c net.Conn) {
	o.conn = c
	t := socketOf(c)
	if t == nil {
		return
	}
	if o.tls, _ = c.(*tls.Conn); o.tls != nil {
		o.cipher = o.tls.NetConn().(*ciphertext) // socketOf has found it
		o.cipher.hold()
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { o.fd, o.direct = fd, true })
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
	blocked, _ = o.writeSome(o.fd)
	return blocked
}

// writeSome writes until nothing waits or the socket is full. mu is held.
func (o *outbox) writeSome(fd uintptr) (blocked, wrote bool) {
	for o.waits() {
		p, err := o.next()
		if err != nil {
			o.fail()
			return false, wrote
		}
		n, err := write(fd, p)
		o.drops.writes.Inc()
		whole := n == len(p)
		o.dropScratch()
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
	return o.frames > 0 || o.cipher != nil && len(o.cipher.waiting()) > 0
}

// next is what the socket is to take next. Under TLS, frames are sealed when
// all that was sealed before is out: until then they can still be replaced. mu
// is held.
func (o *outbox) next() ([]byte, error) {
	if o.cipher == nil {
		return o.gather(), nil
	}
	if p := o.cipher.waiting(); len(p) > 0 {
		return p, nil
	}
	p := o.gather()
	p = p[:min(len(p), gatherMost)] // the rest of a long frame goes with the next
	_, err := o.tls.Write(p)
	o.dropScratch()
	o.sent(len(p))
	return o.cipher.waiting(), err
}

// took forgets what the socket has taken of next. mu is held.
func (o *outbox) took(n int) {
	if o.cipher != nil {
		o.cipher.took(n)
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

var scratches = sync.Pool{New: func() any { b := make([]byte, 0, gatherMost); return &b }}

func (o *outbox) dropScratch() {
	if o.buf != nil {
		scratches.Put(o.buf)
		o.buf = nil
	}
}

// drainAll is the goroutine of a socket that is full: it waits until that takes
// more, again and again until nothing waits. stalled: it took nothing for too
// long.
func (o *outbox) drainAll() (stalled bool) {
	for {
		if err := o.drainSome(); err != nil {
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

// drainSome waits until the socket has taken something.
func (o *outbox) drainSome() error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(o.limits.WriteStall)); err != nil {
		return err
	}
	if !o.direct {
		_, err := o.conn.Write(o.takeOut())
		o.dropScratch()
		return err
	}
	raw, err := socketOf(o.conn).SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Write(o.writable); err != nil {
		return err
	}
	return o.conn.SetWriteDeadline(time.Time{})
}

// takeOut takes what one write carries out of the queue, for a socket that can
// only be written to without the lock.
func (o *outbox) takeOut() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.frames == 0 {
		return nil
	}
	p := o.gather()
	if o.buf == nil { // the frame's own bytes, which are about to be released
		o.buf = scratches.Get().(*[]byte)
		p = append((*o.buf)[:0], p...)
	}
	o.sent(len(p))
	return p
}
