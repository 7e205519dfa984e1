//go:build linux

// Command rawgo is a baseline, the floor in Go: raw TCP in one loop over epoll,
// one write for each client and message. Messages stand behind a u16 length. It
// has none of what a server needs to be used.
package main

import (
	"encoding/binary"
	"flag"
	"log"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"github.com/limpet-games/limpet/bench/state"
)

var (
	listen   = flag.String("listen", "127.0.0.1:8080", "address for players")
	tick     = flag.Int("tick", 20, "states a second")
	size     = flag.Int("size", 256, "bytes of a state")
	messages = flag.Int("messages", 1, "messages of a tick")
	echo     = flag.Bool("echo", false, "answer inputs and don't tick")
)

var be = binary.BigEndian

type client struct {
	fd   int
	room *room
	at   int // in room.clients
	in   []byte
}

type room struct {
	clients []*client
	state   *state.Room
	due     time.Time
}

type server struct {
	epoll, listener int
	clients         map[int32]*client
	rooms           map[uint32]*room
	order           []*room
	buf             [64 << 10]byte
	out             []byte
	every           time.Duration
}

func main() {
	flag.Parse()
	s := &server{clients: map[int32]*client{}, rooms: map[uint32]*room{}, every: time.Second / time.Duration(*tick)}
	if err := s.open(netip.MustParseAddrPort(*listen)); err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.run())
}

func (s *server) open(addr netip.AddrPort) (err error) {
	if s.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0); err != nil {
		return err
	}
	syscall.SetsockoptInt(s.listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(s.listener, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return err
	}
	if err := syscall.Listen(s.listener, 4096); err != nil {
		return err
	}
	if s.epoll, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	return s.watch(s.listener)
}

func (s *server) watch(fd int) error {
	return syscall.EpollCtl(s.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func (s *server) run() error {
	var events [256]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(s.epoll, events[:], s.tickAll(time.Now()))
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, ev := range events[:max(0, n)] {
			if int(ev.Fd) == s.listener {
				s.accept()
			} else if c := s.clients[ev.Fd]; c != nil {
				s.read(c)
			}
		}
	}
}

// tickAll runs what is due and returns the milliseconds to the next.
func (s *server) tickAll(now time.Time) int {
	if *echo || len(s.order) == 0 {
		return 100
	}
	next := now.Add(100 * time.Millisecond)
	for _, r := range s.order {
		if !r.due.After(now) {
			r.due = r.due.Add(s.every)
			s.tick(r, now)
		}
		if r.due.Before(next) {
			next = r.due
		}
	}
	return max(0, int((next.Sub(now)+time.Millisecond-1)/time.Millisecond))
}

func (s *server) tick(r *room, now time.Time) {
	for range *messages {
		p := r.state.Next(now.UnixNano())
		s.out = append(be.AppendUint16(s.out[:0], uint16(len(p))), p...)
		for _, c := range r.clients {
			s.write(c, s.out)
		}
	}
}

// write leaves out what a socket does not take.
func (s *server) write(c *client, p []byte) { call(syscall.SYS_WRITE, c.fd, p) }

// call is a read or write that returns at once, without telling the runtime.
func call(number uintptr, fd int, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func (s *server) accept() {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		s.clients[int32(fd)] = &client{fd: fd}
		if err := s.watch(fd); err != nil {
			log.Fatal(err)
		}
	}
}

func (s *server) read(c *client) {
	n, errno := call(syscall.SYS_READ, c.fd, s.buf[:])
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 || n <= 0 {
		s.drop(c)
		return
	}
	p := s.buf[:n]
	if len(c.in) > 0 {
		p = append(c.in, p...)
	}
	for len(p) >= 2 && len(p) >= 2+int(be.Uint16(p)) {
		size := int(be.Uint16(p))
		s.message(c, p[2:2+size])
		p = p[2+size:]
	}
	c.in = append(c.in[:0], p...)
}

func (s *server) message(c *client, p []byte) {
	switch {
	case c.room == nil && len(p) == 4:
		s.join(c, be.Uint32(p))
	case *echo:
		s.out = append(be.AppendUint16(s.out[:0], uint16(len(p))), p...)
		s.write(c, s.out)
	case c.room != nil:
		c.room.state.Input(p)
	}
}

func (s *server) join(c *client, number uint32) {
	r := s.rooms[number]
	if r == nil {
		phase := time.Duration(len(s.order)) * 7919 * time.Microsecond % s.every
		r = &room{state: state.NewRoom(*size), due: time.Now().Add(phase)}
		s.rooms[number] = r
		s.order = append(s.order, r)
	}
	c.room, c.at = r, len(r.clients)
	r.clients = append(r.clients, c)
	s.write(c, []byte{0, 0})
}

func (s *server) drop(c *client) {
	delete(s.clients, int32(c.fd))
	syscall.Close(c.fd)
	if r := c.room; r != nil {
		last := r.clients[len(r.clients)-1]
		r.clients[c.at], last.at = last, c.at
		r.clients = r.clients[:len(r.clients)-1]
	}
}
