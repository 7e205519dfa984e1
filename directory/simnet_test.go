package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// simNet is a network in memory, for gossip and links, in virtual time. What
// is cut loses packets and dials, and holds streams back until it heals.
type simNet struct {
	mu       sync.Mutex
	rand     *rand.Rand
	loss     float64       // of packets; streams send again what was lost
	delay    time.Duration // one way, and up to as much again
	cut      func(from, to string) bool
	paused   map[string]bool // machines that stand still, by IP
	procs    map[*simProc]bool
	changed  chan struct{} // closed when any of the above but procs has changed
	gossiped int           // bytes of packets
	packets  int
}

// simProc is one process's end of the network.
type simProc struct {
	net *simNet
	ip  string

	packets chan *memberlist.Packet
	streams chan net.Conn
	links   chan net.Conn

	mu    sync.Mutex
	dead  bool                  // guarded by mu, as all below
	shut  bool                  // its link address refuses
	conns map[*simConn]struct{} // its own ends
}

const (
	simGossip = "7946"
	simLinks  = "7100"
)

func newSimNet(r *rand.Rand) *simNet {
	return &simNet{rand: r, paused: map[string]bool{}, procs: map[*simProc]bool{}, changed: make(chan struct{})}
}

// process adds a process at an address that no other has.
func (n *simNet) process(ip string) *simProc {
	p := &simProc{net: n, ip: ip, conns: map[*simConn]struct{}{},
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 64), links: make(chan net.Conn, 64)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.procs[p] = true
	return p
}

// set changes the network's faults and wakes those who wait for that.
func (n *simNet) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *simNet) split(cut func(from, to string) bool) { n.set(func() { n.cut = cut }) }

// blocked reports whether nothing gets from one machine to another now, and
// what is closed when that may have changed.
func (n *simNet) blocked(from, to string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blockedLocked(from, to), n.changed
}

func (n *simNet) blockedLocked(from, to string) bool {
	return n.paused[from] || n.paused[to] || n.cut != nil && from != to && n.cut(from, to)
}

// at is the process that listens at an IP, nil if there is none.
func (n *simNet) at(ip string) *simProc {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.procs {
		if p.ip == ip {
			return p
		}
	}
	return nil
}

// journey is how long a packet or a part of a stream is under way; ok: a
// packet arrives.
func (n *simNet) journey(from, to string, size int) (d time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.packets++
	n.gossiped += size
	if n.delay > 0 {
		d = n.delay + time.Duration(n.rand.Int64N(int64(n.delay)))
	}
	return d, !n.blockedLocked(from, to) && (n.loss == 0 || n.rand.Float64() >= n.loss)
}

// stream is how long a part of a stream is under way: what is lost is sent
// again after a time that doubles.
func (n *simNet) stream() (d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.delay > 0 {
		d = n.delay + time.Duration(n.rand.Int64N(int64(n.delay)))
	}
	for again := 200 * time.Millisecond; n.loss > 0 && n.rand.Float64() < n.loss; again *= 2 {
		d += again
	}
	return d
}

// kill ends a process at once. Its sockets are closed by its machine, unless
// that is gone too.
func (p *simProc) kill(machine bool) {
	p.net.mu.Lock()
	delete(p.net.procs, p)
	p.net.mu.Unlock()
	p.mu.Lock()
	p.dead = true
	conns := p.conns
	p.conns = map[*simConn]struct{}{}
	p.mu.Unlock()
	for c := range conns {
		c.abandon(!machine)
	}
}

func (p *simProc) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// memberlist's transport.

func (p *simProc) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(p.ip), 7946, nil
}
func (p *simProc) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *simProc) StreamCh() <-chan net.Conn           { return p.streams }
func (p *simProc) Shutdown() error                     { return nil }

func (p *simProc) WriteTo(b []byte, addr string) (time.Time, error) {
	ip, _, _ := net.SplitHostPort(addr)
	to := p.net.at(ip)
	d, ok := p.net.journey(p.ip, ip, len(b))
	if to == nil || !ok || p.isDead() {
		return time.Now(), nil
	}
	from, _ := net.ResolveUDPAddr("udp", net.JoinHostPort(p.ip, simGossip))
	deliver := func() {
		select {
		case to.packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: time.Now()}:
		default: // lost, as packets may be
		}
	}
	if b = slices.Clone(b); d == 0 {
		deliver()
	} else {
		time.AfterFunc(d, deliver)
	}
	return time.Now(), nil
}

func (p *simProc) DialTimeout(addr string, d time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.dial(ctx, addr)
}

// dial reaches a process's gossip or link address, or finds out that there is
// none.
func (p *simProc) dial(ctx context.Context, addr string) (net.Conn, error) {
	ip, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for {
		there, changed := p.net.blocked(p.ip, ip)
		back, _ := p.net.blocked(ip, p.ip)
		if !there && !back && !p.isDead() {
			break
		}
		select {
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		case <-changed:
		}
	}
	if d := p.net.stream(); d > 0 {
		select {
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		case <-time.After(d):
		}
	}
	to := p.net.at(ip)
	if to == nil || port == simLinks && to.refuses() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	here, there := connect(p, to)
	queue := to.streams
	if port == simLinks {
		queue = to.links
	}
	select {
	case queue <- there:
		return here, nil
	default:
		here.Close()
		return nil, errors.New("backlog is full")
	}
}

func (p *simProc) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shut
}

// listener takes a process's links.
type simListener struct {
	p    *simProc
	once sync.Once
	end  chan struct{}
}

func (p *simProc) listen() *simListener { return &simListener{p: p, end: make(chan struct{})} }

func (l *simListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.p.links:
		return c, nil
	case <-l.end:
		return nil, net.ErrClosed
	}
}

func (l *simListener) Close() error {
	l.once.Do(func() {
		l.p.mu.Lock()
		l.p.shut = true
		l.p.mu.Unlock()
		close(l.end)
	})
	return nil
}

func (l *simListener) Addr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(l.p.ip), Port: 7100} }

// simConn is one end of a stream.
type simConn struct {
	mine, theirs *simProc
	in, out      *simPipe
	left         []byte

	read, write deadline
}

// simPipe is one direction of a stream.
type simPipe struct {
	parts  chan part
	ended  chan struct{} // the writer's end is closed
	closed chan struct{} // the reader's
	end    func()
	close  func()
}

type part struct {
	b  []byte
	at time.Time
}

func newSimPipe() *simPipe {
	p := &simPipe{parts: make(chan part, 256), ended: make(chan struct{}), closed: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func connect(a, b *simProc) (*simConn, *simConn) {
	there, back := newSimPipe(), newSimPipe()
	x := &simConn{mine: a, theirs: b, in: back, out: there}
	y := &simConn{mine: b, theirs: a, in: there, out: back}
	for _, c := range []*simConn{x, y} {
		c.read.init()
		c.write.init()
		c.mine.mu.Lock()
		c.mine.conns[c] = struct{}{}
		c.mine.mu.Unlock()
	}
	return x, y
}

// abandon closes a dead process's end. Its peer hears so if its machine lives.
func (c *simConn) abandon(told bool) {
	c.in.close()
	if told {
		c.out.end()
	}
}

func (c *simConn) Close() error {
	c.mine.mu.Lock()
	delete(c.mine.conns, c)
	c.mine.mu.Unlock()
	c.in.close()
	c.out.end()
	return nil
}

func (c *simConn) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		var next part
		select {
		case next = <-c.in.parts:
		default:
			select {
			case next = <-c.in.parts:
			case <-c.in.ended:
				select {
				case next = <-c.in.parts:
				default:
					if err := c.arrived(time.Time{}); err != nil {
						return 0, err
					}
					return 0, io.EOF
				}
			case <-c.in.closed:
				return 0, net.ErrClosed
			case <-c.read.passed():
				return 0, os.ErrDeadlineExceeded
			}
		}
		if err := c.arrived(next.at); err != nil {
			return 0, err
		}
		c.left = next.b
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// arrived waits until what was sent is here: after its journey, when nothing
// cuts it off.
func (c *simConn) arrived(at time.Time) error {
	if d := time.Until(at); !at.IsZero() && d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.in.closed:
			return net.ErrClosed
		case <-c.read.passed():
			return os.ErrDeadlineExceeded
		}
	}
	for {
		blocked, changed := c.mine.net.blocked(c.theirs.ip, c.mine.ip)
		if !blocked {
			return nil
		}
		select {
		case <-changed:
		case <-c.in.closed:
			return net.ErrClosed
		case <-c.read.passed():
			return os.ErrDeadlineExceeded
		}
	}
}

func (c *simConn) Write(p []byte) (int, error) {
	next := part{b: slices.Clone(p)}
	if d := c.mine.net.stream(); d > 0 {
		next.at = time.Now().Add(d)
	}
	select {
	case <-c.out.ended:
		return 0, net.ErrClosed
	case <-c.out.closed:
		if blocked, _ := c.mine.net.blocked(c.theirs.ip, c.mine.ip); !blocked {
			return 0, syscall.EPIPE
		}
		return len(p), nil // lost; the other side's word for it is on its way
	default:
	}
	select {
	case c.out.parts <- next:
		return len(p), nil
	case <-c.out.ended:
		return 0, net.ErrClosed
	case <-c.out.closed:
		return 0, syscall.EPIPE
	case <-c.write.passed():
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *simConn) LocalAddr() net.Addr  { return simAddr(c.mine.ip) }
func (c *simConn) RemoteAddr() net.Addr { return simAddr(c.theirs.ip) }

func simAddr(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }

func (c *simConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}
func (c *simConn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *simConn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// deadline is a channel that is closed when a time has passed.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	c     chan struct{}
}

func (d *deadline) init() { d.c = make(chan struct{}) }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.c // it is closing
	}
	d.timer = nil
	select {
	case <-d.c:
		d.c = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	c := d.c
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(c) })
	} else {
		close(c)
	}
}

func simIP(i int) string { return fmt.Sprintf("10.0.%d.%d", i/250, i%250+1) }
