package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

// keepAside is how long what was set aside can be looked at.
const keepAside = 30 * 24 * time.Hour

// Mend sets damaged checkpoints and journals aside, a transaction for up to 128
// rooms.
func (s *Store) Mend(ctx context.Context, reqs []snapshot.MendRequest) ([]snapshot.MendResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.MendResult, len(reqs))
	err := s.batches(ctx, len(reqs), func(tx *sql.Tx, i int) error {
		r, err := mend(ctx, tx, reqs[i])
		out[i] = r
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mend rooms: %w", err)
	}
	return out, nil
}

func mend(ctx context.Context, tx *sql.Tx, req snapshot.MendRequest) (res snapshot.MendResult, err error) {
	if err := req.Check(); err != nil {
		return snapshot.MendResult{Err: err}, nil
	}
	if verdict, err := standing(ctx, tx, req.Claim, false); verdict != nil || err != nil {
		return snapshot.MendResult{Err: verdict}, err
	}
	if req.Entry > 0 {
		err = setEntriesAside(ctx, tx, req)
	} else {
		res.Err, err = setCheckpointAside(ctx, tx, req)
	}
	if err != nil || res.Err != nil {
		return res, err
	}
	r, err := readRoom(ctx, tx, req.Claim.Room)
	if err != nil {
		return res, err
	}
	res.Data = r.data
	res.Journal, err = readJournal(ctx, tx, req.Claim.Room, r.base)
	return res, err
}

// setCheckpointAside puts the checkpoint before it in its place, once a claim.
func setCheckpointAside(ctx context.Context, tx *sql.Tx, req snapshot.MendRequest) (verdict, err error) {
	name, epoch := string(req.Claim.Room), int64(req.Claim.Epoch)
	var done, older bool
	err = tx.QueryRowContext(ctx, "SELECT coalesce(mended = ?, 0), prev IS NOT NULL FROM room WHERE name = ?", epoch, name).Scan(&done, &older)
	switch {
	case err != nil || done:
		return nil, err
	case !older:
		return snapshot.ErrMissing, nil
	}
	return nil, inOrder(ctx, tx,
		statement{"DELETE FROM aside WHERE at < ?", []any{nowMS() - keepAside.Milliseconds()}},
		statement{"INSERT INTO aside (name, entry, at, data) SELECT name, 0, ?, data FROM room WHERE name = ?", []any{nowMS(), name}},
		statement{`UPDATE room SET data = prev, prev = NULL, mended = ?,
			base = coalesce((SELECT max(n) FROM journal WHERE journal.name = room.name), base) WHERE name = ?`, []any{epoch, name}},
		statement{"DELETE FROM journal WHERE name = ?", []any{name}},
	)
}

// setEntriesAside passes over an entry that the checkpoint covers: a later save
// came first.
func setEntriesAside(ctx context.Context, tx *sql.Tx, req snapshot.MendRequest) error {
	const where = " FROM journal WHERE name = ? AND n >= ? AND (SELECT base FROM room WHERE room.name = journal.name) < ?"
	name, from := string(req.Claim.Room), int64(req.Entry)
	return inOrder(ctx, tx,
		statement{"INSERT INTO aside (name, entry, at, data) SELECT name, n, ?, entry" + where, []any{nowMS(), name, from, from}},
		statement{"DELETE" + where, []any{name, from, from}},
	)
}

type statement struct {
	text string
	args []any
}

func inOrder(ctx context.Context, tx *sql.Tx, all ...statement) error {
	for _, s := range all {
		if _, err := tx.ExecContext(ctx, s.text, s.args...); err != nil {
			return err
		}
	}
	return nil
}
