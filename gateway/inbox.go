package gateway

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/limpet-games/limpet/gateway/internal/ws"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func (c *conn) count(msg []byte) {
	c.g.metrics.in[wire.TypeOf(msg)].Inc()
	c.g.metrics.bytesIn.Add(float64(len(msg)))
}

// handle does what a client's frame says. Types that it doesn't know are of a
// newer minor version. An error ends the connection.
func (c *conn) handle(msg []byte) error {
	c.count(msg)
	if c.caller != nil {
		return c.hello(msg)
	}
	switch wire.TypeOf(msg) {
	case wire.TypeInput:
		return c.handleInput(msg)
	case wire.TypePing:
		return c.handlePing(msg)
	case wire.TypeSkip:
		return c.handleSkip(msg)
	case wire.TypeLeave:
		return c.handleLeave(msg)
	case wire.TypeJoin:
		return c.handleJoin(msg)
	case wire.TypeResume:
		return c.handleResume(msg)
	case wire.TypeList:
		return c.handleList(msg)
	case wire.TypeFind:
		return c.handleFind(msg)
	case wire.TypeBrowse:
		return c.handleBrowse(msg)
	case wire.TypeQuit:
		return c.handleQuit(msg)
	case wire.TypeHello:
		return &end{wire.CloseBadFrame, "second hello"}
	case 0:
		return &end{wire.CloseBadFrame, "empty message"}
	}
	return nil
}

// maxHead is more than the head of a member's message takes.
const maxHead = 48

func (c *conn) handleInput(msg []byte) error {
	f, err := wire.DecodeInput(msg)
	if err != nil {
		return badFrame(err)
	}
	if s := c.session(f.Handle); s != nil {
		var head [maxHead]byte
		c.forward(s, peer.KindInput, peer.AppendInput(head[:0], peer.Who{}, f.N, nil), f.Payload)
	}
	return nil
}

func (c *conn) handleSkip(msg []byte) error {
	f, err := wire.DecodeSkip(msg)
	if err != nil {
		return badFrame(err)
	}
	if s := c.session(f.Handle); s != nil {
		var head [maxHead]byte
		c.forward(s, peer.KindSkip, peer.AppendSkip(head[:0], peer.Who{}, f.From, f.To), nil)
	}
	return nil
}

func (c *conn) handleLeave(msg []byte) error {
	f, err := wire.DecodeLeave(msg)
	if err != nil {
		return badFrame(err)
	}
	if s := c.session(f.Handle); s != nil {
		var head [maxHead]byte
		c.forward(s, peer.KindLeave, peer.AppendLeave(head[:0], peer.Who{}, f.N), nil)
	}
	return nil
}

// session finds a membership of this connection, and complains where there is
// none.
func (c *conn) session(h wire.Handle) *session {
	c.mu.Lock()
	s := c.held(h)
	c.mu.Unlock()
	if s == nil {
		c.g.metrics.input.limited.Inc()
		c.complainOf(h, wire.Refuse(wire.CodeNotMember, "no room of this connection has that handle"))
	}
	return s
}

// forward sends a message whose head was made for nobody in the session's name.
func (c *conn) forward(s *session, kind peer.Kind, head, tail []byte) {
	switch err := s.forward(kind, head, tail); {
	case err == nil:
	case errors.Is(err, link.ErrFull):
		c.g.metrics.input.full.Inc()
		c.complainOf(s.route.handle, &wire.Error{Code: wire.CodeBusy, RetryMS: 100, Text: "the way to the room is full: send again"})
	default:
		// No host now: the client sends again when it hears of the next.
		c.g.metrics.input.waiting.Inc()
	}
}

// complaints is how many errors a second a client can bring about at will.
const complaints = 4

// complainOf sends an error unless there were many: their number is the
// client's to choose.
func (c *conn) complainOf(h wire.Handle, e *wire.Error) {
	if c.over().complain.allow(time.Now(), complaints) {
		c.sendError(0, h, e)
	}
}

func (c *conn) handlePing(msg []byte) error {
	echo, err := wire.DecodePing(msg)
	if err != nil {
		return badFrame(err)
	}
	const n = 1 + 8
	f := takeFrame(n)
	f.b = wire.AppendPing(ws.AppendHeader(f.b, ws.Binary, n), wire.TypePong, echo)
	c.sendNow(f)
	return nil
}

// misuse answers a request that does not decode: with an error frame where it
// is whole and only says something that is not allowed, with the end of the
// connection otherwise.
func (c *conn) misuse(msg []byte, err error) error {
	if errors.Is(err, wire.ErrShort) || len(msg) < 5 {
		return badFrame(err)
	}
	c.sendError(binary.BigEndian.Uint32(msg[1:]), 0, wire.Refuse(wire.CodeBadRequest, err.Error()))
	return nil
}

// Pong answers a WebSocket ping.
func (c *conn) Pong(payload []byte) error {
	c.touch(time.Now())
	f := takeFrame(len(payload))
	f.b = append(ws.AppendHeader(f.b, ws.Pong, len(payload)), payload...)
	c.sendNow(f)
	return nil
}

// Admit holds the connection to its budget. Control frames and fragments have
// a small one of their own; a client that sends messages too fast is told so
// and waited for, and cut when that doesn't change. A loop can't wait: there the
// message goes ahead, and the wait comes behind it.
func (c *conn) Admit(op ws.Opcode, n int) error {
	now := c.clock()
	if op != ws.Binary && op != ws.Close {
		if !c.over().controls.allow(now, c.g.limits.Controls) {
			return errFlood
		}
	}
	wait := c.bytes.take(now, c.g.limits.Bytes, n)
	if op == ws.Binary {
		wait = max(wait, c.frames.take(now, c.g.limits.Frames, 1))
	}
	if wait == 0 {
		if e := c.excess; e != nil && e.limited != 0 && c.since(now)-e.owed > floodOver {
			e.limited = 0
		}
		return nil
	}
	c.over().owed = c.since(now)
	return c.slowDown(wait)
}

// floodOver is how long a connection must have stayed within its rates to be
// as good as any other: a late timer may leave a flood without debt for a frame.
const floodOver = time.Second

func (c *conn) slowDown(wait time.Duration) error {
	e := c.over()
	if e.limited == 0 {
		e.limited = e.owed
		if c.caller == nil {
			c.sendError(0, 0, &wire.Error{Code: wire.CodeRateLimited, RetryMS: uint32(wait.Milliseconds()) + 1,
				Text: "more than a connection may send: it is read more slowly"})
		}
	}
	if e.owed-e.limited > c.g.limits.FloodAfter {
		return errFlood
	}
	e.debt = wait
	if c.looped {
		return nil
	}
	return c.payDebt()
}
