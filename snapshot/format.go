package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/wire"
)

// A checkpoint as it stands in a store, integers big-endian:
//
//	4B magic "LMPT" | u8 format version | u8 flags | u32 state version |
//	u64 incarnation | u64 epoch | u64 save seq | str8 kind |
//	u32 size of the state | u32 size of the body |
//	u64 xxhash64 of all that stands before it and of the body | body
//
// The body is the state, or its zstd frame where flagCompressed is set.
const (
	formatVersion  = 1
	flagCompressed = 1 << 0
	fixedHeader    = 4 + 1 + 1 + 4 + 8 + 8 + 8 + 1 + 4 + 4 + 8
)

var magic = [4]byte{'L', 'M', 'P', 'T'}

// MaxState bounds the state that Encode takes and Decode gives, in bytes.
const MaxState = 64 << 20

// Errors of Decode. Each is wrapped in an error that says more.
var (
	ErrNotCheckpoint = errors.New("not a checkpoint")
	ErrNewerFormat   = errors.New("checkpoint of a newer format")
	ErrTruncated     = errors.New("checkpoint is truncated")
	ErrDamaged       = errors.New("checkpoint is damaged")
	ErrOtherKind     = errors.New("checkpoint of another kind")
	ErrStateTooBig   = errors.New("checkpoint's state is too big")
)

// Header says what a checkpoint is of.
type Header struct {
	Kind         string // of the room, 1 to wire.MaxKindLen bytes
	StateVersion uint32 // the kind's own version of its state
	Incarnation  wire.Incarnation
	Epoch        wire.Epoch
	Seq          uint64 // SaveRequest.Seq
}

// Encode wraps a room's state for a store; it keeps none of state. State of
// 512 bytes and more is compressed where that saves a tenth. Safe for
// concurrent use.
func Encode(h Header, state []byte) ([]byte, error) { return AppendEncoded(nil, h, state) }

// AppendEncoded is Encode into the memory after b, which grows where it is too
// small.
func AppendEncoded(b []byte, h Header, state []byte) ([]byte, error) {
	if err := wire.CheckKind(h.Kind); err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	if len(state) > MaxState {
		return nil, fmt.Errorf("encode checkpoint: %w: %d bytes, at most %d", ErrStateTooBig, len(state), MaxState)
	}
	at := len(b)
	b = append(b, magic[:]...)
	b = append(b, formatVersion, 0)
	b = binary.BigEndian.AppendUint32(b, h.StateVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Incarnation))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Epoch))
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = wire.AppendStr8(b, h.Kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(state)))
	sizes := len(b)
	b = append(b, make([]byte, 4+8)...) // of the body and the checksum, known below
	body := len(b)
	b, flags := appendCompressed(b, state)
	b[at+5] = flags
	binary.BigEndian.PutUint32(b[sizes:], uint32(len(b)-body))
	binary.BigEndian.PutUint64(b[sizes+4:], checksum(b[at:sizes+4], b[body:]))
	return b, nil
}

// Decode unwraps a checkpoint of the named kind whose state is at most limit
// bytes (0: MaxState); it never allocates more than that. The state may alias
// data. Safe for concurrent use.
func Decode(data []byte, kind string, limit int) (Header, []byte, error) {
	e, err := open(data)
	if err != nil {
		return Header{}, nil, fmt.Errorf("decode checkpoint: %w", err)
	}
	if e.Kind != kind {
		return e.Header, nil, fmt.Errorf("decode checkpoint: %w: want %q, have %q", ErrOtherKind, kind, e.Kind)
	}
	if limit <= 0 || limit > MaxState {
		limit = MaxState
	}
	if e.size > limit {
		return e.Header, nil, fmt.Errorf("decode checkpoint: %w: %d bytes, at most %d", ErrStateTooBig, e.size, limit)
	}
	state, err := e.state()
	if err != nil {
		return e.Header, nil, fmt.Errorf("decode checkpoint: %w", err)
	}
	return e.Header, state, nil
}

// ReadHeader checks a checkpoint of any kind and says what it is of, without
// decompressing it.
func ReadHeader(data []byte) (Header, error) {
	e, err := open(data)
	if err != nil {
		return Header{}, fmt.Errorf("read checkpoint header: %w", err)
	}
	return e.Header, nil
}

type envelope struct {
	Header
	flags uint8
	size  int // of the state
	body  []byte
}

// open takes an envelope apart and checks everything but the kind. The version
// is looked at ahead of the checksum: another version may sum up otherwise.
func open(data []byte) (envelope, error) {
	if len(data) < len(magic)+1 {
		return envelope{}, fmt.Errorf("%w: %d bytes", ErrTruncated, len(data))
	}
	if isSealed(data) {
		return envelope{}, fmt.Errorf("%w: this program was given none", ErrNoKey)
	}
	if [4]byte(data[:4]) != magic {
		return envelope{}, fmt.Errorf("%w: it starts with %x, want %x", ErrNotCheckpoint, data[:4], magic)
	}
	if v := data[4]; v > formatVersion {
		return envelope{}, fmt.Errorf("%w: version %d, this build reads up to %d", ErrNewerFormat, v, formatVersion)
	} else if v == 0 {
		return envelope{}, fmt.Errorf("%w: version 0", ErrDamaged)
	}
	e, sum, r := fields(data)
	switch err := r.Err(); {
	case errors.Is(err, wire.ErrShort):
		return envelope{}, fmt.Errorf("%w: %w", ErrTruncated, err)
	case err != nil:
		return envelope{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if r.Len() != 0 {
		return envelope{}, fmt.Errorf("%w: %d bytes too many", ErrDamaged, r.Len())
	}
	if have := checksum(data[:len(data)-len(e.body)-8], e.body); have != sum {
		return envelope{}, fmt.Errorf("%w: checksum %016x, want %016x", ErrDamaged, have, sum)
	}
	if e.flags&^flagCompressed != 0 {
		return envelope{}, fmt.Errorf("%w: unknown flags %#x", ErrDamaged, e.flags)
	}
	return e, nil
}

func fields(data []byte) (envelope, uint64, wire.Reader) {
	r := wire.NewReader(data[5:])
	var e envelope
	e.flags = r.U8("flags")
	e.StateVersion = r.U32("state version")
	e.Incarnation = wire.Incarnation(r.U64("incarnation"))
	e.Epoch = wire.Epoch(r.U64("epoch"))
	e.Seq = r.U64("seq")
	e.Kind = r.Str8("kind", 255)
	size, n := r.U32("state size"), r.U32("body size")
	if max(size, n) > MaxState {
		r.Fail(fmt.Errorf("sizes of %d and %d bytes: want at most %d", size, n, MaxState))
		return e, 0, r
	}
	sum := r.U64("checksum")
	e.size, e.body = int(size), r.Fixed("body", int(n))
	return e, sum, r
}

func (e *envelope) state() ([]byte, error) {
	if e.flags&flagCompressed == 0 {
		if len(e.body) != e.size {
			return nil, fmt.Errorf("%w: state of %d bytes, want %d", ErrDamaged, len(e.body), e.size)
		}
		return e.body, nil
	}
	return decompress(e.body, e.size)
}

func checksum(header, body []byte) uint64 {
	d := xxhash.New()
	d.Write(header)
	d.Write(body)
	return d.Sum64()
}
