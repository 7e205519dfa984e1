package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

// TakeLease starts a lease. Rows of leases that ended long ago go with it.
func (s *Store) TakeLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	if err := checkLease(h, ttl); err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	err := s.change(ctx, func(tx *sql.Tx) error {
		now := nowMS()
		if _, err := tx.ExecContext(ctx, "DELETE FROM lease WHERE seen < ? AND expires < ?", now-leaseMark.Milliseconds(), now); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, "INSERT INTO lease (holder, expires, seen) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(h), now+ttl.Milliseconds(), now)
		return oneRow(r, err)
	})
	if err != nil {
		return fmt.Errorf("take lease of %s: %w", h, err)
	}
	return nil
}

// RenewLease extends a lease that runs.
func (s *Store) RenewLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	if err := checkLease(h, ttl); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	var gone bool
	err := s.change(ctx, func(tx *sql.Tx) error {
		expires, err := expiry(ctx, tx, h)
		now := nowMS()
		switch gone = expires <= now; {
		case err != nil || expires == 0:
			return err
		case gone:
			return endLease(ctx, tx, h)
		}
		_, err = tx.ExecContext(ctx, "UPDATE lease SET expires = ?, seen = ? WHERE holder = ?", now+ttl.Milliseconds(), now, string(h))
		return err
	})
	if err == nil && gone {
		err = snapshot.ErrLeaseEnded
	}
	if err != nil {
		return fmt.Errorf("renew lease of %s: %w", h, err)
	}
	return nil
}

// EndLease ends a lease for good, also one that was never taken.
func (s *Store) EndLease(ctx context.Context, h snapshot.Holder) error {
	if err := h.Check(); err != nil {
		return fmt.Errorf("end lease: %w", err)
	}
	err := s.change(ctx, func(tx *sql.Tx) error { return endLease(ctx, tx, h) })
	if err != nil {
		return fmt.Errorf("end lease of %s: %w", h, err)
	}
	return nil
}

// LeaseAlive reports whether a lease runs. One that is found to have run out
// is ended for good; a holder that was never seen stays so.
func (s *Store) LeaseAlive(ctx context.Context, h snapshot.Holder) (bool, error) {
	if err := h.Check(); err != nil {
		return false, fmt.Errorf("look up lease: %w", err)
	}
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	expires, err := expiry(ctx, s.read, h)
	switch {
	case err != nil:
		return false, fmt.Errorf("look up lease of %s: %w", h, plain(err))
	case expires > nowMS():
		return true, nil
	case expires > 0:
		return false, s.EndLease(ctx, h)
	}
	return false, nil
}

// expiry is when a lease runs out, 0 where it was ended or never taken.
func expiry(ctx context.Context, q queryer, h snapshot.Holder) (ms int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT expires FROM lease WHERE holder = ?", string(h)).Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return ms, err
}

// ended reports whether a lease has ended, and makes that final where it has:
// neither a clock set back nor a late TakeLease brings it to life.
func ended(ctx context.Context, tx *sql.Tx, h snapshot.Holder) (bool, error) {
	ms, err := expiry(ctx, tx, h)
	if err != nil || ms > nowMS() {
		return false, err
	}
	return true, endLease(ctx, tx, h)
}

func endLease(ctx context.Context, tx *sql.Tx, h snapshot.Holder) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO lease (holder, expires, seen) VALUES (?, 0, ?) ON CONFLICT (holder) DO UPDATE SET expires = 0", string(h), nowMS())
	return err
}

func checkLease(h snapshot.Holder, ttl time.Duration) error {
	if err := h.Check(); err != nil {
		return err
	}
	if ttl < time.Millisecond {
		return fmt.Errorf("%w: lease of %v: want 1 ms or more", snapshot.ErrBadRequest, ttl)
	}
	return nil
}

// oneRow answers ErrLeaseEnded where a statement met no lease to change.
func oneRow(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return snapshot.ErrLeaseEnded
	}
	return err
}
