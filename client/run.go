package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

// run keeps a connection up until ctx ends or a gateway says to stay away.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	for {
		end, advice := c.session(ctx)
		if ctx.Err() != nil {
			c.over(ErrClosed)
			return
		}
		if end.code != wire.CodeNone && !end.code.Retry() {
			c.over(end.err)
			return
		}
		if !c.wait(ctx, c.delay(end, advice)) {
			c.over(ErrClosed)
			return
		}
	}
}

// session makes one connection and serves it to its end.
func (c *Client) session(ctx context.Context) (end *ending, advice time.Duration) {
	url := c.cfg.URLs[c.turn%len(c.cfg.URLs)]
	c.turn++
	c.mu.Lock()
	c.tries++
	c.mu.Unlock()
	n, err := c.connect(ctx, url)
	if err != nil {
		return c.missed(err)
	}
	c.open(n)
	closing := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closing)
		c.depart(n, &ending{err: ErrClosed})
		n.net.hurry()
	})
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		c.write(n)
	}()
	end = c.listen(n)
	if !stop() {
		<-closing
	}
	n.poke()
	<-writer
	c.lost(n, end)
	return end, n.advice
}

// depart has the writer close the connection in good form.
func (c *Client) depart(n *conn, why *ending) {
	c.mu.Lock()
	if n.goodbye == nil {
		n.goodbye = why
	}
	c.mu.Unlock()
	n.poke()
}

// missed tells what a failed attempt means.
func (c *Client) missed(err error) (*ending, time.Duration) {
	c.mu.Lock()
	c.lastErr = err
	c.mu.Unlock()
	end, advice := &ending{err: err}, time.Duration(-1)
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 5000 {
		end.code = wire.Code(closed.Code)
		end.err = fmt.Errorf("%w", &wire.Error{Code: end.code, Text: closed.Text})
	}
	var told *wire.Error
	if errors.As(err, &told) {
		if told.Code >= 4000 {
			end.code = told.Code
		}
		if told.RetryMS > 0 {
			advice = time.Duration(told.RetryMS) * time.Millisecond
		}
	}
	var r *refused
	if errors.As(err, &r) {
		advice = r.after
	}
	return end, advice
}

// delay is how long to stay away after an end. The gateway's advice wins; the
// jitter on top of it keeps those who got the same advice apart.
func (c *Client) delay(end *ending, advice time.Duration) time.Duration {
	if end.moving {
		return 0
	}
	d := c.backoff.next()
	if advice >= 0 {
		return advice + min(d, backoffBase)
	}
	return d
}

// wait lets d pass, and delivers events that come up meanwhile. False: ctx ended.
func (c *Client) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-c.kick:
			c.mu.Lock()
			c.late()
			c.mu.Unlock()
			c.deliver()
		}
	}
}

// open takes a connection up: every membership is asked for again.
func (c *Client) open(n *conn) {
	c.mu.Lock()
	c.conn = n
	if c.lastErr = nil; !isClosed(c.opens) {
		close(c.opens)
	}
	for _, r := range append([]*Room(nil), c.rooms...) {
		r.request()
	}
	for _, l := range c.lists {
		n.out = append(n.out, l.frame)
	}
	for _, b := range c.browses {
		b.ask(c)
	}
	c.late()
	c.mu.Unlock()
	n.poke()
	c.deliver()
}

// listen handles frames until the connection ends.
func (c *Client) listen(n *conn) *ending {
	for {
		msg, err := n.read()
		if err != nil {
			return n.endOf(err)
		}
		c.mu.Lock()
		n.heard = true
		err = c.frame(n, msg)
		c.late()
		c.mu.Unlock()
		c.deliver()
		if err != nil {
			n.end(&ending{err: err})
		}
	}
}

// lost takes a connection down.
func (c *Client) lost(n *conn, end *ending) {
	if time.Since(n.opened) >= stableAfter {
		c.backoff.reset()
	}
	c.mu.Lock()
	c.conn, c.lastErr = nil, end.err
	if n.moveOn != nil {
		n.moveOn.Stop()
	}
	for _, r := range append([]*Room(nil), c.rooms...) {
		r.dropped(end)
	}
	c.late()
	c.mu.Unlock()
	c.deliver()
}

// over ends the client for good.
func (c *Client) over(cause error) {
	c.mu.Lock()
	c.endCause = cause
	e := &wire.Error{Code: wire.CodeLeft, Text: cause.Error()}
	errors.As(cause, &e)
	for _, r := range append([]*Room(nil), c.rooms...) {
		if errors.Is(cause, ErrClosed) {
			r.end(cause)
		} else {
			r.ended(e.Code, e.Text, cause)
		}
	}
	for _, l := range c.lists {
		l.answer(nil, cause)
	}
	c.lists = nil
	for _, b := range c.browses {
		b.fail(cause)
	}
	c.mu.Unlock()
	c.deliver()
}

// late notes the events that came up outside of the run loop. Under mu.
func (c *Client) late() {
	for _, r := range c.rooms {
		if r.gaveUp.From != 0 {
			e := r.gaveUp
			r.gaveUp = GaveUp{}
			c.emit(r, &e)
		}
	}
}

// goAway leaves for another gateway at a moment drawn from the spread.
func (c *Client) goAway(n *conn, f wire.GoAway) {
	if n.moveOn != nil {
		return
	}
	d := millis(f.AfterMS) + spread(millis(f.SpreadMS))
	n.moveOn = time.AfterFunc(d, func() {
		c.depart(n, &ending{code: wire.CloseShutdown, err: errors.New("the gateway goes away"), moving: true})
	})
}

func millis(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }

func isClosed(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
