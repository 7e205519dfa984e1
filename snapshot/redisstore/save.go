package redisstore

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
)

// Save stores checkpoints in one round trip.
func (s *Store) Save(ctx context.Context, reqs []snapshot.SaveRequest) ([]error, error) {
	return s.each(ctx, "save checkpoints", len(reqs), func(i int) (*call, error) {
		r := reqs[i]
		if err := r.Check(s.cfg.MaxBytes); err != nil {
			return nil, err
		}
		c := &call{
			script: saveScript,
			keys:   []string{s.roomKey(r.Claim.Room), s.journalKey(r.Claim.Room)},
			args:   []any{formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), format(r.Seq), len(r.Data), format(r.Journal)},
		}
		if len(r.Data) > inlineLimit {
			c.blobKey, c.blob = s.blobKey(r), r.Data
			c.keys = append(c.keys, c.blobKey)
		} else {
			c.args = append(c.args, r.Data)
		}
		return c, nil
	})
}

// Append adds to journals in one round trip.
func (s *Store) Append(ctx context.Context, reqs []snapshot.AppendRequest) ([]error, error) {
	return s.each(ctx, "append to journals", len(reqs), func(i int) (*call, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		args := make([]any, 0, 4+len(r.Entries))
		args = append(args, formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), format(r.First), snapshot.MaxJournalEntries)
		for _, e := range r.Entries {
			args = append(args, e)
		}
		return &call{
			script: appendScript,
			keys:   []string{s.roomKey(r.Claim.Room), s.journalKey(r.Claim.Room)},
			args:   args,
		}, nil
	})
}

// Note puts notes to rooms in one round trip.
func (s *Store) Note(ctx context.Context, reqs []snapshot.NoteRequest) ([]error, error) {
	return s.each(ctx, "note", len(reqs), func(i int) (*call, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		return &call{
			script: noteScript,
			keys:   []string{s.roomKey(r.Claim.Room)},
			args:   []any{formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), format(r.Number), r.Note},
		}, nil
	})
}

// Close writes tombstones in one round trip.
func (s *Store) Close(ctx context.Context, reqs []snapshot.CloseRequest) ([]error, error) {
	return s.each(ctx, "close rooms", len(reqs), func(i int) (*call, error) {
		c := reqs[i].Claim
		if err := c.Check(); err != nil {
			return nil, err
		}
		return &call{
			script: closeScript,
			keys:   []string{s.roomKey(c.Room), s.journalKey(c.Room)},
			args:   []any{formatEpoch(c.Epoch), formatNonce(c.Nonce), tombstone.Milliseconds()},
		}, nil
	})
}

// Check reads the claims in one round trip.
func (s *Store) Check(ctx context.Context, claims []snapshot.Claim) ([]error, error) {
	return s.each(ctx, "check claims", len(claims), func(i int) (*call, error) {
		c := claims[i]
		if err := c.Check(); err != nil {
			return nil, err
		}
		return &call{
			script: checkScript,
			keys:   []string{s.roomKey(c.Room)},
			args:   []any{formatEpoch(c.Epoch), formatNonce(c.Nonce)},
		}, nil
	})
}

// Hold moves claims to a later lease in one round trip.
func (s *Store) Hold(ctx context.Context, reqs []snapshot.HoldRequest) ([]error, error) {
	return s.each(ctx, "hold claims", len(reqs), func(i int) (*call, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		process, count, _ := r.Holder.Split()
		return &call{
			script: holdScript,
			keys:   []string{s.roomKey(r.Claim.Room)},
			args:   []any{formatEpoch(r.Claim.Epoch), formatNonce(r.Claim.Nonce), process, format(count)},
		}, nil
	})
}

// each runs one call a room, whose answer is a word, in pipelines.
func (s *Store) each(ctx context.Context, what string, n int, build func(i int) (*call, error)) ([]error, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	o := newOutcome(n)
	var calls []*call
	var index []int
	flush := func() {
		s.pipeline(ctx, calls)
		for k, c := range calls {
			o.word(index[k], c)
		}
		calls, index = calls[:0], index[:0]
	}
	for i := range n {
		c, err := build(i)
		if err != nil {
			o.answer(i, err)
			continue
		}
		calls, index = append(calls, c), append(index, i)
		if len(calls) == batch {
			flush()
		}
	}
	flush()
	if err := o.whole(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return o.errs, nil
}

// word takes in the answer of a script that gives one word.
func (o *outcome) word(i int, c *call) {
	word, err := c.word()
	if err != nil {
		o.unknown(i, err)
		return
	}
	if err, ok := words[word]; ok {
		o.answer(i, err)
	} else {
		o.unknown(i, fmt.Errorf("%w: %q", errScriptAnswer, word))
	}
}
