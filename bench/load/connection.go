//go:build linux

package load

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/internal/socket"
)

// connect begins a client's connection, which greets once it can be written to.
func (l *Loop) connect(c *Client) error {
	addr := l.cfg.Addrs[c.id%len(l.cfg.Addrs)]
	var from [4]byte // none
	if l.cfg.Sources > 1 {
		from = [4]byte{127, 0, 1, byte(1 + c.id%l.cfg.Sources)}
	}
	open := l.dial
	if l.cfg.TLS {
		open = l.tunnel
	}
	fd, err := open(addr, from)
	if err != nil {
		return err
	}
	c.fd, c.reserved, c.upgraded, c.in, c.out = fd, false, false, nil, nil
	c.began, c.waiting = time.Now().UnixNano(), len(c.seats)
	rand.Read(c.instance[:])
	for i := range c.seats {
		s := &c.seats[i]
		s.joined, s.last, s.next, s.answer = false, 0, 0, s.number
	}
	l.joining++
	c.out = l.cfg.Protocol.Greet(nil, c)
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT, Fd: int32(c.id)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// dial begins a connection.
func (l *Loop) dial(addr netip.AddrPort, from [4]byte) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if from != [4]byte{} {
		const bindAddressNoPort = 24
		syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1)
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: from}); err != nil {
			syscall.Close(fd)
			return -1, fmt.Errorf("bind to a source address: %w", err)
		}
	}
	to := &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	if err := syscall.Connect(fd, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		syscall.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return fd, nil
}

func (l *Loop) watch(c *Client, events uint32) {
	ev := syscall.EpollEvent{Events: events, Fd: int32(c.id)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		l.failure = fmt.Errorf("watch socket: %w", err)
	}
}

// drop closes a connection.
func (l *Loop) drop(c *Client) {
	if c.fd < 0 {
		return
	}
	syscall.Close(c.fd)
	c.fd = -1
	for i := range c.seats {
		if c.seats[i].joined {
			l.seats--
		}
	}
	if c.waiting > 0 {
		l.joining--
	}
}

// broke counts a connection that the server ended.
func (l *Loop) broke(c *Client, why error) {
	l.drop(c)
	l.stats.Broken++
	if !l.measuring {
		l.failure = fmt.Errorf("client %d: %w", c.id, why)
	}
}

func (l *Loop) readable(c *Client) {
	n, err := socket.Read(uintptr(c.fd), l.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil:
		l.broke(c, err)
		return
	case n == 0:
		l.broke(c, errors.New("the server closed the connection"))
		return
	}
	p := l.buf[:n]
	if len(c.in) > 0 {
		p = append(c.in, p...)
	}
	for len(p) > 0 {
		n, err := l.cfg.Protocol.Take(l, c, p)
		if err != nil {
			l.broke(c, err)
			return
		}
		if n == 0 {
			break
		}
		p = p[n:]
	}
	c.in = append(c.in[:0:0], p...)
	if len(p) == 0 {
		c.in = nil
	}
}

func (l *Loop) writable(c *Client) {
	n, err := socket.Write(uintptr(c.fd), c.out)
	if err != nil && err != syscall.EAGAIN {
		l.broke(c, err)
		return
	}
	if c.out = c.out[max(0, n):]; len(c.out) == 0 {
		c.out = nil
		l.watch(c, syscall.EPOLLIN)
	}
}

// send writes at once what the socket takes.
func (l *Loop) send(c *Client, p []byte) {
	if len(p) == 0 {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out, p...)
		return
	}
	n, err := socket.Write(uintptr(c.fd), p)
	if err != nil && err != syscall.EAGAIN {
		l.broke(c, err)
		return
	}
	if n = max(0, n); n < len(p) {
		c.out = append(c.out, p[n:]...)
		l.watch(c, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
}
