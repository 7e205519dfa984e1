package directory

import (
	"context"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// outbox gathers changes for other owners, the newest of each room, and sends
// them in batches. What can't be sent is dropped: hosts register all their
// rooms anew every half minute.
type outbox struct {
	most int // changes waiting for one node
	send func(ctx context.Context, to NodeID, batch []change) error
	lost func(n int)
	wake chan struct{} // capacity 1

	mu sync.Mutex
	to map[NodeID]*outgoing // guarded by mu
}

type outgoing struct {
	changes map[wire.RoomID]change
	sending bool
}

const gatherFor = 50 * time.Millisecond

func newOutbox(most int, send func(context.Context, NodeID, []change) error, lost func(int)) *outbox {
	return &outbox{most: most, send: send, lost: lost, wake: make(chan struct{}, 1), to: map[NodeID]*outgoing{}}
}

// put queues a change for a node.
func (o *outbox) put(to NodeID, c change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.to[to]
	if g == nil {
		g = &outgoing{changes: map[wire.RoomID]change{}}
		o.to[to] = g
	}
	old, ok := g.changes[c.Room]
	switch {
	case ok && old.Epoch > c.Epoch:
	case ok && old.Epoch == c.Epoch && old.Gone: // what ended does not live again
	case !ok && len(g.changes) >= o.most:
		o.lost(1)
	default:
		g.changes[c.Room] = c
		poke(o.wake)
	}
}

// forget drops what waits for a node.
func (o *outbox) forget(to NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.to, to)
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, g := range o.to {
		n += len(g.changes)
	}
	return n
}

// run sends until ctx is done. A slow node delays only its own changes.
func (o *outbox) run(ctx context.Context) {
	var sends sync.WaitGroup
	defer sends.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gatherFor):
		}
		for _, to := range o.ready() {
			sends.Go(func() { o.drain(ctx, to) })
		}
	}
}

// ready marks the nodes that have changes waiting and no send under way.
func (o *outbox) ready() (all []NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for to, g := range o.to {
		if !g.sending && len(g.changes) > 0 {
			g.sending = true
			all = append(all, to)
		}
	}
	return all
}

func (o *outbox) drain(ctx context.Context, to NodeID) {
	for {
		batch := o.take(to)
		if len(batch) == 0 {
			return
		}
		if err := o.send(ctx, to, batch); err != nil {
			o.lost(len(batch))
		}
	}
}

// take is the next batch for a node; an empty one ends its sending.
func (o *outbox) take(to NodeID) (batch []change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.to[to]
	if g == nil {
		return nil
	}
	for room, c := range g.changes {
		if len(batch) == maxBatch {
			break
		}
		batch = append(batch, c)
		delete(g.changes, room)
	}
	if len(batch) == 0 {
		delete(o.to, to)
	}
	return batch
}
