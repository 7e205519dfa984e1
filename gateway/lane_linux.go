package gateway

import (
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Connections in the clear don't begin with the HTTP server. A loop reads what
// each says first; where that is a whole handshake and nothing else, the loop
// answers it, by the same checks, and keeps the connection: no goroutine, no
// buffers and no timers are made for it. Whatever else it is goes to the HTTP
// server, with the bytes that have been read.

// lane takes connections of a listener for the loops. Its Accept returns errors
// only.
type lane struct {
	net.Listener
	paced paced
	file  *os.File // the listener's socket
	raw   syscall.RawConn

	// Of the accept under way.
	fd   int
	from syscall.Sockaddr
	err  error
}

// openLane takes a listener's connections for the loops; nil where it is none of
// TCP's.
func openLane(p paced) net.Listener {
	t, ok := p.Listener.(*net.TCPListener)
	if !ok {
		return nil
	}
	file, err := t.File()
	if err != nil {
		return nil
	}
	raw, err := file.SyscallConn()
	if err == nil {
		err = raw.Control(prepare)
	}
	if err != nil {
		file.Close()
		return nil
	}
	return &lane{Listener: t, paced: p, file: file, raw: raw}
}

// socketOptions are what the runtime gives each socket that it takes. One of ours
// has them of the listener's.
var socketOptions = []struct{ level, name, value int }{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
}

func prepare(fd uintptr) {
	for _, o := range socketOptions {
		unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
	}
}

// Accept is net.Listener's.
func (l *lane) Accept() (net.Conn, error) {
	for {
		fd, from, err := l.take()
		if err != nil {
			return nil, err
		}
		if !l.paced.admit(from) {
			unix.Close(int(fd))
			continue
		}
		l.paced.g.meet(fd, from)
	}
}

// take waits for a connection.
func (l *lane) take() (fd uintptr, from netip.Addr, err error) {
	if err := l.raw.Read(l.attempt); err != nil {
		return 0, from, err
	}
	if l.err != nil {
		return 0, from, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: os.NewSyscallError("accept4", l.err)}
	}
	switch a := l.from.(type) {
	case *syscall.SockaddrInet4:
		from = netip.AddrFrom4(a.Addr)
	case *syscall.SockaddrInet6:
		from = netip.AddrFrom16(a.Addr).Unmap()
	}
	return uintptr(l.fd), from, nil
}

// Close is net.Listener's.
func (l *lane) Close() error {
	l.file.Close()
	return l.Listener.Close()
}

// attempt is one accept. False: nobody has come.
func (l *lane) attempt(fd uintptr) bool {
	for {
		l.fd, l.from, l.err = syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch l.err {
		case syscall.EINTR, syscall.ECONNABORTED:
		case syscall.EAGAIN:
			return false
		default:
			return true
		}
	}
}
