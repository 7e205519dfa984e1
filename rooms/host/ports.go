package host

import (
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// conn is what the host needs of a link; *link.Link is one. Send never blocks
// and copies; its error means that the message will not arrive.
type conn interface {
	Peer() string
	Send(kind uint8, head, tail []byte) error
	Close(cause error)
}

// port is one handle on one link, bound to one copy of a room.
type port struct {
	room   *room
	link   conn
	handle wire.Handle

	down bool // nothing reaches the gateway any more; owned by the room's loop
}

var _ actor.Port = (*port)(nil)

// Send adds a message to what leaves when the batch is done.
func (p *port) Send(kind peer.Kind, head, tail []byte) {
	if !p.down {
		p.room.out.add(p, kind, head, tail, p.room.actor.Depends())
	}
}

// Handle is the gateway's name for the room.
func (p *port) Handle() wire.Handle { return p.handle }
