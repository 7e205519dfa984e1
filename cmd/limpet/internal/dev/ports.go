package dev

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// nodePorts are one child's addresses.
type nodePorts struct {
	players           string // gateways only
	gossip, link, ops string
}

// Free ports are drawn from below the range that the kernel gives to outgoing
// connections: a child that is down for some seconds must find its port free
// again, and a connection to it must be refused, which one from the very same
// port would not be.
const lowPort, highPort = 20000, 32000

// portPicker finds free ports, each at most once.
type portPicker struct{ taken map[string]bool }

func (p *portPicker) node() (n nodePorts, err error) {
	for _, addr := range []*string{&n.gossip, &n.link, &n.ops} {
		if *addr, err = p.free(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// free finds a port that is free for TCP and UDP.
func (p *portPicker) free() (string, error) {
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowPort+rand.IntN(highPort-lowPort)))
		if p.take(addr) == nil {
			return addr, nil
		}
	}
	return "", setup("no free port between %d and %d", lowPort, highPort)
}

// take checks that a port is free, by listening there for a moment.
func (p *portPicker) take(addr string) error {
	if p.taken[addr] {
		return errors.New("address in use")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return cause(err)
	}
	ln.Close()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return cause(err)
	}
	pc.Close()
	if p.taken == nil {
		p.taken = map[string]bool{}
	}
	p.taken[addr] = true
	return nil
}

// cause is the part of a network error that people need.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}
