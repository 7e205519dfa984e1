package host

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// storeState is whether durable acks run: neither the lease, nor the writer, nor
// the beats miss the store's answers.
type storeState struct {
	down atomic.Bool

	mu                              sync.Mutex
	leaseDown, writerDown, beatDown bool // guarded by mu
}

// storeChanged notes what one of them sees, and tells the rooms if that
// makes a difference.
func (h *Host) storeChanged(which *bool, down bool) {
	s := &h.storeUp
	s.mu.Lock()
	*which = down
	now := s.leaseDown || s.writerDown || s.beatDown
	before := s.down.Swap(now)
	s.mu.Unlock()
	if before == now {
		return
	}
	h.log.Warn().Bool("running", !now).Msg("durable acks")
	for _, r := range h.all() {
		r.box.wake()
	}
}

// heedStore tells the room when durable acks stop or run again. Kinds without
// durability have none.
func (r *room) heedStore(now time.Time) {
	paused := r.host.storeUp.down.Load() || r.save.refused
	if r.kind.Durability != rooms.None() && paused != r.save.paused {
		r.save.paused = paused
		if len(r.out.items) == 0 || !r.host.lease.valid() {
			r.actor.StoreRunning(now, !paused)
			return
		}
		// This is no part of the room's story, and must not wait for the store.
		held := r.out
		r.out = outbox{}
		r.actor.StoreRunning(now, !paused)
		r.flush()
		r.out = held
	}
}
