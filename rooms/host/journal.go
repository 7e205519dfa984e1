package host

import (
	"context"
	"errors"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
)

const (
	// freezeAfter is how long entries may wait for the store until the room
	// stands still.
	freezeAfter = 250 * time.Millisecond
	// degradeAfter is how long until a kind that may goes on without journal.
	degradeAfter = time.Second
	// What a room may have waiting for the store before it stands still.
	maxLagEntries = 16 << 10
	maxLagBytes   = 1 << 20
	maxGated      = 2 << 20 // bytes of output
	// A journal as long as this is cut by a checkpoint ahead of the interval.
	cutEntries = 8 << 10
	cutBytes   = 1 << 20
)

// journaling is where a journaled room's record stands. The loop owns it.
type journaling struct {
	tail    *tail
	seen    uint64 // stored, as the room was told
	waits   bool   // the store needs a checkpoint before it takes entries
	partial bool   // the last checkpoint made lacks functions that wait
	owing   int    // checkpoints in a row that were stored and lack some
	frozen  bool
	entries int // recorded since the last checkpoint
	bytes   int
	wakeAt  time.Time // when a freeze or its end by degrading is due
}

func (r *room) journaled() bool { return r.journal.tail != nil }

// heedJournal takes in what the store said of the room's entries. An error
// ends the copy.
func (r *room) heedJournal(now time.Time) error {
	j := &r.journal
	if j.tail == nil {
		return nil
	}
	if stored := j.tail.stored.Load(); stored > j.seen || r.actor.Waiting() > 0 {
		j.seen = stored
		r.actor.Appended(now, stored)
		fault.Point("journal.heard")
	}
	if e := j.tail.fault.Swap(nil); e != nil {
		switch err := *e; {
		case errors.Is(err, snapshot.ErrFenced):
			return r.fenced()
		case errors.Is(err, snapshot.ErrMissing):
			r.reclaim(0)
		default:
			r.log().Warn().Err(err).Msg("journal not taken: saving a checkpoint in its place")
			j.waits = true
		}
	}
	r.weigh(now)
	return nil
}

// weigh decides whether the room stands still, or goes on without a journal.
func (r *room) weigh(now time.Time) {
	j := &r.journal
	j.wakeAt = time.Time{}
	n, bytes, since := r.host.appender.lag(j.tail)
	frozen := n > maxLagEntries || bytes > maxLagBytes || len(r.out.bytes) > maxGated || r.owes()
	if !since.IsZero() && r.actor.Journaled() {
		late := now.Sub(since)
		frozen = frozen || late >= freezeAfter
		j.wakeAt = since.Add(freezeAfter)
		if r.kind.Durability.Degrades() {
			if late >= degradeAfter {
				r.degrade(now)
				frozen, j.wakeAt = false, time.Time{}
			} else if late >= freezeAfter {
				j.wakeAt = since.Add(degradeAfter)
			}
		} else if frozen {
			j.wakeAt = time.Time{} // the store's answer wakes it
		}
	}
	if frozen != j.frozen {
		j.frozen = frozen
		r.metrics.froze(frozen)
		r.log().Debug().Bool("frozen", frozen).Msg("journal")
	}
}

// degrade has the room go on as one that is checkpointed.
func (r *room) degrade(now time.Time) {
	r.log().Warn().Msg("store does not take the journal: going on with checkpoints alone")
	r.metrics.degraded.Inc()
	r.host.appender.halt(r.journal.tail, true)
	r.actor.Degrade(now)
	r.out.open()
	r.journal.waits, r.journal.owing = false, 0
	r.save.due = now
}

// submit sends what the room recorded on its way to the store.
func (r *room) submit() {
	j := &r.journal
	if j.tail == nil {
		return
	}
	first, entries := r.actor.Entries()
	for _, e := range entries {
		j.bytes += len(e)
	}
	j.entries += len(entries)
	r.host.appender.add(j.tail, first, entries)
}

// audible is the last entry on which output may depend to leave.
func (r *room) audible() uint64 {
	if r.journal.tail == nil {
		return 0
	}
	return r.journal.tail.stored.Load()
}

// wantsCut reports whether a checkpoint is due for the journal's sake.
func (r *room) wantsCut() bool {
	j := &r.journal
	return j.tail != nil && (j.waits || j.entries > cutEntries || j.bytes > cutBytes)
}

// holdsCut reports whether a checkpoint has to wait: functions that wait for
// durability are not in it, and they run within a round trip. One that the
// store needs does not wait, because nothing is stored without it.
func (r *room) holdsCut() bool {
	return r.journaled() && r.actor.Journaled() && r.actor.Waiting() > 0 && !r.journal.waits
}

// rejournal ends a degraded time with the checkpoint that is about to be
// encoded: what is recorded from there on is sent once that is stored.
func (r *room) rejournal() {
	if !r.journaled() || r.actor.Journaled() || r.host.storeUp.down.Load() {
		return
	}
	if r.actor.Rejournal() {
		r.log().Info().Msg("journal goes on from the next checkpoint")
	}
}

// settleWithin is how long a room that is about to move waits for its journal.
const settleWithin = time.Second

// settleJournal waits until the store has all that the room recorded, so that
// nothing is under way when its claim is handed on, and until the functions that
// wait for it have run, because a checkpoint does not hold them. The room stands
// still meanwhile. It says why the room can't move now, or why it is over.
func (r *room) settleJournal() (stays, over error) {
	if !r.journaled() {
		return nil, nil
	}
	defer r.box.wake() // what else woke it is looked at later
	late := time.NewTimer(settleWithin)
	defer late.Stop()
	for {
		if err := r.heedJournal(time.Now()); err != nil {
			return nil, err
		}
		r.submit()
		switch {
		case r.failed() != nil:
			return nil, r.failed()
		case r.journal.waits || r.save.reclaiming || !r.actor.Journaled():
			return errors.New("the store does not have the room's journal"), nil
		case r.journal.seen == r.actor.Recorded() && r.actor.Waiting() == 0:
			return nil, nil
		}
		select {
		case <-r.box.ready:
		case <-late.C:
			return errors.New("the store does not take the room's journal"), nil
		case <-r.ctx.Done():
			return nil, context.Cause(r.ctx)
		}
	}
}

// owesMost is how many checkpoints that lack functions have the room stand
// still for the next one. The second is for functions that came while the first
// was on its way; a room that has some after that makes new ones as they run.
const owesMost = 2

// owes reports whether the room stands still for a checkpoint that lacks nothing.
func (r *room) owes() bool { return r.journal.owing > 0 && r.journal.owing <= owesMost }

// cutAt tells that a checkpoint that covers the entries up to n is stored. A
// replay from one that lacks functions could not run them: what follows it is
// not appended, and their output waits for the next checkpoint.
func (r *room) cutAt(n uint64) {
	j := &r.journal
	if !r.journaled() || !r.actor.Journaled() {
		return
	}
	if j.partial {
		j.waits = true
		j.owing++
		r.host.appender.replaced(j.tail, n)
		return
	}
	j.waits, j.owing = false, 0
	r.host.appender.covered(j.tail, n)
}
