package host

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/wire/peer"
)

// outbox gathers what a room says during a batch of events. It leaves through
// emit alone, so that one place decides whether the room may speak.
type outbox struct {
	items []outItem
	bytes []byte
}

type outItem struct {
	port *port
	kind peer.Kind
	end  int // in bytes; it begins where the one before ends
}

// emitAbove is how much a room gathers before it passes it on in the middle of
// a batch. One call of a handler may exceed it.
const emitAbove = 256 << 10

func (o *outbox) add(p *port, kind peer.Kind, head, tail []byte) {
	o.bytes = append(append(o.bytes, head...), tail...)
	o.items = append(o.items, outItem{p, kind, len(o.bytes)})
}

func (o *outbox) reset() {
	clear(o.items)
	o.items, o.bytes = o.items[:0], o.bytes[:0]
	if cap(o.bytes) > 2*emitAbove {
		o.bytes = nil
	}
}

// emit sends what the room has said, once the lease lets it. An error is the
// reason why the copy is over; it then says nothing more.
func (r *room) emit(ctx context.Context) error {
	if len(r.out.items) == 0 {
		return nil
	}
	if err := r.host.lease.pass(ctx); err != nil {
		r.out.reset()
		return err
	}
	r.flush()
	return nil
}

// flush hands what was gathered to the links.
func (r *room) flush() {
	at, outputs := 0, 0
	for _, it := range r.out.items {
		if !it.port.down {
			r.send(it.port, it.kind, r.out.bytes[at:it.end])
		}
		if it.kind == peer.KindOutput {
			outputs++
		}
		at = it.end
	}
	r.host.metrics.sent(len(r.out.items), outputs, len(r.out.bytes))
	r.out.reset()
}

// send passes one message on. A link that can't take it has lost it, and with
// it the order of what follows: the link is broken for good, so that its
// gateway attaches its members anew and each resumes from what it has.
func (r *room) send(p *port, kind peer.Kind, body []byte) {
	err := p.link.Send(kind, body, nil)
	if err == nil {
		return
	}
	p.down = true
	p.link.Close(fmt.Errorf("send for room %s: %w", r.id, err))
	r.host.metrics.broken.Inc()
}
