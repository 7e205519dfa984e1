package client

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	writeWithin = 10 * time.Second // a gateway that takes longer to take bytes is given up
	batchBytes  = 64 << 10         // gathered before a write
)

var batchBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// batchConn gathers what is written between hold and flush into one write to
// the socket. Outside of that it writes at once.
type batchConn struct {
	net.Conn

	hurried atomic.Bool

	mu  sync.Mutex
	buf *[]byte // nil: not holding
}

// hurry bounds the write under way and those that follow for a quick end.
func (b *batchConn) hurry() {
	b.hurried.Store(true)
	b.Conn.SetWriteDeadline(time.Now().Add(goodbyeWithin))
}

// hold starts gathering.
func (b *batchConn) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		b.buf = batchBuffers.Get().(*[]byte)
	}
}

// held is how many bytes wait for flush.
func (b *batchConn) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return 0
	}
	return len(*b.buf)
}

// flush writes what was gathered.
func (b *batchConn) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return nil
	}
	p := *b.buf
	var err error
	if len(p) > 0 {
		_, err = b.write(p)
	}
	*b.buf = p[:0]
	if cap(p) <= 2*batchBytes {
		batchBuffers.Put(b.buf)
	}
	b.buf = nil
	return err
}

func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf != nil {
		*b.buf = append(*b.buf, p...)
		return len(p), nil
	}
	return b.write(p)
}

func (b *batchConn) write(p []byte) (int, error) {
	if err := b.Conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	if b.hurried.Load() { // hurry's own deadline may have come before the one above
		b.Conn.SetWriteDeadline(time.Now().Add(goodbyeWithin))
	}
	return b.Conn.Write(p)
}

// SetWriteDeadline does nothing: the deadline belongs to the write that
// happens, not to the message that is gathered.
func (b *batchConn) SetWriteDeadline(time.Time) error { return nil }
