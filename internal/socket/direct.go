package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Direct is a connection that reads and writes by this package's calls, or c
// itself where that is not TCP. One goroutine may read while another writes;
// the other methods are those of c, which must not be read or written any more.
func Direct(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	d := &direct{TCPConn: t, raw: raw}
	d.in.try, d.out.try = d.in.attempt, d.out.attempt
	return d
}

type direct struct {
	*net.TCPConn
	raw syscall.RawConn
	in  reading
	out writing
}

// reading is the read under way.
type reading struct {
	try func(fd uintptr) bool // attempt
	p   []byte
	n   int
	err error
}

// writing is the write under way.
type writing struct {
	try  func(fd uintptr) bool // attempt
	rest []byte
	err  error
}

// Read waits for data.
func (d *direct) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.in.p = p
	err := d.raw.Read(d.in.try)
	d.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case d.in.err != nil:
		return 0, os.NewSyscallError("read", d.in.err)
	case d.in.n == 0:
		return 0, io.EOF
	}
	return d.in.n, nil
}

// attempt is one read(2). False: there is nothing yet.
func (r *reading) attempt(fd uintptr) bool {
	for {
		if r.n, r.err = Read(fd, r.p); r.err != syscall.EINTR {
			return r.err != syscall.EAGAIN
		}
	}
}

// mostAtOnce bounds a write(2), for copying it holds up a processor.
const mostAtOnce = 256 << 10

// Write waits until the socket has taken all of p.
func (d *direct) Write(p []byte) (int, error) {
	d.out.rest, d.out.err = p, nil
	err := d.raw.Write(d.out.try)
	n := len(p) - len(d.out.rest)
	d.out.rest = nil
	if err == nil && d.out.err != nil {
		err = os.NewSyscallError("write", d.out.err)
	}
	return n, err
}

// attempt writes what the socket takes. False: that is not all.
func (w *writing) attempt(fd uintptr) bool {
	for len(w.rest) > 0 {
		n, err := Write(fd, w.rest[:min(len(w.rest), mostAtOnce)])
		switch err {
		case nil:
			w.rest = w.rest[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			w.err = err
			return true
		}
	}
	return true
}
