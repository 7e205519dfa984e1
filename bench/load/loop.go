//go:build linux

// Package load is the benchmark's clients: thousands of them in one loop over
// epoll with framing by hand, so that they cost little beside what they
// measure. Inputs are sent when the clock says, not when an answer came, so
// that a server's stall is measured and not left out.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/limpet-games/limpet/bench/state"
	"github.com/limpet-games/limpet/internal/socket"
)

// pingEvery keeps silent connections open.
const pingEvery = 15 * time.Second

// tickEvery is how finely sends are scheduled.
const tickEvery = 250 * time.Microsecond

// Loop is the clients. It is used by one goroutine.
type Loop struct {
	cfg     Config
	epoll   int
	clients []Client
	stats   Stats
	scratch []byte // what is being sent
	buf     []byte // what has been read
	events  [256]syscall.EpollEvent

	nextJoin int // of clients
	joining  int
	seats    int // joined
	pace     pace
	failure  error

	tunnels sync.WaitGroup // goroutines of TLS connections

	measuring bool
	reported  time.Time
	churned   int
	churnAt   time.Time
}

// New makes the clients; Join connects them.
func New(cfg Config) (*Loop, error) {
	cfg.Seats, cfg.Joining, cfg.Sources = max(1, cfg.Seats), max(1, cfg.Joining), max(1, cfg.Sources)
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	l := &Loop{cfg: cfg, epoll: epoll, stats: newStats(), scratch: make([]byte, 0, 4<<10), buf: make([]byte, 256<<10)}
	l.clients = make([]Client, cfg.Clients)
	rooms := max(1, (cfg.Clients*cfg.Seats+cfg.PerRoom-1)/cfg.PerRoom)
	for i := range l.clients {
		c := &l.clients[i]
		c.id, c.fd = i, -1
		c.seats = make([]Seat, cfg.Seats)
		for k := range c.seats {
			at := i + k*cfg.Clients
			c.seats[k] = Seat{Room: at % rooms, slot: uint32(at / rooms)}
		}
	}
	return l, nil
}

// Join connects all clients and waits until all are members.
func (l *Loop) Join(ctx context.Context) error {
	began := time.Now()
	l.reported = began
	for l.joinMore(); l.seats < len(l.clients)*l.cfg.Seats; {
		if err := l.turn(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("join (%d of %d are in): %w", l.seats, len(l.clients)*l.cfg.Seats, err)
		}
		l.report(began, false)
	}
	l.stats.For = time.Since(began)
	return nil
}

// Joined is what was seen since New, after Join.
func (l *Loop) Joined() Stats {
	s := l.stats
	s.Joined = l.seats
	return s
}

// Play has the members send and receive for d.
func (l *Loop) Play(ctx context.Context, d time.Duration) (Stats, error) {
	began := time.Now()
	l.stats, l.reported = newStats(), began
	l.begin(began)
	end := began.Add(d)
	for now := began; now.Before(end); now = time.Now() {
		l.sendDue(now)
		l.churn(now)
		if err := l.turn(ctx, max(0, min(l.pace.next().Sub(now), end.Sub(now)))); err != nil {
			return l.stats, err
		}
		l.report(began, true)
	}
	l.measuring = false
	l.unanswered()
	l.stats.For, l.stats.Joined = time.Since(began), l.seats
	return l.stats, nil
}

// report tells of a join or a play that began so, once a second.
func (l *Loop) report(began time.Time, playing bool) {
	now := time.Now()
	if l.cfg.Progress == nil || now.Sub(l.reported) < time.Second {
		return
	}
	l.reported = now
	l.stats.For, l.stats.Playing, l.stats.Joined = now.Sub(began), playing, l.seats
	l.cfg.Progress(l.stats)
}

// CatchUp reads for d what has come while nobody read. It sends nothing.
func (l *Loop) CatchUp(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := l.turn(ctx, max(0, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}

// begin sets up the schedule, and the share of the clients that is slow.
func (l *Loop) begin(now time.Time) {
	every := pingEvery
	if l.cfg.Rate > 0 {
		every = time.Duration(float64(time.Second) / l.cfg.Rate)
	}
	l.pace = pace{start: now, every: every, n: len(l.clients)}
	l.measuring, l.churnAt = true, now
	for i := range int(l.cfg.Slow * float64(len(l.clients))) {
		c := &l.clients[i*len(l.clients)/max(1, int(l.cfg.Slow*float64(len(l.clients))))]
		c.deaf = true
		syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		l.watch(c, 0)
	}
	if l.cfg.PingPong {
		for i := range l.clients {
			l.input(&l.clients[i], now.UnixNano())
		}
	}
}

// pace spreads n clients' sends evenly over each interval.
type pace struct {
	start time.Time
	every time.Duration
	n     int
	sent  int
}

func (p *pace) at(i int) time.Time {
	return p.start.Add(time.Duration(i/p.n)*p.every + time.Duration(i%p.n)*p.every/time.Duration(p.n))
}

// next is when there is something to send again, coarsely.
func (p *pace) next() time.Time { return p.at(p.sent).Add(tickEvery) }

func (l *Loop) sendDue(now time.Time) {
	for {
		due := l.pace.at(l.pace.sent)
		if due.After(now) {
			return
		}
		c := &l.clients[l.pace.sent%l.pace.n]
		l.pace.sent++
		switch {
		case c.fd < 0 || c.waiting > 0:
		case c.deaf:
			l.trickle(c)
		case l.cfg.Rate > 0:
			l.input(c, due.UnixNano())
		default:
			l.send(c, l.cfg.Protocol.Ping(l.scratch[:0]))
		}
	}
}

// trickle reads far less than comes.
func (l *Loop) trickle(c *Client) {
	if n, err := socket.Read(uintptr(c.fd), l.buf[:64]); n == 0 || err != nil && err != syscall.EAGAIN {
		l.broke(c, errors.New("a slow client was cut"))
	}
}

// input sends one input of each membership, in one write.
func (l *Loop) input(c *Client, due int64) {
	var payload [state.InputSize]byte
	b := l.scratch[:0]
	for i := range c.seats {
		s := &c.seats[i]
		s.number++
		s.due = due
		state.PutInput(payload[:], state.Echo{Slot: s.slot, Number: s.number, Sent: due})
		b = l.cfg.Protocol.Input(b, s, payload[:])
		l.stats.Inputs++
	}
	l.send(c, b)
}

// joined is told by protocols.
func (l *Loop) joined(c *Client, s *Seat) {
	if s.joined {
		return
	}
	s.joined = true
	l.seats++
	l.stats.Joins++
	if c.waiting--; c.waiting == 0 {
		record(l.stats.Join, time.Now().UnixNano()-c.began)
		l.joining--
		l.joinMore()
	}
}

// answer is what an echo room sends in place of states.
func (l *Loop) answer(c *Client, s *Seat, p []byte, now int64) {
	e, ok := state.Input(p)
	switch {
	case !ok:
		l.failure = errors.New("an answer is malformed")
		return
	case e.Number <= s.answer:
		l.stats.Duplicated++
		return
	case e.Sent >= l.pace.start.UnixNano(): // and not of the play before
		l.stats.Lost += uint64(e.Number - s.answer - 1)
		l.stats.Deliveries++
		record(l.stats.Input, now-e.Sent)
	}
	s.answer = e.Number
	if l.cfg.PingPong && l.measuring && e.Number == s.number {
		l.input(c, now)
	}
}

// unanswered counts as lost what no later answer shows to be.
func (l *Loop) unanswered() {
	const late = time.Second
	if !l.cfg.Echo {
		return
	}
	for i := range l.clients {
		for k := range l.clients[i].seats {
			if s := &l.clients[i].seats[k]; s.joined && time.Now().UnixNano()-s.due > int64(late) {
				l.stats.Lost += uint64(s.number - s.answer)
			}
		}
	}
}

// state is told by protocols: a state or, in an echo room, an answer.
func (l *Loop) state(c *Client, s *Seat, p []byte) {
	now := time.Now().UnixNano()
	if l.cfg.Echo {
		l.answer(c, s, p, now)
		return
	}
	began, seq, echoes, ok := state.Head(p)
	if !ok {
		l.failure = errors.New("a state is malformed")
		return
	}
	switch {
	case s.last == 0:
	case seq <= s.last:
		l.stats.Duplicated++
	case !c.deaf:
		l.stats.Lost += seq - s.last - 1
	}
	s.last = max(s.last, seq)
	l.stats.Deliveries++
	l.stats.Bytes += uint64(len(p))
	record(l.stats.Lateness, now-began)
	for i := range echoes {
		if e := state.EchoAt(p, i); e.Slot == s.slot && e.Sent >= l.pace.start.UnixNano() {
			record(l.stats.Input, now-e.Sent)
		}
	}
}

// churn ends connections, oldest first, and makes them again.
func (l *Loop) churn(now time.Time) {
	if l.cfg.Churn <= 0 {
		return
	}
	for every := time.Duration(float64(time.Second) / l.cfg.Churn); !now.Before(l.churnAt); l.churnAt = l.churnAt.Add(every) {
		c := &l.clients[l.churned%len(l.clients)]
		l.churned++
		if c.fd < 0 || c.waiting > 0 {
			continue
		}
		l.drop(c)
		if err := l.connect(c); err != nil {
			l.failure = err
		}
	}
}

func (l *Loop) joinMore() {
	for l.joining < l.cfg.Joining && l.nextJoin < len(l.clients) {
		c := &l.clients[l.nextJoin]
		l.nextJoin++
		if err := l.connect(c); err != nil {
			l.failure = err
			return
		}
	}
}

// turn waits for at most wait and handles what has happened.
func (l *Loop) turn(ctx context.Context, wait time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := l.wait(wait)
	if err != nil {
		return fmt.Errorf("wait for sockets: %w", err)
	}
	for _, ev := range l.events[:n] {
		c := &l.clients[ev.Fd]
		if c.fd < 0 {
			continue
		}
		if c.deaf && ev.Events&(syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			l.broke(c, errors.New("a slow client was cut"))
			continue
		}
		if ev.Events&syscall.EPOLLOUT != 0 {
			l.writable(c)
		}
		if ev.Events&^uint32(syscall.EPOLLOUT) != 0 && !c.deaf && c.fd >= 0 {
			l.readable(c)
		}
	}
	return l.failure
}

// wait is epoll_pwait2, whose timeout is finer than a millisecond.
func (l *Loop) wait(d time.Duration) (int, error) {
	const epollPwait2 = 441
	ts := syscall.NsecToTimespec(int64(d))
	n, _, errno := syscall.Syscall6(epollPwait2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
		uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return 0, nil
	}
	return 0, errno
}

// Close ends all connections.
func (l *Loop) Close() {
	for i := range l.clients {
		if c := &l.clients[i]; c.fd >= 0 {
			syscall.Close(c.fd)
			c.fd = -1
		}
	}
	syscall.Close(l.epoll)
	l.tunnels.Wait()
}
