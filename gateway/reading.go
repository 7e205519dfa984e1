package gateway

import (
	"errors"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/limpet-games/limpet/gateway/internal/poll"
	"github.com/limpet-games/limpet/gateway/internal/ws"
)

// A connection is read by a goroutine of its own whenever something may have to be
// waited for: an authentication, the rest of a message, a rate limit, the end.
// Otherwise one of a few loops watches it together with thousands of others: no goroutine, no stack and no buffer are held for it,
// and what all of them send is read in one go. Only TCP on Linux can be watched;
// other connections keep their goroutines.

// loop is one of the gateway's loops.
type loop struct {
	*poll.Loop[*conn]

	// Its goroutine's, for the connection that it reads.
	in   ws.Reader
	now  time.Time
	door door
}

// errWatched ends a goroutine whose connection is in a loop's hands.
var errWatched = errors.New("a loop watches the connection")

// openLoops makes the loops, or none where there is no epoll.
func (g *Gateway) openLoops() {
	for range min(max(1, runtime.GOMAXPROCS(0)/2), math.MaxUint8) {
		l, err := poll.New[*conn]()
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				g.log.Warn().Err(err).Msg("connections are read by goroutines")
			}
			return
		}
		g.loops = append(g.loops, &loop{Loop: l})
	}
}

// runLoops runs the loops until closeLoops.
func (g *Gateway) runLoops() {
	for _, l := range g.loops {
		g.looping.Go(func() {
			defer l.Free()
			if err := l.Run(func(c *conn, now time.Time, ended bool) { c.arrived(now, ended) }, (*conn).leaveLoop); err != nil {
				g.log.Error().Err(err).Msg("loop over connections ended")
			}
		})
	}
}

func (g *Gateway) closeLoops() {
	for _, l := range g.loops {
		l.Close()
	}
	g.looping.Wait()
}

// loopFor deals connections out to the loops; 0 where there is none.
func (g *Gateway) loopFor() uint8 {
	if len(g.loops) == 0 {
		return 0
	}
	return uint8(1 + g.dealt.Add(1)%uint64(len(g.loops)))
}

// its is the connection's loop. It has one.
func (c *conn) its() *loop { return c.g.loops[c.loop-1] }

// run serves the connection until a loop takes over, or it ends.
func (c *conn) run() {
	if err := c.serve(); err != errWatched {
		c.finish(err)
	}
}

func (c *conn) serve() error {
	if c.in == nil {
		c.in = new(ws.Reader)
		c.in.Open(nil, maxMessage, c)
	}
	if c.caller != nil && c.caller.hello != nil {
		if err := c.greet(c.caller.hello); err != nil {
			return err
		}
	}
	for {
		if err := c.payDebt(); err != nil {
			return err
		}
		if c.out.closing() {
			return errStop
		}
		if c.loop != 0 && c.caller == nil && c.in.Rest() {
			if c.watch() {
				return errWatched
			}
			if c.out.closing() { // its rouse may have found nothing to wake
				return errStop
			}
		}
		nc, err := c.awake()
		if err != nil {
			return err
		}
		c.in.Attach(nc)
		msg, err := c.in.Next()
		if err != nil {
			return err
		}
		c.touch(time.Now())
		if err := c.handle(msg); err != nil {
			return err
		}
	}
}

// awake is what a goroutine waits with for the socket, the runtime's connection:
// ten times what the descriptor alone takes, which is all that a loop needs.
func (c *conn) awake() (net.Conn, error) {
	if nc := c.nc.Load(); nc != nil {
		return *nc, nil
	}
	nc, err := c.out.wrap()
	if err == nil {
		c.nc.Store(&nc)
	}
	return nc, err
}

// watch gives the connection to its loop. From then on it is the loop's.
func (c *conn) watch() bool {
	loop, in, nc := c.its(), c.in, c.nc.Swap(nil) // c is the loop's once it is added
	c.in, c.looped = nil, true
	if !loop.Add(int(c.out.fd), c) {
		c.in, c.looped = in, false
		c.nc.Store(nc)
		return false
	}
	if nc != nil {
		(*nc).Close() // the socket stays open by the outbox's descriptor
	}
	if c.out.closing() { // its rouse may have been before
		loop.Rouse(int(c.out.fd), c)
	}
	return true
}

// arrived reads what has come, on the loop.
func (c *conn) arrived(now time.Time, ended bool) {
	l := c.its()
	in := &l.in
	l.now = now
	if k := c.caller; k != nil && !k.open {
		c.knock(now, ended)
		return
	}
	c.touch(now)
	in.Open(nil, maxMessage, c)
	err := in.Arrived(uintptr(c.out.fd), ended, func(msg []byte) error {
		if err := c.handle(msg); err != nil || c.debt() == 0 {
			return err
		}
		return ws.ErrWait
	})
	switch err {
	case nil:
	case ws.ErrWait:
		c.in = in.Detach()
		c.leaveLoop()
	default:
		in.Release()
		if c.unwatch() {
			c.g.wg.Go(func() { c.finish(err) })
		}
	}
}

// leaveLoop has a goroutine go on, if it is a WebSocket. Its connection is counted in g.wg until it
// has ended, so that Run waits for it.
func (c *conn) leaveLoop() {
	if !c.unwatch() {
		return
	}
	if k := c.caller; k != nil && !k.open {
		c.vanish()
		return
	}
	c.g.wg.Go(c.run)
}

func (c *conn) unwatch() bool {
	if !c.its().Remove(int(c.out.fd), c) { // named twice in one batch
		return false
	}
	c.looped = false
	return true
}

// longAgo as a deadline wakes a reader.
var longAgo = time.Unix(1, 0)

// rouse has the reader find out that the connection's end is decided.
func (c *conn) rouse() {
	if nc := c.nc.Load(); nc != nil {
		(*nc).SetReadDeadline(longAgo)
	}
	if c.loop != 0 {
		c.its().Rouse(int(c.out.fd), c)
	}
}

// clock is the time, as the loop took it for all that has arrived.
func (c *conn) clock() time.Time {
	if c.looped {
		return c.its().now
	}
	return time.Now()
}

// payDebt waits until the connection is within its rates again.
func (c *conn) payDebt() error {
	debt := c.debt()
	if debt == 0 {
		return nil
	}
	t := time.NewTimer(debt)
	defer t.Stop()
	c.excess.debt = 0
	select {
	case <-t.C:
	case <-c.g.ctx.Done():
		return errStop
	}
	c.touch(time.Now())
	return nil
}
