package host

import (
	"context"
	"errors"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/snapshot"
)

// supersededWithin bounds the question whether a copy has been replaced.
const supersededWithin = time.Second

// Superseded is told by the directory of a copy of a room at a higher epoch
// than the one here. The store settles it. Where that can't be asked the higher
// epoch is proof enough, since the store alone gives epochs: so a host that is
// cut off from the store only, and went on without it, ends what others took
// over. It implements directory.Host.
func (h *Host) Superseded(newer directory.Location) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.live[newer.Room]
	switch {
	case r == nil || h.closing || h.ctx == nil || newer.Node == h.cfg.Node || newer.Epoch <= r.claim.Epoch:
	case r.over.Load() || r.going.Load(): // it is on its way to there, most likely
	case r.doubt.CompareAndSwap(false, true):
		ctx := h.ctx
		h.running.Go(func() {
			defer r.doubt.Store(false)
			h.endSuperseded(ctx, r, newer)
		})
	}
}

func (h *Host) endSuperseded(ctx context.Context, r *room, newer directory.Location) {
	short, cancel := context.WithTimeout(ctx, supersededWithin)
	defer cancel()
	errs, err := h.cfg.Store.Check(short, []snapshot.Claim{r.claim})
	if err == nil && len(errs) == 1 && !errors.Is(errs[0], snapshot.ErrFenced) {
		return // it stands: the news was of a copy that the store has lost
	}
	if ctx.Err() != nil {
		return
	}
	r.log().Warn().Str("node", string(newer.Node)).Uint64("higher", uint64(newer.Epoch)).AnErr("store", err).
		Msg("another host has the room at a higher epoch: this copy ends")
	h.metrics.superseded.Inc()
	r.kill(errFenced)
}
