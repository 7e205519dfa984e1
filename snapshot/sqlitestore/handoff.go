package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// HandOff passes claims on, a transaction for up to 128 of them.
func (s *Store) HandOff(ctx context.Context, reqs []snapshot.HandOffRequest) ([]snapshot.HandOffResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.HandOffResult, len(reqs))
	err := s.batches(ctx, len(reqs), func(tx *sql.Tx, i int) error {
		if err := reqs[i].Check(s.cfg.MaxBytes); err != nil {
			out[i].Err = err
			return nil
		}
		r, err := handOff(ctx, tx, reqs[i])
		out[i] = r
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hand rooms off: %w", err)
	}
	return out, nil
}

func handOff(ctx context.Context, tx *sql.Tx, req snapshot.HandOffRequest) (snapshot.HandOffResult, error) {
	r, err := readRoom(ctx, tx, req.Claim.Room)
	if err != nil {
		return snapshot.HandOffResult{}, err
	}
	next := snapshot.Claim{Room: req.Claim.Room, Incarnation: wire.Incarnation(r.incarnation), Nonce: req.Nonce}
	switch {
	case r.epoch < int64(req.Claim.Epoch):
		return snapshot.HandOffResult{Err: snapshot.ErrMissing}, nil
	case r.closed > 0:
		return snapshot.HandOffResult{Err: snapshot.ErrFenced}, nil
	case r.nonce == int64(req.Nonce) && r.holder == string(req.Holder): // the same again
		next.Epoch = wire.Epoch(r.epoch)
		return snapshot.HandOffResult{Claim: next}, nil
	case r.epoch != int64(req.Claim.Epoch) || r.nonce != int64(req.Claim.Nonce):
		return snapshot.HandOffResult{Err: snapshot.ErrFenced}, nil
	}
	if req.Seq > 0 {
		if err := truncate(ctx, tx, snapshot.SaveRequest{Claim: req.Claim, Journal: req.Journal}); err != nil {
			return snapshot.HandOffResult{}, err
		}
		if r.data = req.Data; r.data == nil {
			r.data = []byte{} // NULL stands for a room that never saved
		}
	}
	raised := max(r.epoch, nowMS()) + 1
	next.Epoch = wire.Epoch(raised)
	_, err = tx.ExecContext(ctx, `UPDATE room SET epoch = ?, nonce = ?, created = 0, holder = ?, seq = ?,
		prev = iif(?, data, prev), data = ? WHERE name = ?`,
		raised, int64(req.Nonce), string(req.Holder), int64(req.Seq), req.Seq > 0, r.data, string(req.Claim.Room))
	return snapshot.HandOffResult{Claim: next}, err
}

// Hold moves claims to a later lease, a transaction for up to 128 of them.
func (s *Store) Hold(ctx context.Context, reqs []snapshot.HoldRequest) ([]error, error) {
	return s.each(ctx, "hold claims", len(reqs), func(ctx context.Context, tx *sql.Tx, i int) (error, error) {
		r := reqs[i]
		if err := r.Check(); err != nil {
			return err, nil
		}
		if verdict, err := standing(ctx, tx, r.Claim, false); verdict != nil || err != nil {
			return verdict, err
		}
		var old string
		err := tx.QueryRowContext(ctx, "SELECT holder FROM room WHERE name = ?", string(r.Claim.Room)).Scan(&old)
		if err != nil {
			return nil, err
		}
		before, had, _ := snapshot.Holder(old).Split()
		process, count, _ := r.Holder.Split()
		switch {
		case before != process:
			return snapshot.ErrFenced, nil
		case had >= count:
			return nil, nil
		}
		_, err = tx.ExecContext(ctx, "UPDATE room SET holder = ? WHERE name = ?", string(r.Holder), string(r.Claim.Room))
		return nil, err
	})
}
