package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

// keepAside is how long what was set aside can be looked at.
const keepAside = 30 * 24 * time.Hour

// Mend sets damaged checkpoints and journals aside in one round trip.
func (s *Store) Mend(ctx context.Context, reqs []snapshot.MendRequest) ([]snapshot.MendResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.MendResult, len(reqs))
	o := newOutcome(len(reqs))
	for from := 0; from < len(reqs); from += batch {
		s.mendBatch(ctx, reqs, from, min(from+batch, len(reqs)), out, o)
	}
	if err := o.whole(); err != nil {
		return nil, fmt.Errorf("mend rooms: %w", err)
	}
	for i, err := range o.errs {
		if err != nil {
			out[i] = snapshot.MendResult{Err: err}
		}
	}
	return out, nil
}

func (s *Store) mendBatch(ctx context.Context, reqs []snapshot.MendRequest, from, to int, out []snapshot.MendResult, o *outcome) {
	var calls []*call
	var index []int
	for i := from; i < to; i++ {
		r := reqs[i]
		if err := r.Check(); err != nil {
			o.answer(i, err)
			continue
		}
		index = append(index, i)
		calls = append(calls, &call{
			script: mendScript,
			keys:   []string{s.roomKey(r.Claim.Room), s.journalKey(r.Claim.Room), s.roomKey(r.Claim.Room) + ":aside"},
			args:   []any{formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), format(r.Entry), keepAside.Milliseconds()},
		})
	}
	s.pipeline(ctx, calls)
	for k, i := range index {
		f := calls[k].fields()
		if word := f.text(); word == "OK" {
			o.answer(i, nil)
			out[i].Journal = f.journal()
			out[i].Data = f.bytes()
		} else {
			o.answer(i, f.otherwise(word))
		}
		if f.err != nil {
			o.unknown(i, f.err)
		}
	}
}
