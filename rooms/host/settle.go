package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// settleClaims asks the store for each live copy whether its claim still
// stands, under a lease that was just taken: copies that lost theirs stop. Any
// error means that not all is known; asking again is harmless.
func (h *Host) settleClaims(ctx context.Context) error {
	for part := range slices.Chunk(h.all(), batchMost) {
		if err := h.settlePart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) settlePart(ctx context.Context, part []*room) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	claims := make([]snapshot.Claim, len(part))
	for i, r := range part {
		claims[i] = r.claim
	}
	errs, err := h.cfg.Store.Check(ctx, claims)
	if err == nil && len(errs) != len(claims) {
		err = fmt.Errorf("%d answers to %d claims", len(errs), len(claims))
	}
	if err != nil {
		return err
	}
	for i, r := range part {
		switch {
		case errs[i] == nil:
		case errors.Is(errs[i], snapshot.ErrFenced):
			r.kill(errFenced)
		case errors.Is(errs[i], snapshot.ErrMissing):
			r.post(event{kind: evReclaim})
		default:
			return fmt.Errorf("room %s: %w", r.id, errs[i])
		}
	}
	return nil
}

// moveClaims moves the claims of live copies to each new lease, so that they
// are held and not free for the taking. Rooms do not wait for it: a claim that
// is taken meanwhile fences its old copy.
func (h *Host) moveClaims(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.lease.taken:
		}
		eg, moving := errgroup.WithContext(ctx)
		eg.SetLimit(batchMost)
		for _, r := range h.all() {
			eg.Go(func() error { return h.moveClaim(moving, r) })
		}
		if err := eg.Wait(); err != nil {
			h.log.Warn().Err(err).Msg("claims not moved to the new lease")
		}
	}
}

// moveClaim repeats a claim under the current lease. The store knows it by its
// nonce; should another have held the room and be gone by now, the answer is a
// new epoch and this copy is over.
func (h *Host) moveClaim(ctx context.Context, r *room) error {
	if r.over.Load() || r.holder == h.lease.current() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.ClaimWithin)
	defer cancel()
	res, err := h.claims.ask(ctx, snapshot.ClaimRequest{
		Room: r.id, Holder: h.lease.current(), Nonce: r.claim.Nonce, Mode: wire.ModeJoin,
	})
	if err == nil {
		err = res.Err
	}
	var held *snapshot.HeldError
	switch {
	case errors.As(err, &held), err == nil && res.Claim != r.claim:
		r.kill(errFenced)
	case errors.Is(err, snapshot.ErrMissing), errors.Is(err, snapshot.ErrNoRoom):
		r.post(event{kind: evReclaim})
	case err != nil:
		return fmt.Errorf("move claim of room %s: %w", r.id, err)
	}
	return nil
}
