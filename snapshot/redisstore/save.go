package redisstore

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
)

// Save stores checkpoints in one round trip.
func (s *Store) Save(ctx context.Context, reqs []snapshot.SaveRequest) ([]error, error) {
	return s.each(ctx, "save checkpoints", len(reqs), func(i int) (*call, error) {
		r := &reqs[i]
		if err := r.Check(s.cfg.MaxBytes); err != nil {
			return nil, err
		}
		journal := s.journalKey(r.Claim.Room)
		c := newCall(saveScript, ofJournal(journal), journal)
		c.claim(r.Claim)
		c.number(r.Seq)
		c.number(uint64(len(r.Data)))
		c.number(r.Journal)
		if len(r.Data) > inlineLimit {
			c.blobKey, c.blob = s.blobKey(*r), r.Data
			c.keys = append(c.keys, c.blobKey)
		} else {
			c.bytes(r.Data)
		}
		return c, nil
	})
}

// claim adds a claim's epoch and nonce to the arguments.
func (c *call) claim(of snapshot.Claim) {
	c.number(uint64(of.Epoch))
	c.number(uint64(of.Nonce))
}

// Append adds to journals in one round trip.
func (s *Store) Append(ctx context.Context, reqs []snapshot.AppendRequest) ([]error, error) {
	return s.each(ctx, "append to journals", len(reqs), func(i int) (*call, error) {
		r := &reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		journal := s.journalKey(r.Claim.Room)
		c := newCall(appendScript, ofJournal(journal), journal)
		c.claim(r.Claim)
		c.number(r.First)
		c.number(snapshot.MaxJournalEntries)
		for _, e := range r.Entries {
			c.args = append(c.args, e)
		}
		return c, nil
	})
}

// Note puts notes to rooms in one round trip.
func (s *Store) Note(ctx context.Context, reqs []snapshot.NoteRequest) ([]error, error) {
	return s.each(ctx, "note", len(reqs), func(i int) (*call, error) {
		r := &reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		c := newCall(noteScript, s.roomKey(r.Claim.Room))
		c.claim(r.Claim)
		c.number(r.Number)
		c.bytes(r.Note)
		return c, nil
	})
}

// Close writes tombstones in one round trip.
func (s *Store) Close(ctx context.Context, reqs []snapshot.CloseRequest) ([]error, error) {
	return s.each(ctx, "close rooms", len(reqs), func(i int) (*call, error) {
		of := reqs[i].Claim
		if err := of.Check(); err != nil {
			return nil, err
		}
		c := newCall(closeScript, s.roomKey(of.Room), s.journalKey(of.Room))
		c.claim(of)
		c.number(uint64(tombstone.Milliseconds()))
		return c, nil
	})
}

// Check reads the claims in one round trip.
func (s *Store) Check(ctx context.Context, claims []snapshot.Claim) ([]error, error) {
	return s.each(ctx, "check claims", len(claims), func(i int) (*call, error) {
		if err := claims[i].Check(); err != nil {
			return nil, err
		}
		c := newCall(checkScript, s.roomKey(claims[i].Room))
		c.claim(claims[i])
		return c, nil
	})
}

// Hold moves claims to a later lease in one round trip.
func (s *Store) Hold(ctx context.Context, reqs []snapshot.HoldRequest) ([]error, error) {
	return s.each(ctx, "hold claims", len(reqs), func(i int) (*call, error) {
		r := &reqs[i]
		if err := r.Check(); err != nil {
			return nil, err
		}
		process, count, _ := r.Holder.Split()
		c := newCall(holdScript, s.roomKey(r.Claim.Room))
		c.claim(r.Claim)
		c.args = append(c.args, process)
		c.number(count)
		return c, nil
	})
}

// each runs one call a room, whose answer is a word, in pipelines.
func (s *Store) each(ctx context.Context, what string, n int, build func(i int) (*call, error)) ([]error, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	o := newOutcome(n)
	all := make([]*call, 0, min(n, batch))
	index := make([]int, 0, min(n, batch))
	flush := func() {
		s.pipeline(ctx, all)
		for k, c := range all {
			o.word(index[k], c)
			c.free()
		}
		all, index = all[:0], index[:0]
	}
	for i := range n {
		c, err := build(i)
		if err != nil {
			o.answer(i, err)
			continue
		}
		all, index = append(all, c), append(index, i)
		if len(all) == batch {
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
