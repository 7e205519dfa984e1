package host

import (
	"errors"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// saving is where a copy's checkpoints stand. The loop owns it.
type saving struct {
	seq   uint64
	busy  bool      // the writer has one that it has not answered
	again bool      // the last one did not reach the store
	due   time.Time // not before, unless it is urgent
	stale time.Time // the store has the room as it started: due then where nothing changes; zero: it has not

	cut     actor.Cut // what the last one covers
	encoded time.Time // when the last one was made
	stored  time.Time // when the store last took one
	changed time.Time // the oldest change that is not in the store, zero: none

	refused    bool // the store will not take it as it is: durable acks pause
	paused     bool // the members were told that durable acks pause
	reclaiming bool // the store lost the room and is asked for it again
}

// refusedRetry is how long a refused checkpoint waits for the state to have
// become acceptable.
const refusedRetry = 10 * time.Second

func (r *room) durable() bool { return r.kind.Durability != rooms.None() }

// wantsSave reports whether there is something to save and nothing in the way.
func (r *room) wantsSave() bool {
	s := &r.save
	return r.durable() && !s.busy && !s.reclaiming && !r.close.asked && (s.again || r.actor.Dirty() || r.wantsCut()) &&
		!r.holdsCut()
}

// saveAt is when the next checkpoint is due, zero where none is wanted.
func (r *room) saveAt() time.Time {
	if !r.wantsSave() {
		return time.Time{}
	}
	if r.wantsCut() && !r.save.again {
		if r.owes() {
			return r.save.encoded
		}
		return r.save.encoded.Add(cutPause)
	}
	if r.asStored() {
		return r.save.stale
	}
	return r.save.due
}

// asStored reports whether the room started from what the store has, and nothing
// but its start can have changed it since.
func (r *room) asStored() bool {
	return !r.save.stale.IsZero() && !r.save.again && !r.actor.Changed()
}

// cutPause is at least between two checkpoints that the journal asks for.
const cutPause = 100 * time.Millisecond

// checkpoint encodes the room, if that is due, and hands it to the writer. The
// store is never waited for.
func (r *room) checkpoint(now time.Time) {
	s := &r.save
	if s.changed.IsZero() && r.actor.Dirty() && !r.asStored() {
		s.changed = now
	}
	if !r.wantsSave() || now.Before(r.saveAt()) && (s.again || !r.actor.Urgent()) {
		return
	}
	fault.Point("save.before-encode")
	r.rejournal()
	later := !s.again && !r.actor.Urgent() && gathers(r.kind.Durability.Interval())
	sub := takeSubmission(r)
	req, err := r.encodeTo(sub.data, now, r.claim)
	if err != nil {
		sub.giveBack()
		r.refuse(now, err)
		return
	}
	fault.Point("save.encoded")
	s.busy, sub.data = true, req.Data
	if later {
		r.host.writer.SubmitLater(req, sub.done)
	} else {
		r.host.writer.Submit(req, sub.done)
	}
}

// gather is for how long a checkpoint waits for those of other rooms, to go in one
// call. It is encoded so much before its interval ends.
const gather = 50 * time.Millisecond

// gathers reports whether checkpoints come so seldom that some can wait.
func gathers(interval time.Duration) bool { return interval >= 20*gather }

// nextSave is from when on a room is encoded again, to be stored an interval after now.
func (r *room) nextSave(now time.Time) time.Time {
	due := now.Add(r.kind.Durability.Interval())
	if gathers(r.kind.Durability.Interval()) {
		due = due.Add(-gather)
	}
	return due
}

// encode makes the next checkpoint, under a claim.
func (r *room) encode(now time.Time, c snapshot.Claim) (snapshot.SaveRequest, error) {
	return r.encodeTo(nil, now, c)
}

// encodeTo is encode into the memory after b.
func (r *room) encodeTo(b []byte, now time.Time, c snapshot.Claim) (req snapshot.SaveRequest, err error) {
	_, err = r.actor.EncodeFor(func(body []byte, cut actor.Cut) (err error) {
		req, err = r.seal(b, now, c, body, cut)
		return err
	})
	return req, err
}

// seal makes a checkpoint of what the room has encoded, in the memory after b.
func (r *room) seal(b []byte, now time.Time, c snapshot.Claim, body []byte, cut actor.Cut) (snapshot.SaveRequest, error) {
	s := &r.save
	s.seq++
	r.journal.entries, r.journal.bytes = 0, 0
	r.journal.partial = r.actor.Journaled() && r.actor.Waiting() > 0
	head := snapshot.Header{Kind: r.kind.Name, StateVersion: cut.StateVersion(), Incarnation: c.Incarnation, Epoch: c.Epoch, Seq: s.seq}
	state := states.Get().(*[]byte)
	*state = sealState((*state)[:0], now, body)
	data, err := snapshot.AppendEncoded(b, head, *state)
	if cap(*state) <= keepSubmitted {
		states.Put(state)
	}
	if err != nil {
		return snapshot.SaveRequest{}, err
	}
	s.cut, s.encoded, s.due, s.stale = cut, now, r.nextSave(now), time.Time{}
	r.metrics.checkpointBytes.Observe(float64(len(data)))
	return snapshot.SaveRequest{Claim: c, Seq: s.seq, Data: data, Journal: cut.Journal()}, nil
}

// saved takes the writer's answer. An error ends the copy.
func (r *room) saved(now time.Time, err error) error {
	s := &r.save
	s.busy = false
	if r.close.asked { // the tombstone comes after it and decides
		return nil
	}
	switch {
	case err == nil:
		if !s.changed.IsZero() {
			r.metrics.checkpointAge.Observe(now.Sub(s.changed).Seconds())
		}
		s.again, s.refused, s.changed = false, false, time.Time{}
		if r.actor.Dirty() {
			s.changed = s.encoded
		}
		s.stored = now
		fault.Point("save.before-ack")
		r.cutAt(s.cut.Journal())
		r.actor.Saved(now, s.cut)
		fault.Point("save.acked")
		r.heedStore(now)
	case errors.Is(err, snapshot.ErrFenced):
		s.again = true
		return r.fenced()
	case errors.Is(err, snapshot.ErrMissing):
		s.again = true
		r.reclaim(0)
	case errors.Is(err, snapshot.ErrTooBig), errors.Is(err, snapshot.ErrBadRequest):
		r.refuse(now, err)
	default: // the writer is full or ends
		s.again = true
		s.due = now.Add(max(r.kind.Durability.Interval(), time.Second))
	}
	return nil
}

// refuse puts the room in the state it has with the store down: it plays on,
// durable acks pause, members and operator are told.
func (r *room) refuse(now time.Time, err error) {
	s := &r.save
	if !s.refused {
		r.host.failures.refused.Add(1)
		r.log().Error().Err(err).Msg("checkpoint refused: durable acks pause, a crash takes the room back to the last one")
	}
	r.metrics.checkpointRefused.Inc()
	s.again, s.refused = true, true
	s.due = now.Add(max(r.kind.Durability.Interval(), refusedRetry))
	r.heedStore(now)
}

// reclaim asks the store for the room anew, above floor, because it has lost
// it or knows only an older epoch of it. The room plays on until the answer.
func (r *room) reclaim(floor wire.Epoch) {
	if r.save.reclaiming || r.close.asked {
		return
	}
	r.save.reclaiming = true
	r.log().Warn().Msg("the store has lost the room: claiming it again")
	r.host.running.Go(func() {
		if err := r.host.lease.confirm(r.ctx); err != nil {
			return // the copy has ended
		}
		g, err := r.host.claim(r.ctx, snapshot.ClaimRequest{
			Room: r.id, Mode: wire.ModeJoin, Floor: max(floor, r.claim.Epoch), Incarnation: r.claim.Incarnation,
		})
		r.post(event{kind: evReclaimed, matter: &matter{grant: &g, err: err}})
	})
}

// fenced ends the copy, because another claim has the room. While the room is
// being claimed again that other may be its own, granted just now, and while it is
// closed it may be its tombstone: then the answer to that, which is on its way,
// decides.
func (r *room) fenced() error {
	if r.save.reclaiming || r.close.asked {
		return nil
	}
	return errFenced
}

// reclaimed ends this copy in favour of one under the new claim.
func (r *room) reclaimed(g *grant, err error) error {
	r.save.reclaiming = false
	var held *snapshot.HeldError
	switch {
	case errors.As(err, &held):
		return errFenced
	case errors.Is(err, snapshot.ErrNoRoom):
		return &over{code: wire.CodeEnded, text: "the room has ended"}
	case err == nil && r.close.asked:
		r.bury(g.Claim)
		return nil
	case err == nil:
		return &succession{*g}
	case r.close.asked:
		r.bury(r.claim)
		return nil
	}
	if r.journaled() {
		r.host.appender.resume(r.journal.tail)
	}
	return nil
}
