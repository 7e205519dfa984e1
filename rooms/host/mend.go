package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
)

// mends bounds how often one start sets something aside: a checkpoint, and the
// journal of the one before it.
const mends = 3

// loadOrMend is load for a room whose checkpoint or journal may be damaged: that
// is set aside and the room starts from what was before. Its members find that
// out as they do after any restore: what they have seen beyond it is rewound.
func (h *Host) loadOrMend(ctx context.Context, k rooms.Kind, g grant) (*room, error) {
	for range mends {
		r, err := h.load(k, g)
		entry, damaged := damageOf(err)
		if !damaged {
			return r, err
		}
		h.log.Error().Err(err).Str("room", string(g.Claim.Room)).Uint64("epoch", uint64(g.Claim.Epoch)).Uint64("entry", entry).
			Msg("what the store holds of the room is damaged: setting it aside, going on from what was before it")
		h.metrics.mended(entry)
		if g.ClaimResult, err = h.mend(ctx, g.Claim, entry, err); err != nil {
			return nil, err
		}
	}
	return h.load(k, g)
}

// mend has the store set damage aside.
func (h *Host) mend(ctx context.Context, c snapshot.Claim, entry uint64, found error) (snapshot.ClaimResult, error) {
	res, err := h.cfg.Store.Mend(ctx, []snapshot.MendRequest{{Claim: c, Entry: entry}})
	if err == nil {
		err = res[0].Err
	}
	switch {
	case errors.Is(err, snapshot.ErrMissing):
		return snapshot.ClaimResult{}, fmt.Errorf("%w, and there is no older one", found)
	case err != nil:
		return snapshot.ClaimResult{}, fmt.Errorf("set aside what is damaged (%w): %w", found, err)
	}
	return snapshot.ClaimResult{Claim: c, Data: res[0].Data, Journal: res[0].Journal, Damage: res[0].Damage}, nil
}

// damageOf says whether a room did not load because what the store holds is not
// what was saved. A build that can't read a good checkpoint has found no damage,
// nor has one without the key.
func damageOf(err error) (entry uint64, damaged bool) {
	if d, ok := errors.AsType[*snapshot.Damage](err); ok {
		return d.Entry, true
	}
	for _, e := range []error{snapshot.ErrNotCheckpoint, snapshot.ErrTruncated, snapshot.ErrDamaged} {
		if errors.Is(err, e) {
			return 0, true
		}
	}
	return 0, false
}
