package actor

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Encode returns a checkpoint's body and what it covers. An error means that
// the handler's state can't be encoded; the room goes on.
func (r *Room) Encode() (body []byte, c Cut, err error) {
	c, err = r.EncodeFor(func(b []byte, _ Cut) error {
		body = slices.Clone(b)
		return nil
	})
	return body, c, err
}

// EncodeFor is Encode for one who needs the body until use returns, and no
// longer: it is in memory that rooms share. An error of use is returned, and
// the room is as it was before.
func (r *Room) EncodeFor(use func(body []byte, c Cut) error) (c Cut, err error) {
	if r.failure != nil {
		return Cut{}, r.failure
	}
	b := bodies.Get().(*bytes.Buffer)
	defer giveBack(b)
	version := r.cfg.Kind.StateVersion
	if r.cfg.Writes != nil {
		version = r.cfg.Writes()
	}
	if err := r.appendBody(b, version); err != nil {
		return Cut{}, err
	}
	c = r.Mark()
	c.version = version
	if err := use(b.Bytes(), c); err != nil {
		return Cut{}, err
	}
	r.dirty, r.fresh, r.urgent = false, false, false
	r.digest.Reset()
	return c, nil
}

// bodies are buffers for checkpoints on their way to where they are kept.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxBodyBuffer bounds what one of them keeps.
const maxBodyBuffer = 1 << 20

func giveBack(b *bytes.Buffer) {
	if b.Cap() <= maxBodyBuffer {
		b.Reset()
		bodies.Put(b)
	}
}

// contents are for one encoding each.
var contents = sync.Pool{New: func() any { return &saved{Members: []savedMember{}} }} // not nil: it is written as an array

// maxContents bounds the members of which one of them keeps the memory.
const maxContents = 4096

func (s *saved) giveBack() {
	if cap(s.Members) <= maxContents {
		clear(s.Members)
		*s = saved{Members: s.Members[:0], Rand: s.Rand[:0]}
		contents.Put(s)
	}
}

// A body is a map of less than 24 entries: its first byte counts them.
const (
	mapOf    = 0xa0
	mapMost  = 23
	stateKey = 13 // of saved.State
)

// appendBody encodes saved with the state as its last entry, which is most of a
// body and is encoded in its place.
func (r *Room) appendBody(b *bytes.Buffer, version uint32) error {
	s := contents.Get().(*saved)
	r.fill(s)
	err := encMode.MarshalToBuffer(s, b)
	s.giveBack()
	if err != nil {
		return fmt.Errorf("encode room %s: %w", r.cfg.Room, err)
	}
	at := b.Len()
	b.WriteByte(stateKey)
	if err := r.appendState(b, version); err != nil {
		return fmt.Errorf("encode state of room %s: %w", r.cfg.Room, err)
	}
	if r.failure != nil {
		return r.failure
	}
	if b.Len() == at+1 { // it has none
		b.Truncate(at)
		return nil
	}
	if n := &b.Bytes()[0]; *n >= mapOf && *n < mapOf+mapMost {
		*n++
		return nil
	}
	return errors.New("encode room: more entries than a short map counts")
}

// appendState encodes the state in a version, watched like any other call of the
// room's code.
func (r *Room) appendState(b *bytes.Buffer, version uint32) (err error) {
	r.enter(nil, 0)
	defer r.guard()
	if version != r.cfg.Kind.StateVersion {
		old, err := r.encodeOlder(version)
		b.Write(old)
		return err
	}
	if r.state == nil {
		return nil
	}
	defer catch(&err)
	return encMode.MarshalToBuffer(r.state, b)
}

// rawState is a state as CBOR. One that was decoded is in the memory of what it
// was decoded from.
type rawState []byte

// MarshalCBOR is cbor.Marshaler's.
func (s rawState) MarshalCBOR() ([]byte, error) { return s, nil }

// UnmarshalCBOR is cbor.Unmarshaler's.
func (s *rawState) UnmarshalCBOR(b []byte) error {
	*s = b
	return nil
}
