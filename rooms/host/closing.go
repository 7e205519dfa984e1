package host

import (
	"context"
	"errors"
	"time"

	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// closing is where the end that the room's code asked for stands. The loop
// owns it.
type closing struct {
	asked bool      // the tombstone is on its way, or follows the answer to a claim that is
	cut   actor.Cut // what it makes durable
	end   over
}

// closeRoom writes the tombstone, once. The room confirms the end to nobody
// before it is stored; a kind without durability has nothing to wait for.
func (r *room) closeRoom(now time.Time, code wire.Code, text string) error {
	if r.close.asked {
		return nil
	}
	r.close = closing{asked: true, cut: r.actor.Mark(), end: over{code: code, text: text, told: true}}
	if !r.durable() {
		r.host.running.Go(func() {
			ctx, cancel := context.WithTimeout(r.host.ctx, r.host.cfg.ClaimWithin)
			defer cancel()
			if err := r.host.tombstone(ctx, r.claim); err != nil {
				r.log().Warn().Err(err).Msg("closed room stays open in the store until it is next asked for")
			}
		})
		return r.closed(now, nil)
	}
	if !r.save.reclaiming { // else under the claim that comes of that
		r.bury(r.claim)
	}
	return nil
}

// bury has the tombstone written under a claim.
func (r *room) bury(c snapshot.Claim) {
	r.host.running.Go(func() { r.post(event{kind: evClosed, matter: &matter{err: r.host.tombstone(r.ctx, c)}}) })
}

// closed takes the store's answer. It ends the copy unless the host shuts
// down: then the room starts again elsewhere and is closed there.
func (r *room) closed(now time.Time, err error) error {
	switch {
	case err == nil:
		r.actor.Saved(now, r.close.cut)
		r.log().Info().Str("reason", r.close.end.text).Msg("room closed")
		r.host.kept.add(now, snapshot.SaveRequest{Claim: r.claim})
		return &r.close.end
	case errors.Is(err, snapshot.ErrFenced), errors.Is(err, snapshot.ErrBadRequest):
		return errFenced
	}
	return nil
}
