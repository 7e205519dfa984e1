package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// flight is one activation under way, which all who ask for its room share.
type flight struct {
	id    wire.RoomID
	kind  rooms.Kind
	mode  wire.Mode
	floor wire.Epoch
	made  *directory.Made // by a search, which is not shared

	done chan struct{} // closed when loc and err are set
	loc  directory.Location
	err  error
}

// Activate makes a room live here. It implements directory.Host.
//
// floor is an epoch that the asker takes for over. A copy at or below it is
// checked against the store before it is given as the answer; if its claim
// stands at floor it is the room, whatever the asker heard.
func (h *Host) Activate(ctx context.Context, id wire.RoomID, mode wire.Mode, floor wire.Epoch) (directory.Location, error) {
	loc, err := h.activate(ctx, id, mode, floor, nil)
	h.metrics.activated(err)
	return loc, err
}

// Create is Activate for a room that a search makes. It implements
// directory.Host.
func (h *Host) Create(ctx context.Context, id wire.RoomID, floor wire.Epoch, made directory.Made) (directory.Location, error) {
	loc, err := h.activate(ctx, id, wire.ModeCreate, floor, &made)
	h.metrics.activated(err)
	return loc, err
}

func (h *Host) activate(ctx context.Context, id wire.RoomID, mode wire.Mode, floor wire.Epoch, made *directory.Made) (directory.Location, error) {
	for ctx.Err() == nil {
		r, f, started, err := h.begin(id, mode, floor, made)
		switch {
		case err != nil:
			return directory.Location{}, err
		case r != nil && r.over.Load():
			await(ctx, r.done)
		case r != nil && mode == wire.ModeCreate:
			return directory.Location{}, wire.Refuse(wire.CodeRoomExists, "room exists")
		case r != nil:
			if stands, err := h.confirm(ctx, r, floor); stands || err != nil {
				return r.location(), err
			}
		default:
			await(ctx, f.done)
			if ctx.Err() == nil && (started || f.err != nil && f.mode == mode && f.floor >= floor) {
				return f.loc, f.err
			}
		}
	}
	return directory.Location{}, &wire.Error{Code: wire.CodeTimeout, RetryMS: 200, Text: "the room did not start in time"}
}

func await(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// begin finds the live copy or the flight of a room, or starts one.
func (h *Host) begin(id wire.RoomID, mode wire.Mode, floor wire.Epoch, made *directory.Made) (r *room, f *flight, started bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.live[id]; r != nil {
		return r, nil, false, nil
	}
	if f := h.flights[id]; f != nil {
		return nil, f, false, nil
	}
	k, err := h.admit(id, mode)
	if err != nil {
		return nil, nil, false, err
	}
	f = &flight{id: id, kind: k, mode: mode, floor: floor, made: made, done: make(chan struct{})}
	h.launch(f)
	return nil, f, true, nil
}

// admit says whether a room may start here now; mu is held.
func (h *Host) admit(id wire.RoomID, mode wire.Mode) (rooms.Kind, error) {
	if _, err := wire.ParseRoom(string(id)); err != nil {
		return rooms.Kind{}, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	if mode > wire.ModeJoinOrCreate {
		return rooms.Kind{}, wire.Refuse(wire.CodeBadRequest, "no mode of a single room")
	}
	k, ok := h.kinds[id.Kind()]
	switch {
	case !ok:
		return k, wire.Refuse(wire.CodeUnknownKind, "kind "+id.Kind()+" is not served here")
	case h.closing || h.ctx == nil:
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "host is not running"}
	case h.Draining():
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "host drains"}
	case h.restarting.Load():
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "host restarts"}
	case h.adoption.waits.Load():
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500, Text: "rooms of the host's predecessor wait for the store"}
	case !h.lease.granted():
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500, Text: "host has no lease in the store"}
	case len(h.live)+len(h.flights) >= h.cfg.MaxRooms:
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: "host is full"}
	case h.pressed():
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 2000, Text: "host is short of memory or descriptors"}
	case len(h.flights) >= h.cfg.MaxActivations:
		return k, &wire.Error{Code: wire.CodeBusy, RetryMS: 100, Text: "host starts as many rooms as it may"}
	}
	now := time.Now()
	if wait := h.faults.kindQuarantined(k.Name, now); wait > 0 {
		return k, &wire.Error{Code: wire.CodeKindUnavailable, RetryMS: uint32(wait.Milliseconds()),
			Text: "several rooms of the kind keep failing"}
	}
	if h.stuck.has(id) && h.placeable(id) {
		return k, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "a call of the room's code hangs here"}
	}
	if wait := h.faults.quarantined(id, now); wait > 0 {
		return k, quarantine(wait)
	}
	return k, nil
}

// pressed reports whether the process can't carry more rooms.
func (h *Host) pressed() bool {
	return h.cfg.Pressure != nil && h.cfg.Pressure() >= pressure.NoRooms
}

// heedNote takes in what the store says of a room's failures, and says how long
// the room must not start.
func (h *Host) heedNote(g grant) time.Duration {
	id := g.Claim.Room
	if err := h.faults.learn(id, g.Note); err != nil {
		h.log.Error().Err(err).Msg("what was noted of the room's failures is not known")
	}
	return h.faults.quarantined(id, time.Now())
}

func quarantine(wait time.Duration) *wire.Error {
	return &wire.Error{Code: wire.CodeUnavailable, RetryMS: uint32(wait.Milliseconds()), Text: "the room's code keeps failing"}
}

// launch starts a flight; mu is held.
func (h *Host) launch(f *flight) {
	h.flights[f.id] = f
	ctx := h.ctx
	h.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, h.cfg.ClaimWithin)
		defer cancel()
		f.loc, f.err = h.bring(ctx, f)
		h.land(f)
	})
}

// land ends a flight.
func (h *Host) land(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flights[f.id] == f {
		delete(h.flights, f.id)
	}
	close(f.done)
}

// bring claims a room, loads it and starts it.
func (h *Host) bring(ctx context.Context, f *flight) (directory.Location, error) {
	began := time.Now()
	fault.Point("claim.before")
	g, err := h.claimFor(ctx, f.kind, f.id, f.mode, f.floor)
	if err != nil {
		return directory.Location{}, refusal(err)
	}
	fault.Point("claim.granted")
	if f.floor > 0 {
		fault.Point("takeover.granted")
	}
	if wait := h.heedNote(g); wait > 0 {
		return directory.Location{}, quarantine(wait)
	}
	g.made = f.made
	r, err := h.within(startWithin, func() (*room, error) { return h.loadOrMend(ctx, f.kind, g) })
	if err != nil {
		h.log.Error().Err(err).Str("room", string(f.id)).Uint64("epoch", uint64(g.Claim.Epoch)).Msg("room does not load")
		h.loadFailed(f.id)
		return directory.Location{}, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: "the room's state does not load"}
	}
	fault.Point("restore.loaded")
	if f.floor > 0 {
		fault.Point("takeover.loaded")
	}
	if !h.enter(r) {
		return directory.Location{}, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 100, Text: "host lost its lease meanwhile"}
	}
	fault.Point("restore.entered")
	r.log().Info().Bool("created", g.Created).Int("bytes", len(g.Data)).Dur("took_ms", time.Since(began)).Msg("room started")
	return r.location(), nil
}

// startWithin is how long a room's code may take to start a room.
const startWithin = 5 * time.Second

var errSlowStart = fmt.Errorf("the room's code did not start it within %s", startWithin)

// within runs f for at most d. What f comes to later is ignored: a goroutine
// can't be ended from outside.
func (h *Host) within(d time.Duration, f func() (*room, error)) (*room, error) {
	type result struct {
		r   *room
		err error
	}
	done := make(chan result, 1)
	h.running.Go(func() {
		r, err := f()
		done <- result{r, err}
	})
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case got := <-done:
		return got.r, got.err
	case <-late.C:
		return nil, errSlowStart
	}
}

// enter makes a copy live and starts its loop, unless the host stops or its
// claim names a lease that the process no longer has: then nobody has checked
// that it stands.
func (h *Host) enter(r *room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing || h.lease.current() != r.holder {
		return false
	}
	var ctx context.Context
	ctx, r.kill = context.WithCancelCause(h.ctx)
	h.live[r.id] = r
	h.unsaved.Add(1)
	h.chronicle.add(r.tenure)
	h.running.Go(func() { r.live(ctx) })
	return true
}

// confirm reports whether a live copy is the answer for one who takes floor
// for over. Where it is not, its copy is on its way out.
func (h *Host) confirm(ctx context.Context, r *room, floor wire.Epoch) (bool, error) {
	if floor < r.claim.Epoch {
		return true, nil
	}
	errs, err := h.cfg.Store.Check(ctx, []snapshot.Claim{r.claim})
	if err == nil && len(errs) == 1 {
		err = errs[0]
	}
	switch {
	case err == nil && floor == r.claim.Epoch:
		return true, nil
	case err == nil, errors.Is(err, snapshot.ErrMissing): // the store went back behind an epoch that was seen
		r.post(event{kind: evReclaim, matter: &matter{floor: floor}})
	case errors.Is(err, snapshot.ErrFenced):
		r.post(event{kind: evFenced})
	default:
		return false, refusal(err)
	}
	await(ctx, r.done)
	return false, nil
}
