package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

// settleClaims asks the store for each live copy whether its claim still
// stands, under a lease that was just taken: copies that lost theirs stop. Any
// error means that not all is known; asking again is harmless.
//
// Claims that stand go on naming the lease they were made under. They are as
// good as any for saving; but others may take the room over without waiting.
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
