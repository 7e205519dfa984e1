package gateway

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A connection that a loop reads is a descriptor and nothing else. What the runtime
// keeps of a connection besides, mostly timers and addresses, takes a KiB: it has it
// only while a goroutine waits for the socket.

// descriptor is one of our own for a connection's socket, which is open then until
// both are closed.
func descriptor(t *net.TCPConn) (fd uintptr, ok bool) {
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, false
	}
	raw.Control(func(theirs uintptr) {
		own, err := unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0)
		fd, ok = uintptr(own), err == nil
	})
	return fd, ok
}

// wrap makes a connection of the runtime's to wait with for the outbox's socket.
func (o *outbox) wrap() (net.Conn, error) {
	o.mu.Lock()
	if !o.owned {
		o.mu.Unlock()
		return nil, net.ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(o.fd), unix.F_DUPFD_CLOEXEC, 0)
	o.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("wait for a client's socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("wait for a client's socket: %w", err)
	}
	return nc, nil
}

// cut gives everything up, and has those who wait for the socket find its end.
func (o *outbox) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail()
	if o.owned {
		unix.Shutdown(int(o.fd), unix.SHUT_RDWR) // fails where the peer was first
	}
}

// free closes the outbox's own descriptor. The outbox is closed.
func (o *outbox) free() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.owned {
		return
	}
	if o.draining { // by another descriptor
		unix.Shutdown(int(o.fd), unix.SHUT_RDWR)
	}
	unix.Close(int(o.fd))
	o.owned = false
}
