package ws

import (
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/limpet-games/limpet/internal/socket"
)

// chunk is what a reader takes from its connection at once, in bytes. Longer
// frames are put together elsewhere.
const chunk = 4 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// source reads a connection. On a TCP connection it waits for data without
// holding a buffer.
type source struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not TCP
	try   func(fd uintptr) bool
	owner Owner

	// Of the read under way.
	buf *[chunk]byte // taken when there is something to read
	p   []byte       // where to read to; nil: to buf
	n   int
	err error
}

func newSource(c net.Conn, owner Owner) *source {
	s := &source{conn: c, owner: owner}
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.attempt
		}
	}
	return s
}

// first waits for data and reads it into a fresh buffer, which the caller owns.
func (s *source) first() (*[chunk]byte, int, error) {
	n, err := s.read(nil)
	b := s.buf
	s.buf = nil
	if err != nil && b != nil {
		chunks.Put(b)
		b = nil
	}
	return b, n, err
}

// read reads into p, or into a buffer of its own where p is nil.
func (s *source) read(p []byte) (int, error) {
	if s.raw == nil {
		return s.block(p)
	}
	s.p, s.n, s.err = p, 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return 0, err
	}
	s.p = nil
	if s.n == 0 && s.err == nil {
		return 0, io.EOF
	}
	return s.n, s.err
}

// attempt is one read(2). False: there is nothing yet, wait.
func (s *source) attempt(fd uintptr) bool {
	p := s.p
	if p == nil {
		if s.buf == nil {
			s.buf = chunks.Get().(*[chunk]byte)
		}
		p = s.buf[:]
	}
	if s.n, s.err = once(fd, p, s.owner); s.err == nil {
		return true
	}
	s.n = 0
	if s.buf != nil && s.p == nil {
		chunks.Put(s.buf)
		s.buf = nil
	}
	return s.err != syscall.EAGAIN
}

// once is one read(2).
func once(fd uintptr, p []byte, owner Owner) (int, error) {
	for {
		n, err := socket.Read(fd, p)
		owner.Read()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func (s *source) block(p []byte) (int, error) {
	if p == nil {
		s.buf = chunks.Get().(*[chunk]byte)
		p = s.buf[:]
	}
	for {
		n, err := s.conn.Read(p)
		s.owner.Read()
		if n > 0 || err != nil {
			return n, err
		}
	}
}
