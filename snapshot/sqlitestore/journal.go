package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Append adds to journals, a transaction for up to 128 rooms.
func (s *Store) Append(ctx context.Context, reqs []snapshot.AppendRequest) ([]error, error) {
	return s.each(ctx, "append to journals", len(reqs), func(ctx context.Context, tx *sql.Tx, i int) (error, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return err, nil
		}
		if verdict, err := standing(ctx, tx, r.Claim, false); verdict != nil || err != nil {
			return verdict, err
		}
		return addEntries(ctx, tx, r)
	})
}

func addEntries(ctx context.Context, tx *sql.Tx, r snapshot.AppendRequest) (verdict, err error) {
	var base, last uint64
	err = tx.QueryRowContext(ctx, "SELECT base, coalesce((SELECT max(n) FROM journal WHERE journal.name = room.name), base) FROM room WHERE name = ?",
		string(r.Claim.Room)).Scan(&base, &last)
	if err != nil {
		return nil, err
	}
	have := last + 1 - r.First // entries of the request that are there
	switch {
	case r.First > last+1:
		return fmt.Errorf("%w: entry %d after %d", snapshot.ErrGap, r.First, last), nil
	case have >= uint64(len(r.Entries)):
		return nil, nil
	case last-base+uint64(len(r.Entries))-have > snapshot.MaxJournalEntries:
		return fmt.Errorf("%w: a journal has at most %d entries", snapshot.ErrTooBig, snapshot.MaxJournalEntries), nil
	}
	for i, e := range r.Entries[have:] {
		if e == nil {
			e = []byte{}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO journal (name, n, entry) VALUES (?, ?, ?)",
			string(r.Claim.Room), int64(last)+1+int64(i), e); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// truncate drops the entries that a checkpoint covers.
func truncate(ctx context.Context, tx *sql.Tx, r snapshot.SaveRequest) error {
	if r.Journal == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "UPDATE room SET base = max(base, ?) WHERE name = ?", int64(r.Journal), string(r.Claim.Room)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM journal WHERE name = ? AND n <= ?", string(r.Claim.Room), int64(r.Journal))
	return err
}

func dropJournal(ctx context.Context, tx *sql.Tx, room wire.RoomID) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM journal WHERE name = ?", string(room))
	return err
}

func readJournal(ctx context.Context, tx *sql.Tx, room wire.RoomID, base int64) (snapshot.Journal, error) {
	j := snapshot.Journal{Base: uint64(base)}
	rows, err := tx.QueryContext(ctx, "SELECT entry FROM journal WHERE name = ? ORDER BY n", string(room))
	if err != nil {
		return j, err
	}
	defer rows.Close()
	for rows.Next() {
		var e []byte
		if err := rows.Scan(&e); err != nil {
			return j, err
		}
		j.Entries = append(j.Entries, e)
	}
	return j, rows.Err()
}
