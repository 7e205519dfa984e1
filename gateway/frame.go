package gateway

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/limpet-games/limpet/gateway/internal/ws"
	"github.com/limpet-games/limpet/wire"
)

// class tells how a frame may be treated while it waits for its socket.
type class uint8

const (
	kept      class = iota // sent, in order; nothing passes it
	latest                 // a newer one of its key takes its place
	ephemeral              // dropped when there is little room
)

// slot is what a frame of class latest replaces the older one of.
type slot struct {
	handle wire.Handle
	typ    wire.Type
	key    uint32
}

// frame is a WebSocket frame as sockets carry it. Those who hold it count as
// its references; the last to release it gives its buffer back. Its bytes don't
// change while it has more than one.
type frame struct {
	refs  atomic.Int32
	class class
	slot  slot // handle: of every frame that has one
	b     []byte
}

// Buffers of these sizes are kept; longer ones are the collector's.
var (
	frameSizes = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 64<<10 + 64}
	framePools [len(frameSizes)]sync.Pool
)

// takeFrame is an empty frame with room for a payload of n bytes, held by the
// caller.
func takeFrame(n int) *frame {
	f := bufferFor(n + ws.MaxHeader)
	f.b = f.b[:0]
	f.class, f.slot = kept, slot{}
	f.refs.Store(1)
	return f
}

func bufferFor(n int) *frame {
	for i, size := range frameSizes {
		if n <= size {
			if f, ok := framePools[i].Get().(*frame); ok {
				return f
			}
			return &frame{b: make([]byte, 0, size)}
		}
	}
	return &frame{b: make([]byte, 0, n)}
}

// frameOf wraps a client frame, as a host sent it, for sockets.
func frameOf(msg []byte) *frame {
	f := takeFrame(len(msg))
	f.b = append(ws.AppendHeader(f.b, ws.Binary, len(msg)), msg...)
	f.classify(msg)
	return f
}

// encoder is a frame that encodes itself.
type encoder interface{ Append([]byte) []byte }

// encode makes a frame of what this gateway itself has to say.
func encode(e encoder) *frame {
	b := encodings.Get().(*[]byte)
	msg := e.Append((*b)[:0])
	f := frameOf(msg)
	if cap(msg) == cap(*b) { // it was long enough
		encodings.Put(b)
	}
	return f
}

var encodings = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// ackFrame is encode for the one that is sent all the time.
func ackFrame(a wire.Ack) *frame {
	const n = 1 + 4 + 8 + 8 + 8
	f := takeFrame(n)
	f.b = a.Append(ws.AppendHeader(f.b, ws.Binary, n))
	f.class, f.slot = latest, slot{handle: a.Handle, typ: wire.TypeAck}
	return f
}

func (f *frame) classify(msg []byte) {
	if len(msg) < 5 {
		return
	}
	t := wire.Type(msg[0])
	switch t {
	case wire.TypeEphemeral:
		f.class, f.slot.handle = ephemeral, handleIn(msg)
	case wire.TypeLatest:
		if len(msg) >= 9 {
			f.class = latest
			f.slot = slot{handle: handleIn(msg), typ: t, key: binary.BigEndian.Uint32(msg[5:])}
		}
	case wire.TypeError, wire.TypeJoined: // a reference comes first
		if len(msg) >= 9 {
			f.slot.handle = handleIn(msg[4:])
		}
	default:
		f.slot.handle = handleIn(msg)
	}
}

func handleIn(msg []byte) wire.Handle { return wire.Handle(binary.BigEndian.Uint32(msg[1:])) }

// seqIn is the number of a reliable message, false for any other frame.
func seqIn(msg []byte) (wire.Seq, bool) {
	if len(msg) < 13 || wire.Type(msg[0]) != wire.TypeMessage {
		return 0, false
	}
	return wire.Seq(binary.BigEndian.Uint64(msg[5:])), true
}

func (f *frame) hold() { f.refs.Add(1) }

func (f *frame) release() {
	if f.refs.Add(-1) != 0 {
		return
	}
	for i, size := range frameSizes {
		if cap(f.b) == size {
			framePools[i].Put(f)
			return // it is somebody else's now
		}
	}
}

// typ is the client frame's type, 0 for a control frame.
func (f *frame) typ() wire.Type {
	if len(f.b) < 2 || ws.Opcode(f.b[0]&0x0f) != ws.Binary {
		return 0
	}
	switch at := f.b[1]; {
	case at == 126 && len(f.b) > 4:
		return wire.Type(f.b[4])
	case at == 127 && len(f.b) > 10:
		return wire.Type(f.b[10])
	case at < 126 && len(f.b) > 2:
		return wire.Type(f.b[2])
	}
	return 0
}
