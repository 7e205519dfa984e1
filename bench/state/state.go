// Package state is what benchmark clients and rooms say to each other, the
// same in Limpet and in every baseline:
//
//	input: u32 slot | u32 number | u64 sent at | padding to 32 bytes
//	state: u64 tick began at | u64 sequence | u32 echoes | echoes x (u32 slot | u32 number | u64 sent at) | padding
//
// with big-endian integers and times in nanoseconds of the machine's clock,
// which client and room share.
package state

import "encoding/binary"

var be = binary.BigEndian

const (
	InputSize = 32
	headSize  = 8 + 8 + 4
	echoSize  = 4 + 4 + 8
	MaxEchoes = 14 // of one state
	MinSize   = headSize
)

// Echo is one input as a state tells of it.
type Echo struct {
	Slot, Number uint32
	Sent         int64
}

// PutInput encodes an input into the first InputSize bytes of p.
func PutInput(p []byte, e Echo) {
	be.PutUint32(p, e.Slot)
	be.PutUint32(p[4:], e.Number)
	be.PutUint64(p[8:], uint64(e.Sent))
}

// Input decodes an input; false: it is too short.
func Input(p []byte) (Echo, bool) {
	if len(p) < echoSize {
		return Echo{}, false
	}
	return Echo{be.Uint32(p), be.Uint32(p[4:]), int64(be.Uint64(p[8:]))}, true
}

// Head decodes a state's beginning; false: the state is malformed.
func Head(p []byte) (began int64, seq uint64, echoes int, ok bool) {
	if len(p) < headSize {
		return 0, 0, 0, false
	}
	echoes = int(be.Uint32(p[16:]))
	if echoes > (len(p)-headSize)/echoSize {
		return 0, 0, 0, false
	}
	return int64(be.Uint64(p)), be.Uint64(p[8:]), echoes, true
}

// EchoAt is the i-th echo of a state that Head has accepted.
func EchoAt(p []byte, i int) Echo {
	e, _ := Input(p[headSize+i*echoSize:])
	return e
}

// Room gathers inputs and makes states. It is used by one goroutine.
type Room struct {
	seq   uint64
	fresh []Echo
	buf   []byte
}

// NewRoom makes states of size bytes.
func NewRoom(size int) *Room { return &Room{buf: make([]byte, max(size, MinSize))} }

// Input notes an input for the next state.
func (r *Room) Input(p []byte) {
	if e, ok := Input(p); ok {
		r.fresh = append(r.fresh, e)
	}
}

// Next makes the state of a tick that began at now. It is valid until the next
// call. Which of many inputs it tells of rotates, so that none is favoured for
// having come early.
func (r *Room) Next(now int64) []byte {
	r.seq++
	be.PutUint64(r.buf, uint64(now))
	be.PutUint64(r.buf[8:], r.seq)
	n := min(len(r.fresh), MaxEchoes, (len(r.buf)-headSize)/echoSize)
	be.PutUint32(r.buf[16:], uint32(n))
	for i := range n {
		e := r.fresh[(int(r.seq)*MaxEchoes+i)%len(r.fresh)]
		PutInput(r.buf[headSize+i*echoSize:], e)
	}
	r.fresh = r.fresh[:0]
	return r.buf
}

// Seq is the number of the last state.
func (r *Room) Seq() uint64 { return r.seq }

// Continue has the next state follow number seq.
func (r *Room) Continue(seq uint64) { r.seq = seq }
