package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort is wrapped by every decoding error that ran out of bytes.
var ErrShort = errors.New("message ends inside a field")

// Reader takes fields from a message. The first failure sticks: read all the
// fields, then ask Err once. Slices it returns alias the message.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads from b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first failure, if any.
func (r *Reader) Err() error { return r.err }

// Fail records err, if it is one, unless an earlier failure stands.
func (r *Reader) Fail(err error) {
	if err == nil {
		return
	}
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *Reader) take(n int, what string) []byte {
	if r.err != nil || n > len(r.b) {
		r.Fail(fmt.Errorf("%s: %w", what, ErrShort))
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// U8 takes one byte.
func (r *Reader) U8(what string) uint8 {
	if p := r.take(1, what); p != nil {
		return p[0]
	}
	return 0
}

// U16 takes two bytes.
func (r *Reader) U16(what string) uint16 {
	if p := r.take(2, what); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// U32 takes four bytes.
func (r *Reader) U32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// U64 takes eight bytes.
func (r *Reader) U64(what string) uint64 {
	if p := r.take(8, what); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Bytes8 takes a length byte and that many bytes, at most limit.
func (r *Reader) Bytes8(what string, limit int) []byte {
	return r.bounded(int(r.U8(what)), what, limit)
}

// Bytes16 takes a two-byte length and that many bytes, at most limit.
func (r *Reader) Bytes16(what string, limit int) []byte {
	return r.bounded(int(r.U16(what)), what, limit)
}

// Bytes32 takes a four-byte length and that many bytes, at most limit.
func (r *Reader) Bytes32(what string, limit int) []byte {
	return r.bounded(int(r.U32(what)), what, limit)
}

func (r *Reader) bounded(n int, what string, limit int) []byte {
	if r.err == nil && n > limit {
		r.Fail(fmt.Errorf("%s of %d bytes: want at most %d", what, n, limit))
	}
	return r.take(n, what)
}

// Str8 is Bytes8 as a string.
func (r *Reader) Str8(what string, limit int) string { return string(r.Bytes8(what, limit)) }

// Str16 is Bytes16 as a string.
func (r *Reader) Str16(what string, limit int) string { return string(r.Bytes16(what, limit)) }

// Rest takes what is left, at most limit.
func (r *Reader) Rest(what string, limit int) []byte {
	return r.bounded(len(r.b), what, limit)
}

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// AppendStr8 appends a length byte and s, cut at 255 bytes.
func AppendStr8(b []byte, s string) []byte {
	if len(s) > 255 {
		s = s[:255]
	}
	return append(append(b, byte(len(s))), s...)
}

// AppendStr16 appends a two-byte length and s, cut at 65535 bytes.
func AppendStr16(b []byte, s string) []byte {
	if len(s) > 65535 {
		s = s[:65535]
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// AppendBytes16 is AppendStr16 for bytes.
func AppendBytes16(b, p []byte) []byte {
	if len(p) > 65535 {
		p = p[:65535]
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
}

// Fixed takes n bytes.
func (r *Reader) Fixed(what string, n int) []byte { return r.take(n, what) }
