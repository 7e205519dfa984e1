//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

var be = binary.BigEndian

// Protocol is how clients speak to one system. Methods append what is to be
// sent and return the result.
type Protocol interface {
	// Greet is what a client sends when it is connected.
	Greet(b []byte, c *Client) []byte
	// Input is an input with its payload.
	Input(b []byte, s *Seat, payload []byte) []byte
	// Ping keeps a silent connection open; nothing where that needs nothing.
	Ping(b []byte) []byte
	// Take handles the first message in p and returns its length, 0 where it is
	// not whole yet.
	Take(l *Loop, c *Client, p []byte) (int, error)
}

// Raw is the protocol of the TCP floor: messages behind a u16 length, of which
// the first names the room.
type Raw struct{}

func (Raw) Greet(b []byte, c *Client) []byte {
	return be.AppendUint32(be.AppendUint16(b, 4), uint32(c.seats[0].Room))
}

func (Raw) Input(b []byte, _ *Seat, payload []byte) []byte {
	return append(be.AppendUint16(b, uint16(len(payload))), payload...)
}

func (Raw) Ping(b []byte) []byte { return b }

func (Raw) Take(l *Loop, c *Client, p []byte) (int, error) {
	if len(p) < 2 || len(p) < 2+int(be.Uint16(p)) {
		return 0, nil
	}
	n := 2 + int(be.Uint16(p))
	if n == 2 { // an empty message confirms the join
		l.joined(c, &c.seats[0])
		return n, nil
	}
	l.state(c, &c.seats[0], p[2:n])
	return n, nil
}

// WebSocket is the protocol of single-process WebSocket servers: the path names
// the room, and messages are payloads.
type WebSocket struct{}

func (WebSocket) Greet(b []byte, c *Client) []byte {
	return upgrade(b, fmt.Sprintf("/%d", c.seats[0].Room), "")
}

func (WebSocket) Input(b []byte, _ *Seat, payload []byte) []byte {
	return mask(header(b, len(payload)), payload)
}

func (WebSocket) Ping(b []byte) []byte { return b }

func (WebSocket) Take(l *Loop, c *Client, p []byte) (int, error) {
	if !c.upgraded {
		n, err := upgraded(c, p)
		if n > 0 {
			l.joined(c, &c.seats[0])
		}
		return n, err
	}
	msg, n, err := message(p)
	if n > 0 {
		l.state(c, &c.seats[0], msg)
	}
	return n, err
}

// Limpet is limpet.v1.
type Limpet struct {
	Kind string // of the rooms
}

func (Limpet) Greet(b []byte, _ *Client) []byte { return upgrade(b, "/", wire.Subprotocol) }

func (Limpet) Input(b []byte, s *Seat, payload []byte) []byte {
	s.next++
	b = header(b, 1+4+8+len(payload))
	at := len(b)
	b = append(b, byte(wire.TypeInput))
	b = be.AppendUint32(b, s.handle)
	b = be.AppendUint64(b, s.next)
	b = append(b, payload...)
	maskInPlace(b[at:])
	return b
}

func (Limpet) Ping(b []byte) []byte { return frame(b, wire.AppendPing(nil, wire.TypePing, 1)) }

func (p Limpet) Take(l *Loop, c *Client, in []byte) (int, error) {
	if !c.upgraded {
		n, err := upgraded(c, in)
		if n > 0 {
			hello := wire.Hello{Instance: c.instance, Agent: "limpet-bench"}
			l.send(c, frame(l.scratch[:0], hello.Append(nil)))
		}
		return n, err
	}
	msg, n, err := message(in)
	if n > 0 && err == nil {
		err = p.handle(l, c, msg)
	}
	return n, err
}

func (p Limpet) handle(l *Loop, c *Client, msg []byte) error {
	switch t := wire.TypeOf(msg); t {
	case wire.TypeLatest, wire.TypeMessage, wire.TypeEphemeral:
		skip := map[bool]int{true: 13, false: 9}[t == wire.TypeMessage]
		if t == wire.TypeEphemeral {
			skip = 5
		}
		if s := c.seat(be.Uint32(msg[1:])); s != nil && len(msg) >= skip {
			l.state(c, s, msg[skip:])
		}
	case wire.TypeAck, wire.TypePong, wire.TypeStore:
	case wire.TypeWelcome:
		p.join(l, c)
	case wire.TypeJoined:
		f, err := wire.DecodeJoined(msg)
		if err != nil || f.Ref < 1 || int(f.Ref) > len(c.seats) {
			return fmt.Errorf("joined: %w", errors.Join(err, errors.New("unknown ref")))
		}
		s := &c.seats[f.Ref-1]
		s.handle, s.next = uint32(f.Handle), uint64(f.Attach.Applied)
		l.joined(c, s)
	case wire.TypeAttached:
		f, err := wire.DecodeAttached(msg)
		if s := c.seat(uint32(f.Handle)); err == nil && s != nil {
			s.next = uint64(f.Attach.Applied)
		}
		return err
	case wire.TypeExpect:
		f, err := wire.DecodeExpect(msg)
		if s := c.seat(uint32(f.Handle)); err == nil && s != nil {
			s.next = uint64(f.Next) - 1
			l.stats.Expected++
		}
		return err
	case wire.TypeError:
		f, err := wire.DecodeError(msg)
		if err == nil && f.Ref != 0 {
			return p.refused(l, c, f)
		}
		return err
	}
	return nil
}

// join asks for the rooms of all seats.
func (p Limpet) join(l *Loop, c *Client) {
	b := l.scratch[:0]
	for i := range c.seats {
		b = p.appendJoin(b, c, i)
	}
	l.send(c, b)
}

func (p Limpet) appendJoin(b []byte, c *Client, seat int) []byte {
	f := wire.Join{Ref: uint32(seat + 1), Mode: wire.ModeJoinOrCreate, Kind: p.Kind, Name: fmt.Sprintf("r%d", c.seats[seat].Room)}
	return frame(b, f.Append(nil))
}

// refused asks again where that may help: at once, as the clients' number is
// what limits them.
func (p Limpet) refused(l *Loop, c *Client, f wire.ErrorFrame) error {
	l.stats.Refused++
	if f.Error.Code < 200 || f.Error.Code > 299 || int(f.Ref) > len(c.seats) {
		return fmt.Errorf("a join was refused: %s: %s", f.Error.Code, f.Text)
	}
	l.send(c, p.appendJoin(l.scratch[:0], c, int(f.Ref)-1))
	return nil
}

func upgrade(b []byte, path, protocol string) []byte {
	b = append(b, "GET "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"...)
	if protocol != "" {
		b = append(append(append(b, "Sec-WebSocket-Protocol: "...), protocol...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func upgraded(c *Client, p []byte) (int, error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101")) {
		return 0, fmt.Errorf("handshake answered %.40q", p)
	}
	c.upgraded = true
	return end + 4, nil
}

// key masks all frames: servers unmask whatever it is.
var key = [4]byte{0x5a, 0xc3, 0x3c, 0xa5}

// header begins a client's binary frame of n bytes.
func header(b []byte, n int) []byte {
	switch {
	case n < 126:
		b = append(b, 0x82, 0x80|byte(n))
	default:
		b = be.AppendUint16(append(b, 0x82, 0x80|126), uint16(n))
	}
	return append(b, key[:]...)
}

func maskInPlace(p []byte) {
	for i := range p {
		p[i] ^= key[i&3]
	}
}

func mask(b, payload []byte) []byte {
	at := len(b)
	b = append(b, payload...)
	maskInPlace(b[at:])
	return b
}

func frame(b, payload []byte) []byte { return mask(header(b, len(payload)), payload) }

// message finds the payload of a server's frame, and the frame's length: 0
// where it is not whole.
func message(p []byte) (msg []byte, size int, err error) {
	if len(p) < 2 {
		return nil, 0, nil
	}
	n, head := int(p[1]), 2
	switch {
	case n == 126 && len(p) >= 4:
		n, head = int(be.Uint16(p[2:])), 4
	case n == 127 && len(p) >= 10:
		n, head = int(be.Uint64(p[2:])), 10
	case n >= 126:
		return nil, 0, nil
	}
	if len(p) < head+n {
		return nil, 0, nil
	}
	if p[0]&0x0f == 8 {
		return nil, head + n, fmt.Errorf("server closed: %q", p[head:head+n])
	}
	return p[head : head+n], head + n, nil
}
