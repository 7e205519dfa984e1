package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const (
	watchEvery = 250 * time.Millisecond
	stuckAfter = 4 // looks at one and the same call: a second
)

// pulse tells a watcher which call of its code a room is in, without a clock,
// and settles who has the room when a call lasts too long: the goroutine that
// made it, or the watcher.
type pulse struct {
	count uint64        // owned by the goroutine that runs the room
	call  atomic.Uint64 // 0: none; taken: the watcher has the room

	// Owned by whoever runs the room; where this process is an isolated kind's.
	slot  *isolate.Slot
	actor *actor.Room

	// Owned by the watcher.
	seen  uint64
	looks int
}

const taken = 1<<64 - 1

var _ actor.Calls = (*pulse)(nil)

// Begin marks the start of a call.
func (p *pulse) Begin() {
	if p.call.Load() != taken {
		p.count++
		if p.slot != nil {
			in, blamed := p.actor.Poisoned()
			p.slot.Begin(p.count, isolate.Input{Member: uint64(in.Member), Instance: in.Instance, N: uint64(in.N)}, blamed)
		}
		p.call.Store(p.count)
	}
}

// End marks its end; false: the room is the watcher's.
func (p *pulse) End() bool {
	mine := p.call.CompareAndSwap(p.count, 0)
	if mine {
		p.slot.End()
	}
	return mine
}

// leave gives up the room's place in the box.
func (p *pulse) leave() {
	p.slot.Release()
	p.slot = nil
}

// take takes the room from its goroutine, which is in a call that has lasted
// for stuckAfter looks. What the room's goroutine wrote before the call is the
// watcher's to read, and what the call does not touch is its to write.
func (p *pulse) take() bool {
	call := p.call.Load()
	if call == 0 || call != p.seen {
		p.seen, p.looks = call, 0
		return false
	}
	p.looks++
	return p.looks >= stuckAfter && call != taken && p.call.CompareAndSwap(call, taken)
}

// isTaken reports whether the watcher has the room.
func (p *pulse) isTaken() bool { return p.call.Load() == taken }

// watch gives up rooms whose code does not return. A goroutine can't be ended
// from outside: it is left behind, and whatever its call comes to is ignored.
func (h *Host) watch(ctx context.Context) error {
	tick := h.cfg.Alarms.New()
	defer tick.Stop()
	for {
		tick.Set(time.Now(), watchEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, r := range h.all() {
			if h.stuck.take(r) {
				h.failures.stuck.Add(1)
				h.running.Go(r.giveUp)
			}
		}
	}
}

// errStuck ends a copy whose code did not return.
var errStuck = errors.New("a call of the room's code did not return within a second")

// giveUp ends a copy that was taken from its goroutine. Its claim is passed on
// to nobody, which fences the copy and lets any host take the room up from its
// checkpoint; the input at fault is passed over.
func (r *room) giveUp() {
	h := r.host
	defer h.unsaved.Done()
	ends := r.over.Swap(true)
	r.metrics.stuck.Inc()
	r.log().Error().Int("left_behind", h.stuck.count()).
		Msg("a call of the room's code has not returned for a second: giving this copy up, its goroutine stays behind")
	if !ends {
		r.refuseMore(errStuck)
		r.confirmEnd(errStuck)
	}
	a := r.blame(&failure{errStuck})
	var next *flight
	if a.again && !h.passOn(r) {
		next = r.restart()
	}
	r.leave(a.code, a.text, next)
}

// passOn passes the claim of a copy on to nobody, where another host could take
// the room. False: it has to start here again.
func (h *Host) passOn(r *room) bool {
	if !h.placeable(r.id) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchWithin)
	defer cancel()
	res, err := h.handOffs.ask(ctx, snapshot.HandOffRequest{Claim: r.claim, Holder: nobody(h.cfg.Node), Nonce: newNonce()})
	if err == nil {
		err = res.Err
	}
	if err != nil {
		r.log().Warn().Err(err).Msg("claim of a stuck room not let go: it starts here again")
		return false
	}
	return true
}

// placeable reports whether another host could take the room.
func (h *Host) placeable(id wire.RoomID) bool {
	if h.cfg.Place == nil {
		return false
	}
	_, err := h.cfg.Place(directory.Want{Room: id}, func(n directory.NodeID) bool { return n == h.cfg.Node })
	return err == nil
}

// nobody is a holder that never has a lease.
func nobody(n directory.NodeID) snapshot.Holder {
	return snapshot.Holder(fmt.Sprintf("%s/nobody", n))
}
