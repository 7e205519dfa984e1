package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
)

// twice executes every operation a second time, as a client that retries after
// a lost answer does, and answers with the second outcome.
type twice struct {
	snapshot.Store
	t testing.TB
}

// TakeLease answers with the first outcome: a lease's name is good once, so
// that a repetition hears that the lease is over, and the lease that was taken
// just runs out.
func (s *twice) TakeLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	err := s.Store.TakeLease(ctx, h, ttl)
	if again := s.Store.TakeLease(ctx, h, ttl); err == nil && !errors.Is(again, snapshot.ErrLeaseEnded) {
		s.t.Errorf("lease of %s taken twice: %v", h, again)
	}
	return err
}

func (s *twice) RenewLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	_ = s.Store.RenewLease(ctx, h, ttl)
	return s.Store.RenewLease(ctx, h, ttl)
}

func (s *twice) EndLease(ctx context.Context, h snapshot.Holder) error {
	_ = s.Store.EndLease(ctx, h)
	return s.Store.EndLease(ctx, h)
}

func (s *twice) Claim(ctx context.Context, reqs []snapshot.ClaimRequest) ([]snapshot.ClaimResult, error) {
	_, _ = s.Store.Claim(ctx, reqs)
	return s.Store.Claim(ctx, reqs)
}

func (s *twice) Save(ctx context.Context, reqs []snapshot.SaveRequest) ([]error, error) {
	_, _ = s.Store.Save(ctx, reqs)
	return s.Store.Save(ctx, reqs)
}

func (s *twice) Append(ctx context.Context, reqs []snapshot.AppendRequest) ([]error, error) {
	_, _ = s.Store.Append(ctx, reqs)
	return s.Store.Append(ctx, reqs)
}

func (s *twice) Close(ctx context.Context, reqs []snapshot.CloseRequest) ([]error, error) {
	_, _ = s.Store.Close(ctx, reqs)
	return s.Store.Close(ctx, reqs)
}

func (s *twice) HandOff(ctx context.Context, reqs []snapshot.HandOffRequest) ([]snapshot.HandOffResult, error) {
	_, _ = s.Store.HandOff(ctx, reqs)
	return s.Store.HandOff(ctx, reqs)
}

func (s *twice) Hold(ctx context.Context, reqs []snapshot.HoldRequest) ([]error, error) {
	_, _ = s.Store.Hold(ctx, reqs)
	return s.Store.Hold(ctx, reqs)
}

func (s *twice) Mend(ctx context.Context, reqs []snapshot.MendRequest) ([]snapshot.MendResult, error) {
	_, _ = s.Store.Mend(ctx, reqs)
	return s.Store.Mend(ctx, reqs)
}

func (s *twice) Beat(ctx context.Context, process string, n uint64) (snapshot.Beat, error) {
	b, err := s.Store.Beat(ctx, process, n)
	if again, err := s.Store.Beat(ctx, process, n); err != nil || again.Last < b.Last || again.Mark != b.Mark {
		s.t.Errorf("beat %d: %+v, and again %+v, %v", n, b, again, err)
	}
	return b, err
}

func (s *twice) Note(ctx context.Context, reqs []snapshot.NoteRequest) ([]error, error) {
	_, _ = s.Store.Note(ctx, reqs)
	return s.Store.Note(ctx, reqs)
}
