package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const (
	moveWithin  = 3 * time.Second        // to send a room and have it prepared; then it goes on here
	beginWithin = 2 * time.Second        // for the target to say that its copy runs
	settleAfter = 500 * time.Millisecond // of an unanswered hand-off, until the room goes on here if the target lets go
	forgetCalls = 500 * time.Millisecond // bound on the call that says so
)

// errNotReady: the room's code asks to wait, "after this round".
var errNotReady = errors.New("the room's code asks to wait")

// departure is one attempt to move a room, carried out by its loop.
type departure struct {
	to   target
	link caller
	left time.Duration // that the room's code may put it off for

	done  chan error // capacity 1
	loc   directory.Location
	began time.Time     // when the room stood still
	step  time.Time     // when the step under way began
	pause time.Duration // for how long the room stood still
}

// The steps of a move, during which its room stands still.
const (
	stepPack    = "pack"     // ends what is under way, and encodes the room
	stepSend    = "send"     // to the target, which prepares its copy
	stepHandOff = "hand_off" // of the claim, in the store
	stepBegin   = "begin"    // the target's copy
)

// took ends a step.
func (d *departure) took(r *room, step string) {
	now := time.Now()
	r.host.metrics.moveSteps[step].Observe(now.Sub(d.step).Seconds())
	d.step = now
}

// caller is what a departure needs of a link; *link.Link is one.
type caller interface {
	Call(ctx context.Context, kind uint8, body []byte) ([]byte, error)
}

// Moved is what a move came to.
type Moved struct {
	directory.Location
	Pause time.Duration // how long the room stood still
}

// Move has a room live on another host. It returns when the room runs there,
// or when it goes on here, with the reason. patience is how long the room's
// code may still put it off; 0: it is not to.
func (h *Host) Move(ctx context.Context, id wire.RoomID, node directory.NodeID, addr string, patience time.Duration) (Moved, error) {
	return h.move(ctx, id, node, addr, patience, causeOrder)
}

// Why rooms are asked to move away.
const (
	causeOrder     = "order"
	causeDrain     = "drain"
	causeRebalance = "rebalance"
)

func (h *Host) move(ctx context.Context, id wire.RoomID, node directory.NodeID, addr string, patience time.Duration, cause string) (Moved, error) {
	r := h.find(id)
	switch {
	case r == nil || r.over.Load():
		return Moved{}, wire.Refuse(wire.CodeNoRoom, "no such room here")
	case h.restarting.Load():
		return Moved{}, &wire.Error{Code: wire.CodeBusy, RetryMS: 1000, Text: "the host restarts"}
	case node == h.cfg.Node:
		return Moved{}, wire.Refuse(wire.CodeBadRequest, "the room is on that host already")
	case !r.going.CompareAndSwap(false, true):
		return Moved{}, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "the room is moving already"}
	}
	defer r.going.Store(false)
	l, err := h.dial(ctx, node, addr)
	if err != nil {
		return Moved{}, fmt.Errorf("reach %s: %w", node, err)
	}
	d := &departure{to: target{node, addr}, link: l, left: patience, done: make(chan error, 1)}
	r.post(event{kind: evMove, matter: &matter{move: d}})
	select {
	case err = <-d.done:
	case <-r.done:
		select {
		case err = <-d.done:
		default:
			err = errors.New("the room ended meanwhile")
		}
	}
	h.metrics.moved(err, cause)
	return Moved{d.loc, d.pause}, err
}

func (h *Host) dial(ctx context.Context, node directory.NodeID, addr string) (*link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, moveWithin)
	defer cancel()
	return h.cfg.Mesh.Link(ctx, string(node), addr)
}

// depart moves the room, on its own goroutine: it stands still, and what
// arrives meanwhile waits in the mailbox. An error ends this copy.
func (r *room) depart(now time.Time, d *departure) error {
	if err := r.stays(now, d.left); err != nil {
		d.done <- err
		return r.failed()
	}
	d.began, d.step = now, now
	if stays, over := r.settleJournal(); stays != nil || over != nil {
		d.done <- errors.Join(stays, over)
		return over
	}
	r.actor.Flush(now)
	if err := r.emit(r.ctx); err != nil {
		d.done <- err
		return err
	}
	defer func() { r.metrics.movePause.Observe(time.Since(now).Seconds()) }()
	before := r.save
	out, err := r.pack(now)
	if err == nil {
		d.took(r, stepPack)
		fault.Point("move.packed")
		var next snapshot.Claim
		if next, err = r.pass(d, out); err == nil {
			return r.follow(d, out, next)
		}
	}
	if why := r.resume(now, before, err); why != nil {
		d.done <- fmt.Errorf("room %s is no longer here: %w", r.id, why)
		return why
	}
	d.done <- err
	return nil
}

// stays says why the room can't move now.
func (r *room) stays(now time.Time, left time.Duration) error {
	_, _, ended := r.actor.Ended()
	switch {
	case ended || r.close.asked:
		return errors.New("the room is closing")
	case r.host.storeAway():
		return errors.New("the store does not answer")
	case r.journaled() && (!r.actor.Journaled() || r.journal.waits || r.journal.frozen):
		return errors.New("the store does not have the room's journal")
	case r.save.reclaiming:
		return errors.New("the store has lost the room and is asked for it again")
	case r.save.refused:
		return errors.New("the store refuses the room's checkpoint")
	case left > 0 && !r.actor.ReadyToMove(now, left):
		return errNotReady
	}
	return r.failed()
}

// parcel is a room on its way.
type parcel struct {
	nonce snapshot.Nonce
	data  []byte // the checkpoint's body, then the baggage
	body  int
	state uint32               // version of what is in the body
	save  snapshot.SaveRequest // what the store gets; Seq 0 for a kind without durability
}

func (r *room) pack(now time.Time) (*parcel, error) {
	out := &parcel{nonce: newNonce()}
	body, cut, err := r.actor.Encode()
	if err != nil {
		return nil, err
	}
	baggage, err := r.actor.Pack(now)
	if err != nil {
		return nil, err
	}
	out.data, out.body, out.state = append(body, baggage...), len(body), cut.StateVersion()
	if len(out.data) > maxRoomBytes {
		return nil, fmt.Errorf("the room takes %d bytes, at most %d can move", len(out.data), maxRoomBytes)
	}
	if r.durable() {
		out.save, err = r.seal(nil, now, r.claim, body, cut)
	}
	r.metrics.moveBytes.Observe(float64(len(out.data)))
	return out, err
}

// pass sends the room and hands its claim off. With an error the room is still
// this host's, or lost to neither of the two.
func (r *room) pass(d *departure, out *parcel) (snapshot.Claim, error) {
	holder, err := r.sendTo(d, out)
	if err != nil {
		r.forget(d, out)
		return snapshot.Claim{}, fmt.Errorf("send room: %w", err)
	}
	d.took(r, stepSend)
	fault.Point("move.sent")
	req := snapshot.HandOffRequest{Claim: r.claim, Holder: holder, Nonce: out.nonce, Seq: out.save.Seq, Data: out.save.Data, Journal: out.save.Journal}
	next, err := r.handOff(d, out, req)
	if err != nil {
		r.forget(d, out)
		return snapshot.Claim{}, fmt.Errorf("hand room off: %w", err)
	}
	d.took(r, stepHandOff)
	return next, nil
}

// sendTo transfers the room until the target has a copy prepared.
func (r *room) sendTo(d *departure, out *parcel) (snapshot.Holder, error) {
	ctx, cancel := context.WithTimeout(r.ctx, moveWithin)
	defer cancel()
	c := arriveCall{
		Nonce: uint64(out.nonce), Room: r.id, Claim: [2]uint64{uint64(r.claim.Incarnation), uint64(r.claim.Epoch)},
		Saves: r.save.seq, Size: len(out.data), Body: out.body, Journal: out.save.Journal,
		State: &out.state,
	}
	for {
		c.Data = out.data[c.Off:min(c.Off+arrivePart, len(out.data))]
		raw, err := d.link.Call(ctx, callArrive, encodeCall(c))
		if err != nil {
			return "", err
		}
		if c.Off += len(c.Data); c.Off < len(out.data) {
			continue
		}
		var reply arriveReply
		if err := decodeCall(raw, &reply); err != nil {
			return "", err
		}
		return reply.Holder, reply.Holder.Check()
	}
}

// handOff asks the store until it has answered: an outcome that is not known
// can't be guessed. When it takes long, and the target lets go of its copy, the
// room goes on here and what the store did is undone when it answers.
func (r *room) handOff(d *departure, out *parcel, req snapshot.HandOffRequest) (snapshot.Claim, error) {
	began := time.Now()
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		ctx, cancel := context.WithTimeout(r.ctx, settleAfter)
		res, err := r.host.handOffs.ask(ctx, req)
		cancel()
		if err == nil && !errors.Is(res.Err, snapshot.ErrUnknown) {
			return res.Claim, res.Err
		}
		if r.ctx.Err() != nil {
			return snapshot.Claim{}, context.Cause(r.ctx)
		}
		if time.Since(began) >= settleAfter && r.forget(d, out) {
			return snapshot.Claim{}, &unsettled{req}
		}
		sleep(r.ctx, wait)
	}
}

// unsettled: the store has not said whether it handed the claim off, to a host
// that will not use it.
type unsettled struct{ req snapshot.HandOffRequest }

// Error says so.
func (u *unsettled) Error() string { return "the store does not answer" }

// forget has the target drop its copy; true: it has.
func (r *room) forget(d *departure, out *parcel) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), forgetCalls)
	defer cancel()
	_, err := d.link.Call(ctx, callForget, encodeCall(forgetCall{uint64(out.nonce)}))
	return err == nil
}

// resume lets the room go on here after a move that failed. An error is the
// reason why it can't.
func (r *room) resume(now time.Time, before saving, cause error) error {
	seq := r.save.seq
	r.save = before
	r.save.seq, r.save.due = seq, now
	r.actor.Touch() // what was encoded is not in the store
	var u *unsettled
	switch {
	case errors.Is(cause, snapshot.ErrFenced):
		return errFenced
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case errors.Is(cause, snapshot.ErrTooBig):
		r.refuse(now, cause)
	case errors.Is(cause, snapshot.ErrMissing):
		r.reclaim(0)
	case errors.As(cause, &u):
		r.undo(u.req)
	}
	r.log().Warn().Err(cause).Msg("room not moved: it goes on here")
	return nil
}

// undo takes a claim back that may have been handed off. Until the store has
// answered nothing is saved.
func (r *room) undo(req snapshot.HandOffRequest) {
	r.save.reclaiming = true
	if r.journaled() {
		r.host.appender.halt(r.journal.tail, false)
	}
	r.host.running.Go(func() {
		g, err := r.host.takeBack(r.ctx, req)
		r.post(event{kind: evReclaimed, matter: &matter{grant: &g, err: err}})
	})
}

// takeBack finishes a hand-off and hands the claim back to this host.
func (h *Host) takeBack(ctx context.Context, req snapshot.HandOffRequest) (grant, error) {
	next, err := h.handOffUntil(ctx, req)
	if err != nil {
		return grant{}, err
	}
	holder := h.lease.current()
	back, err := h.handOffUntil(ctx, snapshot.HandOffRequest{Claim: next, Holder: holder, Nonce: newNonce()})
	return grant{ClaimResult: snapshot.ClaimResult{Claim: back}, holder: holder}, err
}

// handOffUntil asks until the store has answered, at most until ctx is done.
// Errors are as of a claim.
func (h *Host) handOffUntil(ctx context.Context, req snapshot.HandOffRequest) (snapshot.Claim, error) {
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		res, err := h.handOffs.ask(ctx, req)
		switch {
		case err == nil && errors.Is(res.Err, snapshot.ErrFenced):
			return snapshot.Claim{}, &snapshot.HeldError{}
		case err == nil && !errors.Is(res.Err, snapshot.ErrUnknown):
			return res.Claim, res.Err
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return snapshot.Claim{}, context.Cause(ctx)
		}
	}
}

// follow ends this copy in favour of the target's. The hand-off stored the
// checkpoint: what it covers is durable.
func (r *room) follow(d *departure, out *parcel, next snapshot.Claim) error {
	fault.Point("move.handed-off")
	if r.durable() {
		r.actor.Saved(time.Now(), r.save.cut)
		r.actor.Flush(time.Now())
	}
	if r.host.lease.valid() {
		r.flush()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), beginWithin)
	defer cancel()
	_, err := d.link.Call(ctx, callBegin, encodeCall(beginCall{uint64(out.nonce), next.Epoch}))
	d.took(r, stepBegin)
	fault.Point("move.begun")
	if notStarted(err) {
		return r.takenBack(d, next, err)
	}
	if err != nil {
		r.log().Warn().Err(err).Str("to", string(d.to.node)).Msg("room handed off; its new host has not said that it runs")
	} else {
		r.log().Info().Str("to", string(d.to.node)).Uint64("next", uint64(next.Epoch)).Msg("room moved")
	}
	d.loc = directory.Location{Room: r.id, Node: d.to.node, Addr: d.to.addr, Epoch: next.Epoch, Incarnation: next.Incarnation}
	r.next = &d.loc
	d.pause = time.Since(d.began)
	d.done <- nil
	return errMoved
}

// takenBack has the room go on here at a new epoch, because the target has its
// claim and says that it never ran it. Without that word it may have, and what
// it saved and confirmed meanwhile would be lost.
func (r *room) takenBack(d *departure, next snapshot.Claim, cause error) error {
	holder := r.host.lease.current()
	back, err := r.host.handOffUntil(r.ctx, snapshot.HandOffRequest{Claim: next, Holder: holder, Nonce: newNonce()})
	d.done <- fmt.Errorf("the target did not start the room: %w", cause)
	if err != nil {
		return errFenced
	}
	return &succession{grant{ClaimResult: snapshot.ClaimResult{Claim: back}, holder: holder}}
}
