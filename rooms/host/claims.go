package host

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const (
	claimRetry     = 10 * time.Millisecond // after an unknown outcome, doubling
	claimRetryMost = 250 * time.Millisecond
)

// newNonce is never 0, which is no claim's.
func newNonce() snapshot.Nonce {
	var b [8]byte
	rand.Read(b[:])
	return snapshot.Nonce(max(1, binary.BigEndian.Uint64(b[:])>>1))
}

// grant is a claim and the lease it was made under.
type grant struct {
	snapshot.ClaimResult
	holder snapshot.Holder
	made   *directory.Made // what a search makes the room with
}

// claim asks the store for a room until it has answered, at most until ctx is
// done. Repeats carry the same nonce, so a claim whose answer was lost is found
// again; under another lease it is another claim. Errors are those of a
// ClaimResult, or ctx's.
func (h *Host) claim(ctx context.Context, req snapshot.ClaimRequest) (grant, error) {
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		if holder := h.lease.current(); holder != req.Holder || req.Nonce == 0 {
			req.Holder, req.Nonce = holder, newNonce()
		}
		res, err := h.claims.ask(ctx, req)
		if err == nil {
			err = res.Err
		}
		var held *snapshot.HeldError
		switch {
		case err == nil && h.lease.current() == req.Holder:
			return grant{ClaimResult: res, holder: req.Holder}, nil
		case err == nil: // the lease was replaced meanwhile: claim under the new one
		case errors.As(err, &held) && nodeOf(held.Holder) == h.cfg.Node:
			h.endOwn(ctx, held.Holder)
		case errors.As(err, &held), answered(err):
			return grant{}, err
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return grant{}, fmt.Errorf("claim room %s: %w", req.Room, errors.Join(context.Cause(ctx), err))
		}
	}
}

// endOwn ends an earlier lease of this very process that still runs in the
// store: its copies are over or checked.
func (h *Host) endOwn(ctx context.Context, old snapshot.Holder) {
	if old == h.lease.current() {
		return // it has become the current one just now
	}
	if err := h.cfg.Store.EndLease(ctx, old); err != nil {
		h.log.Debug().Err(err).Str("lease", string(old)).Msg("earlier lease not ended")
	}
}

// answered reports whether err is the store's word on a claim.
func answered(err error) bool {
	return errors.Is(err, snapshot.ErrNoRoom) || errors.Is(err, snapshot.ErrExists) ||
		errors.Is(err, snapshot.ErrMissing) || errors.Is(err, snapshot.ErrBadRequest)
}

// claimFor claims a room as its kind wants it. A room of a kind without
// durability does not survive its copy: a record that is still open is of one
// that died, and is closed first.
func (h *Host) claimFor(ctx context.Context, k rooms.Kind, id wire.RoomID, mode wire.Mode, floor wire.Epoch) (grant, error) {
	req := snapshot.ClaimRequest{Room: id, Mode: mode, Floor: floor}
	if k.Durability != rooms.None() {
		return h.claimKept(ctx, req)
	}
	if mode == wire.ModeCreate {
		req.Mode = wire.ModeJoinOrCreate // the record of a dead copy is no room
	}
	g, err := h.claim(ctx, req)
	if errors.Is(err, snapshot.ErrMissing) { // nothing was kept of it that could be lost
		if mode == wire.ModeJoin {
			return grant{}, snapshot.ErrNoRoom
		}
		req.Mode = wire.ModeCreate
		if g, err = h.claim(ctx, req); errors.Is(err, snapshot.ErrExists) { // since just now
			req.Floor, req.Mode = 0, wire.ModeJoinOrCreate
			g, err = h.claim(ctx, req)
		}
	}
	for err == nil && !g.Created {
		if err = h.tombstone(ctx, g.Claim); err != nil {
			break
		}
		if mode == wire.ModeJoin {
			return grant{}, snapshot.ErrNoRoom
		}
		g, err = h.claim(ctx, req)
	}
	return g, err
}

// comesBackWithin is how long after a loss a room may come back: its host
// notices by its next beat, and writes it again.
const comesBackWithin = 1500 * time.Millisecond

// claimKept claims a room that the store should have. One that it has lost may be
// in another host's memory, which is about to write it again: nobody is told that
// its state is lost before that had its time.
func (h *Host) claimKept(ctx context.Context, req snapshot.ClaimRequest) (grant, error) {
	for until := time.Now().Add(comesBackWithin); ; {
		g, err := h.claim(ctx, req)
		if !errors.Is(err, snapshot.ErrMissing) || time.Now().After(until) {
			return g, err
		}
		sleep(ctx, claimRetryMost)
	}
}

// tombstone ends an incarnation in the store. It tries until the store has
// answered, at most until ctx is done. A store that has lost the room has no
// incarnation to end.
func (h *Host) tombstone(ctx context.Context, c snapshot.Claim) error {
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		err, callErr := h.closes.ask(ctx, snapshot.CloseRequest{Claim: c})
		switch {
		case callErr != nil:
			err = callErr
		case err == nil, errors.Is(err, snapshot.ErrMissing):
			return nil
		case errors.Is(err, snapshot.ErrFenced), errors.Is(err, snapshot.ErrBadRequest):
			return err
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return fmt.Errorf("close room %s: %w", c.Room, errors.Join(context.Cause(ctx), err))
		}
	}
}

// refusal is what an asker for a room hears when its claim fails.
func refusal(err error) error {
	var held *snapshot.HeldError
	switch {
	case errors.As(err, &held):
		return &directory.HeldElsewhere{Node: nodeOf(held.Holder), Epoch: held.Epoch}
	case errors.Is(err, snapshot.ErrNoRoom):
		return wire.Refuse(wire.CodeNoRoom, "no such room")
	case errors.Is(err, snapshot.ErrExists):
		return wire.Refuse(wire.CodeRoomExists, "room exists")
	case errors.Is(err, snapshot.ErrMissing):
		return wire.Refuse(wire.CodeStateLost, "the store has lost the room's state")
	case errors.Is(err, snapshot.ErrBadRequest):
		return wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500, Text: "the store does not answer"}
}
