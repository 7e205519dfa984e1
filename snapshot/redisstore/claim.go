package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// claimRounds bounds how often a room is tried whose holder ended but whose
// claim another took meanwhile.
const claimRounds = 3

// Claim takes rooms in one round trip. A room that another holds takes two
// more, for those rooms alone: one reads the holders' leases, which may be on
// other nodes of a Cluster; and where one has ended, one claims again with the
// nonce that was seen as proof. That needs no transaction over nodes, because
// an ended lease never comes back: as long as the room is still claimed under
// that nonce, its holder has no lease.
func (s *Store) Claim(ctx context.Context, reqs []snapshot.ClaimRequest) ([]snapshot.ClaimResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.ClaimResult, len(reqs))
	errs := newOutcome(len(reqs))
	var left []attempt
	for i, r := range reqs {
		if err := r.Check(); err != nil {
			errs.answer(i, err)
		} else {
			left = append(left, attempt{index: i})
		}
	}
	for round := 0; len(left) > 0; round++ {
		var held []attempt
		for len(left) > 0 {
			n := min(len(left), batch)
			held = append(held, s.claimBatch(ctx, reqs, left[:n], out, errs)...)
			left = left[n:]
		}
		if round+1 < claimRounds {
			left = s.claimable(ctx, held, errs)
		}
	}
	if err := errs.whole(); err != nil {
		return nil, fmt.Errorf("claim rooms: %w", err)
	}
	for i, err := range errs.errs {
		if err != nil {
			out[i] = snapshot.ClaimResult{Err: err}
		}
	}
	return out, nil
}

// attempt is one room that is being claimed.
type attempt struct {
	index  int
	proof  string          // nonce whose holder has ended, or ""
	holder snapshot.Holder // who holds it, once that is known
}

// claimBatch tries one pipeline of rooms and gives back those that are held.
func (s *Store) claimBatch(ctx context.Context, reqs []snapshot.ClaimRequest, left []attempt, out []snapshot.ClaimResult, errs *outcome) []attempt {
	calls := make([]*call, len(left))
	ended := s.ended.list()
	for i, t := range left {
		r := reqs[t.index]
		args := []any{string(r.Holder), formatNonce(r.Nonce), modeWord(r.Mode), formatEpoch(r.Floor), format(uint64(r.Incarnation)), t.proof}
		for _, h := range ended {
			args = append(args, string(h))
		}
		calls[i] = &call{script: claimScript, keys: []string{s.roomKey(r.Room), s.journalKey(r.Room)}, args: args}
	}
	s.pipeline(ctx, calls)
	var held []attempt
	for i, t := range left {
		f := calls[i].fields()
		switch word := f.text(); word {
		case "OK":
			errs.answer(t.index, nil)
			out[t.index] = claimed(reqs[t.index], f)
		case "HELD":
			e := &snapshot.HeldError{Holder: snapshot.Holder(f.text()), Epoch: wire.Epoch(f.number())}
			held = append(held, attempt{index: t.index, holder: e.Holder, proof: f.text()})
			errs.answer(t.index, e)
		default:
			errs.answer(t.index, f.otherwise(word))
		}
		if f.err != nil {
			errs.unknown(t.index, f.err)
		}
	}
	return held
}

func claimed(r snapshot.ClaimRequest, f *fields) snapshot.ClaimResult {
	c := snapshot.Claim{Room: r.Room, Nonce: r.Nonce}
	c.Incarnation = wire.Incarnation(f.number())
	c.Epoch = wire.Epoch(f.number())
	return snapshot.ClaimResult{Claim: c, Created: f.flag(), Journal: f.journal(), Note: f.note(), Data: f.bytes()}
}

// claimable picks the held rooms whose holder's lease has ended.
func (s *Store) claimable(ctx context.Context, held []attempt, errs *outcome) []attempt {
	if len(held) == 0 {
		return nil
	}
	seen := make(map[snapshot.Holder]bool)
	var holders []snapshot.Holder
	for _, t := range held {
		if !seen[t.holder] {
			seen[t.holder] = true
			holders = append(holders, t.holder)
		}
	}
	ended, failed := s.probe(ctx, holders)
	var again []attempt
	for _, t := range held {
		if err := failed[t.holder]; err != nil {
			errs.unknown(t.index, fmt.Errorf("look up lease of %s: %w", t.holder, err))
		} else if ended[t.holder] {
			again = append(again, t)
		}
	}
	return again
}

func modeWord(m wire.Mode) string {
	switch m {
	case wire.ModeJoin:
		return "join"
	case wire.ModeCreate:
		return "create"
	default:
		return "either"
	}
}

var words = map[string]error{
	"OK":      nil,
	"NOROOM":  snapshot.ErrNoRoom,
	"EXISTS":  snapshot.ErrExists,
	"LOST":    snapshot.ErrMissing,
	"MISSING": snapshot.ErrMissing,
	"FENCED":  snapshot.ErrFenced,
	"GAP":     snapshot.ErrGap,
	"FULL":    snapshot.ErrTooBig,
}

var errScriptAnswer = errors.New("unexpected answer of a script")
