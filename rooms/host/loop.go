package host

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/alarm"
	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// room is one live copy of a room.
type room struct {
	// Static.
	host     *Host
	id       wire.RoomID
	kind     rooms.Kind
	claim    snapshot.Claim // its epoch and incarnation are the copy's
	holder   snapshot.Holder
	metrics  *kindMetrics
	box      *mailbox
	began    time.Time
	measures bool            // its code gives numbers
	arrived  bool            // by a move
	ctx      context.Context // ends when the copy must
	kill     context.CancelCauseFunc
	done     chan struct{} // closed when the copy has left the host's table

	// Owned by the room's goroutine.
	actor   *actor.Room
	ports   map[*port]struct{}
	taken   batch
	handled int // of taken
	own     []event
	out     outbox
	save    saving
	journal journaling
	close   closing
	timer   *alarm.Alarm
	armed   time.Time         // when timer fires, zero if it does not
	empty   time.Time         // since when there is no member, zero while there is one
	lost    map[loss]struct{} // whom to ask for inputs again, at askAt
	askAt   time.Time
	spoke   time.Time // when an input last had the room say something at once
	patient bool      // as the mailbox was told
	skipped uint64    // ticks that were left out
	ticked  uint64    // ticks that were counted
	counts  [eventKinds]int
	vitals  vitals
	acts    []*act              // acts that are not durable yet
	next    *directory.Location // where it has moved to
	seats   seats
	rev     uint64           // rises with what the room tells searches
	by      directory.NodeID // whose search made it

	// Read by others.
	over   atomic.Bool // ends, or has ended
	status status
	calls  *pulse
	going  atomic.Bool // a move of it is under way
	doubt  atomic.Bool // whether another copy replaced it is being looked into
	tenure *Tenure     // guarded by the host's chronicle
}

// run is the room's loop. It returns why the copy is over.
func (r *room) run(ctx context.Context) (why error) {
	defer func() {
		if v := recover(); v != nil {
			why = &failure{fmt.Errorf("runtime panic: %v\n%s", v, debug.Stack())}
		}
	}()
	for {
		if err := r.step(ctx); err != nil {
			return err
		}
		select {
		case <-r.box.ready:
		case <-r.timer.C:
			r.observeLateness(time.Now())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// step handles what has happened and what is due. While the lease is in
// question it waits: events stay in the mailbox, which is bounded.
func (r *room) step(ctx context.Context) error {
	if err := r.host.lease.pass(ctx); err != nil {
		return err
	}
	now := time.Now()
	r.heedStore(now)
	if err := r.advance(ctx, now); err != nil {
		return err
	}
	r.submit()
	if err := r.settle(now); err != nil {
		return err
	}
	if err := r.failed(); err != nil { // encoding runs the state's own code
		return err
	}
	if err := r.emit(ctx); err != nil {
		return err
	}
	if err := r.measure(now); err != nil {
		return err
	}
	r.confirm()
	r.publish()
	r.heedPatience(now)
	r.arm(now)
	return nil
}

// speaksOnTicks is how long a room must have answered no input at once until
// inputs wait for its ticks.
const speaksOnTicks = 10 * time.Second

// heedPatience lets inputs wait for the next tick where that makes no
// difference: in a room that ticks often and speaks on its ticks alone. Waking
// it for each costs more than what the input itself does.
func (r *room) heedPatience(now time.Time) {
	patient := r.actor.Paced() && !r.kind.Durability.Journaled() && now.Sub(r.spoke) > speaksOnTicks
	if patient != r.patient {
		r.patient = patient
		r.box.wait(patient)
	}
}

// advance handles events and lets time pass, unless the room stands still
// because its journal does not reach the store.
func (r *room) advance(ctx context.Context, now time.Time) error {
	if err := r.handleOwn(now); err != nil {
		return err
	}
	if err := r.heedJournal(now); err != nil {
		return err
	}
	if !r.journal.frozen {
		if err := r.handleAll(ctx, now); err != nil {
			return err
		}
		r.actor.Tick(now)
		r.actor.Flush(now)
	}
	return r.failed()
}

// handleOwn takes the answers to the room's own requests.
func (r *room) handleOwn(now time.Time) error {
	r.own = r.box.takeOwn(r.own)
	for i := range r.own {
		ev := &r.own[i]
		r.counts[ev.kind]++
		if err := r.handle(now, ev, nil); err != nil {
			return err
		}
	}
	return nil
}

// handleAll takes the mailbox's batch through the state machine.
func (r *room) handleAll(ctx context.Context, now time.Time) error {
	r.taken = r.box.take(r.taken)
	for r.handled = 0; r.handled < len(r.taken.events); {
		ev := &r.taken.events[r.handled]
		r.handled++
		r.counts[ev.kind]++
		said := len(r.out.items)
		err := r.handle(now, ev, r.taken.bytes[ev.at:ev.end])
		if ev.kind == evInput && len(r.out.items) > said {
			r.spoke = now
		}
		if err == nil {
			err = r.failed()
		}
		if err == nil && len(r.out.bytes) > emitAbove {
			err = r.emit(ctx)
		}
		if err != nil {
			return err
		}
	}
	r.askAgain(now)
	r.vitals.inputs += uint64(r.counts[evInput])
	r.metrics.took(&r.counts, len(r.taken.bytes), len(r.taken.lost))
	return nil
}

// handle is one event. An error ends the copy.
func (r *room) handle(now time.Time, ev *event, payload []byte) error {
	switch ev.kind {
	case evAttach:
		r.ports[ev.port] = struct{}{}
		if e := r.seats.claim(now, r.actor, ev.attach); e != nil {
			refuse(ev.port.link, *ev.attach, e, r.host.metrics)
			return nil
		}
		fault.Point("attach.before")
		r.actor.Attach(now, ev.port, *ev.attach)
		fault.Point("attach.done")
	case evInput:
		fault.Point("input.before")
		r.actor.Input(now, ev.port, ev.who, ev.n, payload)
		fault.Point("input.applied")
	case evSkip:
		r.actor.Skip(now, ev.port, ev.who, ev.n, ev.to)
	case evLeave:
		r.actor.Leave(now, ev.port, ev.who, ev.n)
	case evDetach:
		r.actor.Detach(now, ev.port, ev.who)
		fault.Point("detach.done")
	case evPortDown:
		ev.port.down = true
		delete(r.ports, ev.port)
		r.actor.PortDown(now, ev.port)
	case evSaved:
		return r.saved(now, ev.err)
	case evClosed:
		return r.closed(now, ev.err)
	case evReclaimed:
		return r.reclaimed(ev.grant, ev.err)
	case evFenced:
		return r.fenced()
	case evReclaim:
		r.reclaim(ev.floor)
	case evSaveAgain:
		r.saveAgain(now)
	case evReserve:
		r.reserve(now, ev.reserve)
	case evMove:
		return r.depart(now, ev.move)
	case evAct:
		r.obey(now, ev.act)
		return r.failed()
	case evHandOver:
		return r.handOver(now, ev.part)
	}
	return nil
}

// askPause is between the first input that a full mailbox dropped and the
// question for what was dropped: the room gets time to come down, and the room's
// own questions about the same gap are no longer taken for just asked.
const askPause = 250 * time.Millisecond

// askAgain asks for the inputs that the mailbox had no room for. No input has
// the number 2^64-1; the room answers it with the one it waits for.
func (r *room) askAgain(now time.Time) {
	if r.lost == nil && r.taken.lost != nil {
		r.lost, r.askAt = r.taken.lost, now.Add(askPause)
	} else {
		maps.Copy(r.lost, r.taken.lost)
	}
	if r.lost == nil || now.Before(r.askAt) {
		return
	}
	for l := range r.lost {
		r.actor.Input(now, l.port, l.who, ^wire.Input(0), nil)
	}
	r.lost, r.askAt = nil, time.Time{}
}

// settle begins the checkpoint or the closing that is due, or ends a copy that
// nobody needs.
func (r *room) settle(now time.Time) error {
	if code, text, ended := r.actor.Ended(); ended {
		return r.closeRoom(now, code, text)
	}
	r.checkpoint(now)
	r.seats.expire(now)
	if r.actor.Len() > 0 || r.seats.taken() > 0 {
		r.empty = time.Time{}
	} else if r.empty.IsZero() {
		r.empty = now
	}
	if due := r.idleAt(); !due.IsZero() && !r.journal.frozen && !now.Before(due) && r.box.closeIfEmpty() {
		return errIdle
	}
	return nil
}

// idleAt is when the room stops for want of members. One that the store does
// not take now stays, so that nothing is lost with it.
func (r *room) idleAt() time.Time {
	if r.empty.IsZero() || r.save.paused || r.save.reclaiming || r.close.asked {
		return time.Time{}
	}
	return r.empty.Add(r.kind.EmptyAfter)
}

// arm sets the one timer to what is due next.
func (r *room) arm(now time.Time) {
	due := earliest(r.seats.next, r.actor.Next(), r.saveAt(), r.idleAt(), r.askAt, r.journal.wakeAt, r.measureAt())
	if r.journal.frozen {
		due = earliest(r.saveAt(), r.journal.wakeAt)
	}
	if due.Equal(r.armed) {
		return
	}
	if r.armed = due; due.IsZero() {
		r.timer.Stop()
	} else {
		r.timer.Set(now, due.Sub(now))
	}
}

// earliest is the first of the times that are not zero.
func earliest(ts ...time.Time) time.Time {
	var first time.Time
	for _, t := range ts {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// post puts an event of this host's own into the room's mailbox.
func (r *room) post(ev event) {
	r.box.putOwn(ev)
}

func (r *room) location() directory.Location {
	return directory.Location{
		Room: r.id, Node: r.host.cfg.Node, Addr: r.host.cfg.Addr,
		Epoch: r.claim.Epoch, Incarnation: r.claim.Incarnation,
	}
}
