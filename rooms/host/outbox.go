package host

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/wire/peer"
)

// outbox gathers what a room says during a batch of events. It leaves through
// emit alone, so that one place decides whether the room may speak.
type outbox struct {
	items []outItem
	bytes []byte
}

type outItem struct {
	port  *port
	kind  peer.Kind
	end   int    // in bytes; it begins where the one before ends
	after uint64 // the journal entry that must be stored first
}

// emitAbove is how much a room gathers before it passes it on in the middle of
// a batch. One call of a handler may exceed it.
const emitAbove = 256 << 10

func (o *outbox) add(p *port, kind peer.Kind, head, tail []byte, after uint64) {
	o.bytes = append(append(o.bytes, head...), tail...)
	o.items = append(o.items, outItem{p, kind, len(o.bytes), after})
}

func (o *outbox) reset() {
	clear(o.items)
	o.items, o.bytes = o.items[:0], o.bytes[:0]
	if cap(o.bytes) > 2*emitAbove {
		o.bytes = nil
	}
}

// audible is how many of the items may leave when the journal's entries up to
// stored are. Marks never fall, so that order is kept.
func (o *outbox) audible(stored uint64) int {
	n := 0
	for n < len(o.items) && o.items[n].after <= stored {
		n++
	}
	return n
}

// shift takes out the first n items.
func (o *outbox) shift(n int) {
	if n == len(o.items) {
		o.reset()
		return
	}
	at := o.items[n-1].end
	o.bytes = append(o.bytes[:0], o.bytes[at:]...)
	rest := copy(o.items, o.items[n:])
	clear(o.items[rest:])
	o.items = o.items[:rest]
	for i := range o.items {
		o.items[i].end -= at
	}
}

// open has nothing wait for the journal any more.
func (o *outbox) open() {
	for i := range o.items {
		o.items[i].after = 0
	}
}

// emit sends what the room has said, once the lease lets it, as far as the
// journal that it depends on is stored. An error is the reason why the copy is
// over; it then says nothing more.
func (r *room) emit(ctx context.Context) error {
	n := r.out.audible(r.audible())
	if n == 0 {
		return nil
	}
	if err := r.host.lease.pass(ctx); err != nil {
		r.out.reset()
		return err
	}
	r.flushSome(n)
	return nil
}

// flush hands all that was gathered to the links.
func (r *room) flush() {
	if n := len(r.out.items); n > 0 {
		r.flushSome(n)
	}
}

// flushSome hands the first n items to the links.
func (r *room) flushSome(n int) {
	fault.Point("output.before-send")
	at, outputs := 0, 0
	for _, it := range r.out.items[:n] {
		if !it.port.down {
			r.send(it.port, it.kind, r.out.bytes[at:it.end])
		}
		if it.kind == peer.KindOutput {
			outputs++
		}
		at = it.end
	}
	r.host.metrics.sent(n, outputs, at)
	fault.Point("output.sent")
	r.out.shift(n)
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
