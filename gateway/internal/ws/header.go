// Package ws is the server's side of the WebSocket framing (RFC 6455) for
// connections whose handshake is done: a strict reader that keeps no buffer
// while its connection is quiet, and headers for frames to be written.
//
// Only binary messages are taken, without extensions.
package ws

import (
	"encoding/binary"
	"fmt"
)

// Opcode tells what a frame is.
type Opcode uint8

// The opcodes of RFC 6455, section 5.2.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

func (o Opcode) control() bool { return o >= Close }

// MaxControl bounds a control frame's payload, in bytes.
const MaxControl = 125

// MaxHeader is the length of the longest header that AppendHeader writes.
const MaxHeader = 10

const (
	bitFin  = 0x80
	bitsRsv = 0x70
	bitMask = 0x80
	len16   = 126
	len64   = 127
)

// AppendHeader appends the header of an unfragmented, unmasked frame with a
// payload of n bytes.
func AppendHeader(b []byte, op Opcode, n int) []byte {
	b = append(b, bitFin|byte(op))
	switch {
	case n < len16:
		return append(b, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, len16), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, len64), uint64(n))
	}
}

// header is a frame's header as a client sent it.
type header struct {
	op  Opcode
	fin bool
	n   int
	key [4]byte
}

// start checks a header's first two bytes and returns its whole length.
func start(b0, b1 byte) (size int, err error) {
	op := Opcode(b0 & 0x0f)
	n := b1 &^ bitMask
	switch {
	case b0&bitsRsv != 0:
		return 0, protocol("reserved bits are set")
	case op > Binary && op < Close || op > Pong:
		return 0, protocol("opcode %d is not defined", op)
	case b1&bitMask == 0:
		return 0, protocol("frame of a client is not masked")
	case op == Text:
		return 0, &Error{Code: StatusUnsupported, Text: "only binary messages are taken"}
	case op.control() && b0&bitFin == 0:
		return 0, protocol("control frame is fragmented")
	case op.control() && n > MaxControl:
		return 0, protocol("control frame is longer than %d bytes", MaxControl)
	case n == len16:
		return 8, nil
	case n == len64:
		return 14, nil
	}
	return 6, nil
}

// parse takes apart a whole header that start has checked.
func parse(b []byte) (header, error) {
	h := header{op: Opcode(b[0] & 0x0f), fin: b[0]&bitFin != 0}
	copy(h.key[:], b[len(b)-4:])
	switch n := b[1] &^ bitMask; n {
	case len16:
		h.n = int(binary.BigEndian.Uint16(b[2:]))
		if h.n < len16 {
			return h, protocol("length %d is not in its shortest form", h.n)
		}
	case len64:
		v := binary.BigEndian.Uint64(b[2:])
		if v>>63 != 0 {
			return h, protocol("length has its highest bit set")
		}
		if v <= 0xffff {
			return h, protocol("length %d is not in its shortest form", v)
		}
		h.n = int(v)
	default:
		h.n = int(n)
	}
	return h, nil
}

func protocol(format string, args ...any) error {
	return &Error{Code: StatusProtocol, Text: fmt.Sprintf(format, args...)}
}
