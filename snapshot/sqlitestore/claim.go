package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// row is a room as it stands in the file; without an epoch it is not there.
type row struct {
	incarnation, epoch int64
	nonce              int64
	created            bool // by the claim that stands
	holder             string
	seq, closed        int64
	base               int64 // of the journal
	note               []byte
	data               []byte
	hasData            bool
	owed               bool // see owedSchema
}

func (r *row) open() bool { return r.epoch > 0 && r.closed == 0 }

// stateless reports whether a room that was lost has nothing but a record since.
func (r *row) stateless(j snapshot.Journal) bool {
	return r.owed && r.open() && !r.hasData && j.Last() == 0
}

const selectRoom = "SELECT incarnation, epoch, nonce, created, holder, seq, closed, base, note, data, data IS NOT NULL, owed FROM room WHERE name = ?"

// queryer is a transaction or a pool.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readRoom(ctx context.Context, q queryer, room wire.RoomID) (row, error) {
	var r row
	err := q.QueryRowContext(ctx, selectRoom, string(room)).Scan(
		&r.incarnation, &r.epoch, &r.nonce, &r.created, &r.holder, &r.seq, &r.closed, &r.base, &r.note, &r.data, &r.hasData, &r.owed)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	if r.hasData && r.data == nil {
		r.data = []byte{}
	}
	return r, err
}

// Claim takes rooms, a transaction for up to 128 of them.
func (s *Store) Claim(ctx context.Context, reqs []snapshot.ClaimRequest) ([]snapshot.ClaimResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.ClaimResult, len(reqs))
	err := s.batches(ctx, len(reqs), func(tx *sql.Tx, i int) error {
		if err := reqs[i].Check(); err != nil {
			out[i].Err = err
			return nil
		}
		r, err := claim(ctx, tx, reqs[i])
		out[i] = r
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim rooms: %w", err)
	}
	return out, nil
}

// batches runs f for each request, in as few transactions as may be.
func (s *Store) batches(ctx context.Context, n int, f func(tx *sql.Tx, i int) error) error {
	for from := 0; from < n; from += batch {
		err := s.change(ctx, func(tx *sql.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				if err := f(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func claim(ctx context.Context, tx *sql.Tx, req snapshot.ClaimRequest) (snapshot.ClaimResult, error) {
	r, err := readRoom(ctx, tx, req.Room)
	if err != nil {
		return snapshot.ClaimResult{}, err
	}
	if r.epoch > 0 && r.nonce == int64(req.Nonce) && r.holder == string(req.Holder) {
		if r.closed > 0 {
			return snapshot.ClaimResult{Err: snapshot.ErrNoRoom}, nil
		}
		return claimed(ctx, tx, req, r)
	}
	if r.owed {
		journal, err := readJournal(ctx, tx, req.Room, r.base)
		if err != nil {
			return snapshot.ClaimResult{}, err
		}
		r.owed = r.stateless(journal)
	}
	fresh, refusal := verdict(r, req)
	if refusal != nil {
		return snapshot.ClaimResult{Err: refusal}, nil
	}
	if r.open() && r.holder != string(req.Holder) {
		gone, err := ended(ctx, tx, snapshot.Holder(r.holder))
		if err != nil {
			return snapshot.ClaimResult{}, err
		}
		if !gone {
			held := &snapshot.HeldError{Holder: snapshot.Holder(r.holder), Epoch: wire.Epoch(r.epoch)}
			return snapshot.ClaimResult{Err: held}, nil
		}
	}
	if r.owed && !fresh && req.Incarnation == 0 {
		return snapshot.ClaimResult{Err: snapshot.ErrMissing}, nil
	}
	r.epoch = max(r.epoch, int64(req.Floor), nowMS()) + 1
	r.nonce, r.holder, r.created = int64(req.Nonce), string(req.Holder), fresh
	if fresh {
		r.incarnation, r.data, r.note, r.base = int64(req.Incarnation), nil, nil, 0
		r.owed = req.Incarnation > 0
		if r.incarnation == 0 {
			r.incarnation = r.epoch
		}
	}
	if err := takeRoom(ctx, tx, req.Room, r, fresh); err != nil {
		return snapshot.ClaimResult{}, err
	}
	return claimed(ctx, tx, req, r)
}

// verdict says whether a claim creates the room, or why it is refused whoever
// holds it.
func verdict(r row, req snapshot.ClaimRequest) (fresh bool, refusal error) {
	if want := int64(req.Incarnation); want > 0 {
		if r.incarnation > want || r.incarnation == want && !r.open() {
			return false, snapshot.ErrNoRoom
		}
		return r.incarnation < want, nil
	}
	fresh = !r.open() || r.owed && req.Mode == wire.ModeCreate
	switch {
	case r.epoch == 0 && req.Floor > 0 && req.Mode != wire.ModeCreate: // it was seen
		return false, snapshot.ErrMissing
	case !fresh && req.Mode == wire.ModeCreate:
		return false, snapshot.ErrExists
	case fresh && req.Mode == wire.ModeJoin:
		return false, snapshot.ErrNoRoom
	}
	return fresh, nil
}

func takeRoom(ctx context.Context, tx *sql.Tx, room wire.RoomID, r row, fresh bool) error {
	if !fresh {
		_, err := tx.ExecContext(ctx, "UPDATE room SET epoch = ?, nonce = ?, created = 0, holder = ?, seq = 0 WHERE name = ?",
			r.epoch, r.nonce, r.holder, string(room))
		return err
	}
	if err := dropJournal(ctx, tx, room); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO room (name, incarnation, epoch, nonce, created, holder, seq, closed, owed, data)
		VALUES (?, ?, ?, ?, 1, ?, 0, 0, ?, NULL)
		ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, epoch = excluded.epoch, nonce = excluded.nonce,
			created = 1, holder = excluded.holder, seq = 0, closed = 0, owed = excluded.owed, base = 0, noted = 0, note = NULL, data = NULL, prev = NULL`,
		string(room), r.incarnation, r.epoch, r.nonce, r.holder, r.owed)
	return err
}

func claimed(ctx context.Context, tx *sql.Tx, req snapshot.ClaimRequest, r row) (snapshot.ClaimResult, error) {
	journal, err := readJournal(ctx, tx, req.Room, r.base)
	return snapshot.ClaimResult{
		Claim: snapshot.Claim{
			Room: req.Room, Incarnation: wire.Incarnation(r.incarnation),
			Epoch: wire.Epoch(r.epoch), Nonce: snapshot.Nonce(r.nonce),
		},
		Created: r.created,
		Data:    r.data,
		Journal: journal,
		Note:    r.note,
	}, err
}
