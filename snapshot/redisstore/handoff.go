package redisstore

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// HandOff passes claims on in one round trip.
func (s *Store) HandOff(ctx context.Context, reqs []snapshot.HandOffRequest) ([]snapshot.HandOffResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.HandOffResult, len(reqs))
	o := newOutcome(len(reqs))
	var good []int
	for i, r := range reqs {
		if err := r.Check(s.cfg.MaxBytes); err != nil {
			o.answer(i, err)
		} else {
			good = append(good, i)
		}
	}
	for len(good) > 0 {
		n := min(len(good), batch)
		s.handOffBatch(ctx, reqs, good[:n], out, o)
		good = good[n:]
	}
	if err := o.whole(); err != nil {
		return nil, fmt.Errorf("hand rooms off: %w", err)
	}
	for i, err := range o.errs {
		if err != nil {
			out[i] = snapshot.HandOffResult{Err: err}
		}
	}
	return out, nil
}

func (s *Store) handOffBatch(ctx context.Context, reqs []snapshot.HandOffRequest, good []int, out []snapshot.HandOffResult, o *outcome) {
	calls := make([]*call, len(good))
	for k, i := range good {
		calls[k] = s.handOffCall(reqs[i])
	}
	s.pipeline(ctx, calls)
	for k, i := range good {
		f := calls[k].fields()
		switch word := f.text(); word {
		case "OK":
			o.answer(i, nil)
			c := snapshot.Claim{Room: reqs[i].Claim.Room, Nonce: reqs[i].Nonce}
			c.Incarnation, c.Epoch = wire.Incarnation(f.number()), wire.Epoch(f.number())
			out[i].Claim = c
		default:
			o.answer(i, f.otherwise(word))
		}
		if f.err != nil {
			o.unknown(i, f.err)
		}
	}
}

// handOffCall keeps a big checkpoint beside the room, as Save does.
func (s *Store) handOffCall(r snapshot.HandOffRequest) *call {
	c := &call{
		script: handOffScript,
		keys:   []string{s.roomKey(r.Claim.Room), s.journalKey(r.Claim.Room)},
		args: []any{formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), string(r.Holder), formatNonce(r.Nonce),
			format(r.Seq), len(r.Data), format(r.Journal)},
	}
	switch {
	case r.Seq > 0 && len(r.Data) > inlineLimit:
		next := snapshot.Claim{Room: r.Claim.Room, Nonce: r.Nonce}
		c.blobKey, c.blob = s.blobKey(snapshot.SaveRequest{Claim: next, Seq: r.Seq}), r.Data
		c.keys = append(c.keys, c.blobKey)
	case r.Seq > 0:
		c.args = append(c.args, r.Data)
	}
	return c
}
