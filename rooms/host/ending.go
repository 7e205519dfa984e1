package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Why a copy is over. Each ends in one call of end, which is the only way out
// of the host's table.
var (
	errShutdown = errors.New("host shuts down")
	errFenced   = errors.New("another claim holds the room")
	errIdle     = errors.New("nobody is in the room")
	errMoved    = errors.New("the room has moved")
	errHanded   = errors.New("the room waits in shared memory for the next process")
	errLeft     = errors.New("the room is left to the store for the next process")
)

// over: the room has ended for good, in the store too.
type over struct {
	code wire.Code
	text string
	told bool // the room itself told its gateways
}

// Error names the code.
func (e *over) Error() string { return "room ended: " + e.code.String() }

// succession: the room goes on here under another claim.
type succession struct{ grant }

// Error names the claim.
func (e *succession) Error() string {
	return fmt.Sprintf("claimed again at epoch %d", e.Claim.Epoch)
}

// failure: the room's code panicked.
type failure struct{ err error }

// Error is the panic.
func (e *failure) Error() string { return e.err.Error() }

// live is the room's goroutine.
func (r *room) live(ctx context.Context) {
	r.ctx = ctx
	r.calls.slot.RunsHere()
	if why := r.run(ctx); !r.calls.isTaken() {
		r.end(why)
	}
	if r.calls.isTaken() { // giveUp has ended it
		r.host.stuck.remove(r)
		return
	}
	r.host.unsaved.Done()
}

// end takes a copy out. Its mailbox refuses everything from here on, so that
// gateways look the room up again.
func (r *room) end(why error) {
	r.over.Store(true)
	r.refuseMore(why)
	r.confirmEnd(why) // ahead of done, after which who asked takes it for another end
	var fail *failure
	var next *succession
	var done *over
	switch {
	case errors.As(why, &fail):
		r.fail(fail)
	case errors.As(why, &next):
		r.succeed(next.grant)
	case errors.As(why, &done):
		r.flush()
		if done.told {
			clear(r.ports)
		}
		r.leave(done.code, done.text, nil)
	case errors.Is(why, errMoved):
		if !r.stop() {
			return
		}
		r.out.reset()
		r.host.trails.put(*r.next)
		r.leave(wire.CodeNone, why.Error(), nil)
	case errors.Is(why, errHanded):
		if !r.stop() {
			return
		}
		r.out.reset()
		r.drop(nil)
	case errors.Is(why, errLeft):
		if r.park() {
			r.drop(nil)
		}
	case errors.Is(why, errIdle):
		if r.park() {
			r.leave(wire.CodeNone, "", nil)
		}
	case errors.Is(why, errShutdown):
		if r.park() {
			r.host.running.Go(func() { r.farewell(why) })
		}
	default:
		r.log().Warn().AnErr("cause", why).Msg("room stopped: it lives elsewhere")
		if !r.stop() {
			return
		}
		r.out.reset()
		r.leave(wire.CodeNone, why.Error(), nil)
	}
}

// farewell sends the gateways on when the host has let go of all its rooms,
// so that others can claim them at once.
func (r *room) farewell(why error) {
	<-r.host.released
	if r.durable() {
		r.leave(wire.CodeNone, why.Error(), nil)
	} else {
		r.leave(wire.CodeEnded, why.Error(), nil)
	}
}

// refuseMore stops what comes in and what goes to the journal.
func (r *room) refuseMore(why error) {
	if r.journaled() {
		r.host.appender.stop(r.journal.tail)
		if r.journal.frozen {
			r.metrics.froze(false)
		}
	}
	r.refuseRest()
	r.metrics.ended(why)
	r.host.chronicle.end(r.tenure, why)
}

// refuseRest turns away the attaches that no one will handle any more.
func (r *room) refuseRest() {
	left := r.box.close()
	if r.host.restarting.Load() { // they ask the next process
		return
	}
	for _, ev := range append(r.taken.events[r.handled:], left.events...) {
		if ev.kind == evAttach {
			refuse(ev.port.link, *ev.attach, notHere, r.host.metrics)
		}
	}
}

// leave tells the gateways, then takes the copy out: what follows it never
// speaks before they have heard.
func (r *room) leave(code wire.Code, text string, next *flight) {
	r.sayGone(code, text)
	r.drop(next)
}

func (r *room) sayGone(code wire.Code, text string) {
	for p := range r.ports {
		if !p.down {
			r.tellNext(p)
			g := peer.Gone{Handle: p.handle, Epoch: r.claim.Epoch, Code: code, Text: text}
			if err := p.link.Send(peer.KindGone, g.Append(nil), nil); err != nil {
				p.link.Close(fmt.Errorf("end room %s: %w", r.id, err))
				r.host.metrics.broken.Inc()
			}
		}
	}
}

// drop takes the copy out of the table, in one step with the start of what
// follows it.
func (r *room) drop(next *flight) {
	r.status.clear(r.host)
	h := r.host
	h.mu.Lock()
	if h.live[r.id] == r {
		delete(h.live, r.id)
		if next != nil && !h.closing {
			h.launch(next)
		}
	}
	h.mu.Unlock()
	if h.cfg.Released != nil && !h.restarting.Load() { // the next process has it
		h.cfg.Released(r.id, r.claim.Epoch)
	}
	r.timer.Stop()
	r.kill(nil)
	r.calls.leave()
	close(r.done)
	// Gateways' tables may still point here until they hear of it. What a call
	// that has not returned may use stays.
	if !r.calls.isTaken() {
		r.actor, r.ports, r.taken, r.out = nil, nil, batch{}, outbox{}
	}
}

// stop tells the handler that the room stops here. False: its code did not
// return in time, and the copy has been given up meanwhile.
func (r *room) stop() bool {
	r.actor.Stop(time.Now())
	return !r.calls.isTaken()
}

// park stops a room that can start again from the store: it says its last and
// is saved. A room of a kind without durability is closed. False: its code did
// not return in time, and the copy has been given up meanwhile.
func (r *room) park() bool {
	if !r.stop() {
		return false
	}
	if r.journaled() { // what it said last may be heard once it is saved
		defer r.out.reset()
	} else {
		if r.host.lease.valid() {
			r.flush()
		}
		r.out.reset()
	}
	if r.actor.Failure() != nil {
		return true // what is in the store is better
	}
	fault.Point("park.before-save")
	var err error
	switch {
	case !r.durable() && !r.host.forsaken.Load():
		ctx, cancel := context.WithTimeout(context.Background(), batchWithin)
		defer cancel()
		err = r.host.tombstone(ctx, r.claim)
	case r.durable() && (r.save.busy || r.save.again || r.actor.Dirty() || r.journaled() || time.Since(r.save.stored) < keptFor):
		err = r.lastSave(r.claim)
	}
	fault.Point("park.saved")
	if err == nil && r.journaled() && r.host.lease.valid() {
		r.flush()
	}
	if err != nil {
		r.log().Error().Err(err).Msg("room not saved when it stopped")
	}
	return !r.calls.isTaken()
}

// lastSave stores the room as it is and waits for it.
func (r *room) lastSave(c snapshot.Claim) error {
	if r.host.forsaken.Load() {
		return errors.New("the store does not answer")
	}
	req, err := r.encode(time.Now(), c)
	if err != nil {
		return fmt.Errorf("encode last checkpoint: %w", err)
	}
	done := make(chan error, 1)
	r.host.writer.Submit(req, func(_ snapshot.SaveRequest, err error) { done <- err })
	late := time.NewTimer(r.host.cfg.SaveWithin)
	defer late.Stop()
	select {
	case err := <-done:
		if err == nil {
			r.host.kept.add(time.Now(), req)
		}
		return err
	case <-late.C:
		return fmt.Errorf("store last checkpoint: no answer within %s", r.host.cfg.SaveWithin)
	}
}

// succeed hands the room over, in memory, to a copy under another claim.
func (r *room) succeed(g grant) {
	if !r.journaled() && !r.stop() { // a journaled one's life goes on in the middle
		return
	}
	r.out.reset()
	now := time.Now()
	r.sayGone(wire.CodeNone, "the room goes on at a new epoch")
	body, cut, err := r.actor.Encode()
	var baggage []byte
	if err == nil {
		baggage, err = r.actor.Pack(now)
	}
	if r.journaled() {
		r.stop()
	}
	if r.calls.isTaken() {
		return
	}
	var n *room
	if err == nil {
		n, err = r.host.newRoom(r.kind, g, copyOf{
			body: body, seq: r.save.seq, version: cut.StateVersion(), baggage: baggage,
			journal: snapshot.Journal{Base: r.actor.Recorded()},
		})
	}
	if err == nil {
		n.save.again, n.save.due, n.journal.waits = true, time.Time{}, n.journaled()
		n.tenure.How = "reclaimed"
		if r.host.enter(n) {
			r.drop(nil)
			return
		}
		err = r.lastSave(g.Claim) // the lease was replaced meanwhile: by way of the store, then
	}
	if err != nil {
		r.log().Error().Err(err).Msg("room not handed over to its new claim")
	}
	r.drop(r.restart())
}

// restart is the activation that follows a copy without waiting to be asked.
func (r *room) restart() *flight {
	return &flight{id: r.id, kind: r.kind, mode: wire.ModeJoin, floor: r.claim.Epoch, done: make(chan struct{})}
}
