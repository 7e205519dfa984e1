package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
)

const (
	failuresMost   = 3                // in failuresWithin, then the room is quarantined
	kindRooms      = 3                // quarantined with no input at fault, then the kind is
	failuresWithin = 10 * time.Minute // and for how long at most
	faultyRooms    = 1024             // remembered
	poisonedInputs = 1024             // remembered
)

// faults remembers the rooms whose code failed here, and on what. It is
// bounded; the oldest is forgotten first.
type faults struct {
	mu    sync.Mutex
	times map[wire.RoomID][]time.Time // the last failuresMost; guarded by mu
	order []wire.RoomID               // of times, oldest first; guarded by mu
	// numbers are those of the last notes known; guarded by mu.
	numbers map[wire.RoomID]uint64
	poison  []poisonedInput // guarded by mu
	// Rooms that were quarantined, or would not start, with no input at fault,
	// by kind, and since when; guarded by mu and bounded by the kinds, each by
	// kindRooms.
	kinds map[string]map[wire.RoomID]time.Time
}

type poisonedInput struct {
	room  wire.RoomID
	input actor.Poison
}

func newFaults() *faults {
	return &faults{
		times: map[wire.RoomID][]time.Time{}, numbers: map[wire.RoomID]uint64{},
		kinds: map[string]map[wire.RoomID]time.Time{},
	}
}

// note counts a failure, blameless where no input is at fault. Then it counts
// against the kind, too, once the room is quarantined.
func (f *faults) note(id wire.RoomID, now time.Time, blameless bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heardLocked(id, []time.Time{now}, 0)
	if !blameless || len(f.times[id]) < failuresMost {
		return
	}
	against := f.kinds[id.Kind()]
	if against == nil {
		against = map[wire.RoomID]time.Time{}
		f.kinds[id.Kind()] = against
	}
	for room, at := range against {
		if now.Sub(at) >= failuresWithin {
			delete(against, room)
		}
	}
	if _, known := against[id]; known || len(against) < kindRooms {
		against[id] = now
	}
}

// kindQuarantined is how long no room of a kind must start, 0 if one may:
// several of its rooms keep failing, and no input is to blame.
func (f *faults) kindQuarantined(kind string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kinds[kind]) < kindRooms {
		return 0
	}
	wait := failuresWithin
	for _, at := range f.kinds[kind] {
		wait = min(wait, at.Add(failuresWithin).Sub(now))
	}
	return max(0, wait)
}

// heard takes in failures, and the number of the note that told of them.
func (f *faults) heard(id wire.RoomID, times []time.Time, number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heardLocked(id, times, number)
}

func (f *faults) heardLocked(id wire.RoomID, times []time.Time, number uint64) {
	ts, known := f.times[id]
	if !known {
		if len(f.order) >= faultyRooms {
			delete(f.times, f.order[0])
			delete(f.numbers, f.order[0])
			f.order = f.order[1:]
		}
		f.order = append(f.order, id)
	}
	for _, t := range times {
		if t = t.Truncate(time.Millisecond); !slices.ContainsFunc(ts, t.Equal) {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, time.Time.Compare)
	f.times[id] = ts[max(0, len(ts)-failuresMost):]
	f.numbers[id] = max(f.numbers[id], number)
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
	if slices.Contains(f.poison, poisonedInput{id, p}) {
		return
	}
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
	return Failures{Loads: f.loads.Load(), Panics: f.panics.Load(), Stuck: f.stuck.Load(), Refused: f.refused.Load()}
}

// loadFailed counts a room that does not load or start.
func (h *Host) loadFailed(id wire.RoomID) {
	h.failures.loads.Add(1)
	h.faults.note(id, time.Now(), true)
}

// failed is the failure of the room's code, if it has failed.
func (r *room) failed() error {
	if err := r.actor.Failure(); err != nil {
		return &failure{err}
	}
	return nil
}

// aftermath says how a copy that failed is followed.
type aftermath struct {
	code  wire.Code // for its gateways
	text  string
	again bool // the room starts again from its checkpoint
}

// blame notes a failure: nothing of the copy is kept but which input it failed
// on, which the next one passes over. A kind without checkpoints has nothing to
// start from.
func (r *room) blame(f *failure) aftermath {
	now, h := time.Now(), r.host
	p, poisoned := r.actor.Poisoned()
	h.faults.note(r.id, now, !poisoned)
	if poisoned {
		h.faults.add(r.id, p)
	}
	wait := h.faults.quarantined(r.id, now)
	ev := r.log().Error().Err(f).Dur("quarantine_ms", wait)
	if p := (*actor.Panic)(nil); errors.As(f.err, &p) {
		ev.Str("at", p.At()).Bytes("stack", p.Stack)
	}
	if poisoned {
		ev.Uint64("member", uint64(p.Member)).Uint64("input", uint64(p.N))
	}
	ev.Msg("room failed")
	// With no input at fault the build may be: another host's may do better.
	noted := !poisoned || r.noteFailure()
	if !r.durable() {
		ctx, cancel := context.WithTimeout(context.Background(), batchWithin)
		defer cancel()
		if err := h.tombstone(ctx, r.claim); err != nil {
			r.log().Warn().Err(err).Msg("failed room stays open in the store until it is next asked for")
		}
		return aftermath{code: wire.CodeEnded, text: "the room failed"}
	}
	if wait > 0 {
		return aftermath{text: "the room keeps failing"}
	}
	if !noted { // it starts when it is asked for, and passes over the input here at least
		return aftermath{text: "the room failed"}
	}
	return aftermath{text: "the room restarts", again: true}
}

// fail ends a copy whose code panicked.
func (r *room) fail(f *failure) {
	r.host.failures.panics.Add(1)
	a := r.blame(f)
	if a.again {
		r.leave(a.code, a.text, r.restart())
	} else {
		r.leave(a.code, a.text, nil)
	}
}

// noteFailure writes the failure down, within the time that a claim has.
func (r *room) noteFailure() bool {
	if !r.durable() {
		return true
	}
	ctx, cancel := context.WithTimeout(r.host.runCtx(), r.host.cfg.ClaimWithin)
	defer cancel()
	fault.Point("fail.before-note")
	if err := r.host.writeDown(ctx, r.claim); err != nil {
		r.log().Warn().Err(err).Msg("the store does not know that the room failed")
		return false
	}
	fault.Point("fail.noted")
	return true
}
