package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
)

// Save stores checkpoints, a transaction for up to 128 of them.
func (s *Store) Save(ctx context.Context, reqs []snapshot.SaveRequest) ([]error, error) {
	return s.each(ctx, "save checkpoints", len(reqs), func(ctx context.Context, tx *sql.Tx, i int) (error, error) {
		r := reqs[i]
		if err := r.Check(s.cfg.MaxBytes); err != nil {
			return err, nil
		}
		data := r.Data
		if data == nil {
			data = []byte{} // NULL stands for a room that never saved
		}
		res, err := tx.ExecContext(ctx, "UPDATE room SET seq = ?, prev = data, data = ? WHERE name = ? AND epoch = ? AND nonce = ? AND closed = 0 AND seq < ?",
			int64(r.Seq), data, string(r.Claim.Room), int64(r.Claim.Epoch), int64(r.Claim.Nonce), int64(r.Seq))
		if err != nil {
			return nil, err
		}
		if n, err := res.RowsAffected(); err != nil {
			return nil, err
		} else if n == 1 {
			return nil, truncate(ctx, tx, r)
		}
		return standing(ctx, tx, r.Claim, false) // nil: an older or a repeated save
	})
}

// Note puts notes to rooms, a transaction for up to 128 of them.
func (s *Store) Note(ctx context.Context, reqs []snapshot.NoteRequest) ([]error, error) {
	return s.each(ctx, "note", len(reqs), func(ctx context.Context, tx *sql.Tx, i int) (error, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return err, nil
		}
		if verdict, err := standing(ctx, tx, r.Claim, false); verdict != nil || err != nil {
			return verdict, err
		}
		_, err := tx.ExecContext(ctx, "UPDATE room SET noted = ?, note = ? WHERE name = ? AND noted < ?",
			int64(r.Number), r.Note, string(r.Claim.Room), int64(r.Number))
		return nil, err
	})
}

// Close writes tombstones, and takes away those that have stood long enough.
func (s *Store) Close(ctx context.Context, reqs []snapshot.CloseRequest) ([]error, error) {
	swept := false
	return s.each(ctx, "close rooms", len(reqs), func(ctx context.Context, tx *sql.Tx, i int) (error, error) {
		c := reqs[i].Claim
		if err := c.Check(); err != nil {
			return err, nil
		}
		if !swept {
			swept = true
			if _, err := tx.ExecContext(ctx, "DELETE FROM room WHERE closed > 0 AND closed < ?", nowMS()-tombstone.Milliseconds()); err != nil {
				return nil, err
			}
		}
		if verdict, err := standing(ctx, tx, c, true); verdict != nil || err != nil {
			return verdict, err
		}
		_, err := tx.ExecContext(ctx, "UPDATE room SET closed = ?, base = 0, noted = 0, note = NULL, data = NULL, prev = NULL WHERE name = ? AND closed = 0", nowMS(), string(c.Room))
		if err != nil {
			return nil, err
		}
		return nil, dropJournal(ctx, tx, c.Room)
	})
}

// Check reads the claims.
func (s *Store) Check(ctx context.Context, claims []snapshot.Claim) ([]error, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]error, len(claims))
	for i, c := range claims {
		if out[i] = c.Check(); out[i] != nil {
			continue
		}
		verdict, err := standing(ctx, s.read, c, false)
		if err != nil {
			return nil, fmt.Errorf("check claims: %w", plain(err))
		}
		out[i] = verdict
	}
	return out, nil
}

// standing is the store's word on a claim: nil, ErrFenced or ErrMissing. A
// closed room's claim has ended, unless closed ones are asked for.
func standing(ctx context.Context, q queryer, c snapshot.Claim, closedToo bool) (verdict, err error) {
	var epoch, nonce, closed int64
	err = q.QueryRowContext(ctx, "SELECT epoch, nonce, closed FROM room WHERE name = ?", string(c.Room)).Scan(&epoch, &nonce, &closed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return snapshot.ErrMissing, nil
	case err != nil:
		return nil, err
	case epoch < int64(c.Epoch):
		return snapshot.ErrMissing, nil
	case epoch != int64(c.Epoch) || nonce != int64(c.Nonce) || closed > 0 && !closedToo:
		return snapshot.ErrFenced, nil
	}
	return nil, nil
}

// each runs f, which answers a room's verdict and the call's error.
func (s *Store) each(ctx context.Context, what string, n int, f func(ctx context.Context, tx *sql.Tx, i int) (verdict, err error)) ([]error, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]error, n)
	err := s.batches(ctx, n, func(tx *sql.Tx, i int) error {
		verdict, err := f(ctx, tx, i)
		out[i] = verdict
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}
