package ledger

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// BulkBytes is the state of a room of BulkKind, which does not compress.
const BulkBytes = 256 << 10

// BulkKind makes rooms that hold many bytes and do nothing.
func BulkKind(name string) rooms.Kind {
	return rooms.Kind{Name: name, New: func() rooms.Handler { return &bulk{} }, Durability: rooms.Checkpoint(time.Second), Grace: 10 * time.Minute, EmptyAfter: time.Hour}
}

type bulk struct{ state struct{ Bytes []byte } }

func (b *bulk) State() any { return &b.state }

func (b *bulk) Start(r rooms.Room, why rooms.Start) {
	if why.Why != rooms.Created {
		return
	}
	b.state.Bytes = make([]byte, BulkBytes)
	for i := range b.state.Bytes {
		b.state.Bytes[i] = byte(r.Rand().Uint32())
	}
}

func (b *bulk) Join(rooms.Room, rooms.Member, []byte) error { return nil }

func (b *bulk) Input(rooms.Room, rooms.Member, []byte) {}

func (b *bulk) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
