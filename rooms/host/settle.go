package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
)

// settleClaims puts the claim of each live copy under a lease that was just
// taken, where it still stands: copies that lost theirs stop. Any error means
// that not all is known; asking again is harmless.
func (h *Host) settleClaims(ctx context.Context, under snapshot.Holder) error {
	fence := func(r *room) { r.kill(errFenced) }
	for part := range slices.Chunk(h.all(), batchMost) {
		if err := h.settlePart(ctx, part, under, fence); err != nil {
			return err
		}
	}
	return nil
}

// settlePart is settleClaims for some copies; fenced is told of those that lost
// their claims.
func (h *Host) settlePart(ctx context.Context, part []*room, under snapshot.Holder, fenced func(*room)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reqs := make([]snapshot.HoldRequest, len(part))
	for i, r := range part {
		reqs[i] = snapshot.HoldRequest{Claim: r.claim, Holder: under}
	}
	fault.Point("hold.before")
	errs, err := h.cfg.Store.Hold(ctx, reqs)
	fault.Point("hold.done")
	if err == nil && len(errs) != len(reqs) {
		err = fmt.Errorf("%d answers to %d claims", len(errs), len(reqs))
	}
	if err != nil {
		return err
	}
	for i, r := range part {
		switch {
		case errs[i] == nil:
		case errors.Is(errs[i], snapshot.ErrFenced):
			fenced(r)
		case errors.Is(errs[i], snapshot.ErrMissing):
			r.post(event{kind: evReclaim})
		default:
			return fmt.Errorf("room %s: %w", r.id, errs[i])
		}
	}
	return nil
}
