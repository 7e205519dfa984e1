package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
)

const (
	failuresMost   = 3                // in failuresWithin, then the room is quarantined
	failuresWithin = 10 * time.Minute // and for how long at most
	faultyRooms    = 1024             // remembered
	poisonedInputs = 1024             // remembered
)

// faults remembers the rooms whose code failed here, and on what. It is
// bounded; the oldest is forgotten first.
type faults struct {
	mu     sync.Mutex
	times  map[wire.RoomID][]time.Time // the last failuresMost; guarded by mu
	order  []wire.RoomID               // of times, oldest first; guarded by mu
	poison []poisonedInput             // guarded by mu
}

type poisonedInput struct {
	room  wire.RoomID
	input actor.Poison
}

func newFaults() *faults { return &faults{times: map[wire.RoomID][]time.Time{}} }

// note counts a failure.
func (f *faults) note(id wire.RoomID, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ts, known := f.times[id]
	if !known {
		if len(f.order) >= faultyRooms {
			delete(f.times, f.order[0])
			f.order = f.order[1:]
		}
		f.order = append(f.order, id)
	}
	ts = append(ts, now)
	f.times[id] = ts[max(0, len(ts)-failuresMost):]
}

// quarantined is how long a room must not start, 0 if it may.
func (f *faults) quarantined(id wire.RoomID, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	ts := f.times[id]
	if len(ts) < failuresMost {
		return 0
	}
	return max(0, ts[0].Add(failuresWithin).Sub(now))
}

// add remembers an input on which a room's code failed.
func (f *faults) add(id wire.RoomID, p actor.Poison) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.poison) >= poisonedInputs {
		f.poison = f.poison[1:]
	}
	f.poison = append(f.poison, poisonedInput{id, p})
}

// poisoned are the inputs that a room passes over.
func (f *faults) poisoned(id wire.RoomID) []actor.Poison {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ps []actor.Poison
	for _, p := range f.poison {
		if p.room == id {
			ps = append(ps, p.input)
		}
	}
	return ps
}

// Failures counts what has gone wrong with rooms' code and state since the
// process started.
func (h *Host) Failures() Failures {
	f := &h.failures
	return Failures{Loads: f.loads.Load(), Panics: f.panics.Load(), Stuck: f.stuck.Load()}
}

// loadFailed counts a room that does not load or start.
func (h *Host) loadFailed(id wire.RoomID) {
	h.failures.loads.Add(1)
	h.faults.note(id, time.Now())
}

// failed is the failure of the room's code, if it has failed.
func (r *room) failed() error {
	if err := r.actor.Failure(); err != nil {
		return &failure{err}
	}
	return nil
}

// fail ends a copy whose code panicked. Nothing of it is kept but which input
// it failed on: the room starts again from its checkpoint, and passes over
// that. A kind without checkpoints has nothing to start from.
func (r *room) fail(f *failure) {
	now, h := time.Now(), r.host
	h.failures.panics.Add(1)
	h.faults.note(r.id, now)
	if p, ok := r.actor.Poisoned(); ok {
		h.faults.add(r.id, p)
	}
	wait := h.faults.quarantined(r.id, now)
	ev := r.log.Error().Err(f).Dur("quarantine_ms", wait)
	if p := (*actor.Panic)(nil); errors.As(f.err, &p) {
		ev.Bytes("stack", p.Stack)
	}
	ev.Msg("room failed")
	switch {
	case !r.durable():
		ctx, cancel := context.WithTimeout(context.Background(), batchWithin)
		defer cancel()
		if err := h.tombstone(ctx, r.claim); err != nil {
			r.log.Warn().Err(err).Msg("failed room stays open in the store until it is next asked for")
		}
		r.leave(wire.CodeEnded, "the room failed", nil)
	case wait > 0:
		r.leave(wire.CodeNone, "the room keeps failing", nil)
	default:
		r.leave(wire.CodeNone, "the room restarts", r.restart())
	}
}
