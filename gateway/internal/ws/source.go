package ws

import (
	"io"
	"net"
	"sync"
	"syscall"
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
	fd    uintptr         // where raw is set
	try   func(fd uintptr) bool
	after func() // called after each read call; nil: not

	// Of the read under way.
	buf *[chunk]byte // taken when there is something to read
	p   []byte       // where to read to; nil: to buf
	n   int
	err error
}

func newSource(c net.Conn, after func()) *source {
	s := &source{conn: c, after: after}
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { s.raw, s.fd, s.try = raw, fd, s.attempt }) // fails where it is closed
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
	if s.n, s.err = s.once(fd, p); s.err == nil {
		return true
	}
	s.n = 0
	if s.buf != nil && s.p == nil {
		chunks.Put(s.buf)
		s.buf = nil
	}
	return s.err != syscall.EAGAIN
}

// now reads what has arrived, without waiting: EAGAIN where that is nothing.
// The connection must be open.
func (s *source) now(p []byte) (int, error) { return s.once(s.fd, p) }

// once is one read(2).
func (s *source) once(fd uintptr, p []byte) (int, error) {
	for {
		n, err := read(fd, p)
		if s.after != nil {
			s.after()
		}
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
		if s.after != nil {
			s.after()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}
