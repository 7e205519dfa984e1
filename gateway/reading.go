package gateway

import (
	"errors"
	"runtime"
	"time"

	"github.com/limpet-games/limpet/gateway/internal/poll"
	"github.com/limpet-games/limpet/gateway/internal/ws"
)

// A connection is read by a goroutine of its own until it has said hello, and
// whenever something may have to be waited for: the rest of a message, a rate
// limit, the end. In between one of a few loops watches it together with
// thousands of others: no goroutine, no stack and no buffer are held for it,
// and what all of them send is read in one go. Only TCP on Linux can be watched;
// other connections keep their goroutines.

// errWatched ends a goroutine whose connection is in a loop's hands.
var errWatched = errors.New("a loop watches the connection")

// openLoops makes the loops, or none where there is no epoll.
func (g *Gateway) openLoops() {
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l, err := poll.New[*conn]()
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				g.log.Warn().Err(err).Msg("connections are read by goroutines")
			}
			return
		}
		g.loops = append(g.loops, l)
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

// loopFor deals connections out to the loops; nil where there is none.
func (g *Gateway) loopFor() *poll.Loop[*conn] {
	if len(g.loops) == 0 {
		return nil
	}
	return g.loops[g.dealt.Add(1)%uint64(len(g.loops))]
}

// run serves the connection until a loop takes over, or it ends.
func (c *conn) run() {
	if err := c.serve(); err != errWatched {
		c.finish(err)
	}
}

func (c *conn) serve() error {
	if !c.greeted {
		if err := c.greet(); err != nil {
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
		if c.loop != nil && c.in.Rest() && c.watch() {
			return errWatched
		}
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

// watch gives the connection to its loop. From then on it is the loop's.
func (c *conn) watch() bool {
	loop := c.loop // c is the loop's once it is added
	c.looped = true
	if !loop.Add(c.fd, c) {
		c.looped = false
		return false
	}
	if c.out.closing() { // its rouse may have been before
		loop.Rouse(c.fd, c)
	}
	return true
}

// arrived reads what has come, on the loop.
func (c *conn) arrived(now time.Time, ended bool) {
	c.now = now
	c.touch(now)
	err := c.in.Arrived(ended, func(msg []byte) error {
		if err := c.handle(msg); err != nil || c.debt == 0 {
			return err
		}
		return ws.ErrWait
	})
	switch err {
	case nil:
	case ws.ErrWait:
		c.leaveLoop()
	default:
		if c.unwatch() {
			c.g.wg.Go(func() { c.finish(err) })
		}
	}
}

// leaveLoop has a goroutine go on. Its connection is counted in g.wg until it
// has ended, so that Run waits for it.
func (c *conn) leaveLoop() {
	if c.unwatch() {
		c.g.wg.Go(c.run)
	}
}

func (c *conn) unwatch() bool {
	if !c.loop.Remove(c.fd, c) { // named twice in one batch
		return false
	}
	c.looped = false
	return true
}

// longAgo as a deadline wakes a reader.
var longAgo = time.Unix(1, 0)

// rouse has the reader find out that the connection's end is decided.
func (c *conn) rouse() {
	c.nc.SetReadDeadline(longAgo)
	if c.loop != nil {
		c.loop.Rouse(c.fd, c)
	}
}

// clock is the time, as the loop took it for all that has arrived.
func (c *conn) clock() time.Time {
	if c.looped {
		return c.now
	}
	return time.Now()
}

// payDebt waits until the connection is within its rates again.
func (c *conn) payDebt() error {
	if c.debt == 0 {
		return nil
	}
	t := time.NewTimer(c.debt)
	defer t.Stop()
	c.debt = 0
	select {
	case <-t.C:
	case <-c.g.ctx.Done():
		return errStop
	}
	c.touch(time.Now())
	return nil
}
