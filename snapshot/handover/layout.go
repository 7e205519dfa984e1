// Package handover keeps rooms in shared memory while one process of a room
// host gives way to the next, as Facebook restarts its databases: memory's
// lifetime is not the process's.
//
// A Writer puts rooms into a file in shared memory, one block each, from as
// many goroutines as the caller likes, and sets the file's valid mark last. A
// Reader clears the mark before it reads anything, so that a file is used at
// most once, and checks everything it reads: what does not fit is answered with
// an error for that room alone, whose checkpoint is in the store.
//
// Whether a room that was read may run is for the store to say: only a claim
// that still stands, by its epoch and nonce, may be handed on.
package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// The file, integers big-endian:
//
//	page 0: 8B magic | u32 layout | 36B boot id of the machine | u64 until, Unix ms |
//	        u64 where the index is | u64 its size | u64 xxhash64 of it |
//	        str8 node | str8 build | str8 lease | str8 mark lease | u64 xxhash64 of all before
//	        ... at markAt: 8B valid mark
//	blocks, each at the start of a page: a room's body, then its baggage
//	index:  u32 rooms | that many entries
//
// An entry is
//
//	str8 room | u64 incarnation | u64 epoch | u64 nonce | u64 saves | u64 journal |
//	u32 state version | u8 flags | u64 where its block is | u32 size of the body | u32 of the baggage |
//	u64 xxhash64 of the entry before it and of the block
const (
	layout    = 1
	page      = 4096
	markAt    = page - 8
	bootBytes = 36

	flagDirty = 1 << 0 // something in it is not in the store
	flagStore = 1 << 1 // no block: the room is to be taken from the store

	maxIndex = 256 << 20
	maxBlock = 1 << 30
	maxName  = 255
)

var (
	magic = [8]byte{'L', 'M', 'P', 'T', 'R', 'O', 'O', 'M'}
	valid = [8]byte{'V', 'A', 'L', 'I', 'D', 1, 2, 3}
)

// Why a file, or a room in it, is not used. Each is wrapped in an error that
// says more.
var (
	ErrNone     = errors.New("no rooms in shared memory")
	ErrUnmarked = errors.New("rooms in shared memory are not marked as valid")
	ErrLayout   = errors.New("rooms in shared memory have another layout")
	ErrDamaged  = errors.New("rooms in shared memory are damaged")
	ErrStale    = errors.New("rooms in shared memory are of before the machine started")
)

// Header says whose rooms a file holds.
type Header struct {
	Node  string          // NAME#BOOT
	Build string          // of the process that wrote it
	Until time.Time       // when others may take the rooms over
	Lease snapshot.Holder // that the rooms' claims name
	// Mark is the lease that says in the store that the process restarts; "":
	// there is none.
	Mark snapshot.Holder
}

// Room is one room of a file.
type Room struct {
	Claim        snapshot.Claim
	Saves        uint64 // snapshot.SaveRequest.Seq of its last checkpoint
	Journal      uint64 // the last journal entry that its state covers
	StateVersion uint32
	Dirty        bool // something in it is not in the store
	InStore      bool // it has no block here: its state is in the store

	at            int64
	body, baggage int
	sum           uint64
}

// Size is how many bytes of state the room has in the file.
func (r *Room) Size() int { return r.body + r.baggage }

func (h *Header) encode(boot string, indexAt, indexSize int64, indexSum uint64) ([]byte, error) {
	for _, s := range []string{h.Node, h.Build, string(h.Lease), string(h.Mark)} {
		if len(s) > maxName {
			return nil, fmt.Errorf("%.20q... has %d bytes: want at most %d", s, len(s), maxName)
		}
	}
	if len(boot) != bootBytes {
		return nil, fmt.Errorf("boot id of %d bytes: want %d", len(boot), bootBytes)
	}
	b := append(make([]byte, 0, page), magic[:]...)
	b = binary.BigEndian.AppendUint32(b, layout)
	b = append(b, boot...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Until.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(indexAt))
	b = binary.BigEndian.AppendUint64(b, uint64(indexSize))
	b = binary.BigEndian.AppendUint64(b, indexSum)
	for _, s := range []string{h.Node, h.Build, string(h.Lease), string(h.Mark)} {
		b = wire.AppendStr8(b, s)
	}
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b)), nil
}

// index is where a file's index is.
type index struct {
	at, size int64
	sum      uint64
}

func decodeHeader(b []byte, boot string) (h Header, x index, err error) {
	r := wire.NewReader(b)
	if m := r.Fixed("magic", len(magic)); string(m) != string(magic[:]) {
		return h, x, fmt.Errorf("%w: the file starts with %x", ErrDamaged, m)
	}
	if v := r.U32("layout"); v != layout {
		return h, x, fmt.Errorf("%w: %d, this build's is %d", ErrLayout, v, layout)
	}
	wrote := string(r.Fixed("boot id", bootBytes))
	h.Until = time.UnixMilli(int64(r.U64("until")))
	x.at, x.size, x.sum = int64(r.U64("index")), int64(r.U64("index size")), r.U64("index sum")
	h.Node, h.Build = r.Str8("node", maxName), r.Str8("build", maxName)
	h.Lease, h.Mark = snapshot.Holder(r.Str8("lease", maxName)), snapshot.Holder(r.Str8("mark", maxName))
	want := xxhash.Sum64(b[:len(b)-r.Len()])
	sum := r.U64("sum")
	switch {
	case r.Err() != nil:
		return h, x, fmt.Errorf("%w: header: %w", ErrDamaged, r.Err())
	case sum != want:
		return h, x, fmt.Errorf("%w: header's checksum is %016x, want %016x", ErrDamaged, sum, want)
	case x.at < page || x.size < 4 || x.size > maxIndex:
		return h, x, fmt.Errorf("%w: index of %d bytes at %d", ErrDamaged, x.size, x.at)
	case wrote != boot:
		return h, x, fmt.Errorf("%w (boot %s)", ErrStale, wrote)
	}
	return h, x, nil
}

// appendEntry is the room's entry up to its checksum.
func appendEntry(b []byte, r *Room) []byte {
	var flags uint8
	if r.Dirty {
		flags |= flagDirty
	}
	if r.InStore {
		flags |= flagStore
	}
	b = wire.AppendStr8(b, string(r.Claim.Room))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Claim.Incarnation))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Claim.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Claim.Nonce))
	b = binary.BigEndian.AppendUint64(b, r.Saves)
	b = binary.BigEndian.AppendUint64(b, r.Journal)
	b = binary.BigEndian.AppendUint32(b, r.StateVersion)
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	b = binary.BigEndian.AppendUint32(b, uint32(r.body))
	return binary.BigEndian.AppendUint32(b, uint32(r.baggage))
}

// checksum covers a room's entry and its block.
func (r *Room) checksum(block ...[]byte) uint64 {
	d := xxhash.New()
	d.Write(appendEntry(nil, r))
	for _, b := range block {
		d.Write(b)
	}
	return d.Sum64()
}

func decodeIndex(b []byte, end int64) ([]Room, error) {
	r := wire.NewReader(b)
	n := int(r.U32("rooms"))
	if n > len(b)/50 { // an entry's least size
		return nil, fmt.Errorf("%w: index of %d rooms in %d bytes", ErrDamaged, n, len(b))
	}
	rooms := make([]Room, n)
	for i := range rooms {
		if err := rooms[i].decode(&r, end); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrDamaged, i, err)
		}
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("%w: %d bytes after the index", ErrDamaged, r.Len())
	}
	return rooms, nil
}

func (r *Room) decode(b *wire.Reader, end int64) error {
	r.Claim.Room = wire.RoomID(b.Str8("room", maxName))
	r.Claim.Incarnation = wire.Incarnation(b.U64("incarnation"))
	r.Claim.Epoch = wire.Epoch(b.U64("epoch"))
	r.Claim.Nonce = snapshot.Nonce(b.U64("nonce"))
	r.Saves, r.Journal, r.StateVersion = b.U64("saves"), b.U64("journal"), b.U32("state version")
	flags := b.U8("flags")
	r.Dirty, r.InStore = flags&flagDirty != 0, flags&flagStore != 0
	r.at = int64(b.U64("block"))
	r.body, r.baggage = int(b.U32("body")), int(b.U32("baggage"))
	r.sum = b.U64("sum")
	if b.Err() != nil {
		return b.Err()
	}
	_, err := wire.ParseRoom(string(r.Claim.Room))
	switch size := int64(r.Size()); {
	case err != nil:
		return err
	case flags&^(flagDirty|flagStore) != 0:
		return fmt.Errorf("unknown flags %#x", flags)
	case size > maxBlock || !r.InStore && (r.at < page || r.at > end-size):
		return fmt.Errorf("block of %d bytes at %d in a file of %d", size, r.at, end)
	}
	return nil
}
