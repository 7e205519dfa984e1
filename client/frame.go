package client

import (
	"fmt"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// frame handles one frame of a gateway; an error ends the connection. In the
// run loop, under mu.
func (c *Client) frame(n *conn, msg []byte) error {
	err := c.dispatch(n, msg)
	if err != nil {
		err = fmt.Errorf("gateway %s: %w", n.welcome.Gateway, err)
	}
	return err
}

func (c *Client) dispatch(n *conn, msg []byte) error {
	switch t := wire.TypeOf(msg); t {
	case wire.TypeMessage, wire.TypeLatest, wire.TypeEphemeral:
		f, err := wire.DecodeMessage(msg)
		return c.about(n, f.Handle, err, func(r *Room) error { r.received(f); return nil })
	case wire.TypeAck:
		f, err := wire.DecodeAck(msg)
		return c.about(n, f.Handle, err, func(r *Room) error { r.acked(f); return nil })
	case wire.TypeExpect:
		f, err := wire.DecodeExpect(msg)
		return c.about(n, f.Handle, err, func(r *Room) error { return r.expected(f.Next) })
	case wire.TypeAttached:
		f, err := wire.DecodeAttached(msg)
		return c.about(n, f.Handle, err, func(r *Room) error { return r.attached(n, f) })
	case wire.TypeLeft:
		f, err := wire.DecodeLeft(msg)
		return c.about(n, f.Handle, err, func(r *Room) error {
			r.ended(f.Code, f.Text, &wire.Error{Code: f.Code, Text: f.Text})
			return nil
		})
	case wire.TypeWaiting, wire.TypeFailed, wire.TypeSkipped, wire.TypeStore:
		return c.notice(n, t, msg)
	default:
		return c.connection(n, t, msg)
	}
}

// about finds the room of a handle. Frames about none are the tail of a
// membership that is over.
func (c *Client) about(n *conn, h wire.Handle, err error, do func(*Room) error) error {
	if err != nil {
		return c.garbled(err)
	}
	if r := n.handles[h]; r != nil {
		return do(r)
	}
	return nil
}

// garbled tells every room of a frame that does not decode.
func (c *Client) garbled(err error) error {
	for _, r := range c.rooms {
		r.violate("frame does not decode: %v", err)
	}
	return err
}

// notice handles frames that only tell the room's user something.
func (c *Client) notice(n *conn, t wire.Type, msg []byte) error {
	var h wire.Handle
	var e Event
	var err error
	switch t {
	case wire.TypeWaiting:
		var f wire.Waiting
		f, err = wire.DecodeWaiting(msg)
		h, e = f.Handle, &Waiting{Code: f.Code, For: millis(f.ForMS)}
	case wire.TypeFailed:
		var f wire.Failed
		f, err = wire.DecodeFailed(msg)
		h, e = f.Handle, &Failed{N: f.N, Code: f.Code, Text: f.Text}
	case wire.TypeSkipped:
		var f wire.Skipped
		f, err = wire.DecodeSkipped(msg)
		h, e = f.Handle, &Skipped{From: f.From, To: f.To}
	case wire.TypeStore:
		var f wire.Store
		f, err = wire.DecodeStore(msg)
		h, e = f.Handle, &Store{Running: f.Running}
	}
	return c.about(n, h, err, func(r *Room) error { c.emit(r, e); return nil })
}

// connection handles frames about the connection and answers to requests.
// Those of unknown types are ignored.
func (c *Client) connection(n *conn, t wire.Type, msg []byte) error {
	switch t {
	case wire.TypeJoined:
		f, err := wire.DecodeJoined(msg)
		if err != nil {
			return c.garbled(err)
		}
		if r := c.asker(f.Ref); r != nil {
			return r.joined(n, f)
		}
	case wire.TypeError:
		f, err := wire.DecodeError(msg)
		if err != nil {
			return c.garbled(err)
		}
		c.failed(n, f)
	case wire.TypePong:
		echo, err := wire.DecodePing(msg)
		if err != nil {
			return c.garbled(err)
		}
		n.rtt = time.Since(started) - time.Duration(echo)
	case wire.TypeGoAway:
		f, err := wire.DecodeGoAway(msg)
		if err != nil {
			return c.garbled(err)
		}
		c.goAway(n, f)
	case wire.TypeRooms:
		f, err := wire.DecodeRooms(msg)
		if err != nil {
			return c.garbled(err)
		}
		c.listed(f.Ref, &f, nil)
	case wire.TypePage:
		f, err := wire.DecodePage(msg)
		if err != nil {
			return c.garbled(err)
		}
		return c.paged(&f)
	}
	return nil
}

// failed sends an error to whom it concerns.
func (c *Client) failed(n *conn, f wire.ErrorFrame) {
	if f.Ref != 0 {
		if r := c.asker(f.Ref); r != nil {
			r.refused(f.Error)
			return
		}
		if b := c.browsing(f.Ref); b != nil {
			b.fail(&f.Error)
			return
		}
		c.listed(f.Ref, nil, &f.Error)
		return
	}
	if f.Handle != 0 {
		if r := n.handles[f.Handle]; r != nil {
			r.complained(f.Error)
		}
		return
	}
	if f.RetryMS > 0 {
		n.advice = millis(f.RetryMS)
	}
	for _, r := range c.rooms {
		c.emit(r, &Error{f.Error})
	}
}

func (c *Client) asker(ref uint32) *Room {
	for _, r := range c.rooms {
		if ref != 0 && r.asked == ref {
			return r
		}
	}
	return nil
}

// expected sends again from input next.
func (r *Room) expected(next wire.Input) error {
	if next < 1 || next > r.in.next {
		return r.violate("input %d is expected, but %d was the last sent", next, r.in.next-1)
	}
	if next <= r.in.applied {
		r.violate("input %d is expected, but %d was acknowledged", next, r.in.applied)
	}
	r.in.rewind(next)
	r.enqueue()
	return nil
}
