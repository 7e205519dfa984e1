package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
)

// TakeLease starts a lease. Beside its key, which expires, a mark remembers
// that it was there: a lease that has ended never comes back.
func (s *Store) TakeLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	ms, err := lifetime(h, ttl)
	if err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	word, err := s.leaseScript(ctx, takeLeaseScript, h, ms, leaseMark.Milliseconds())
	if err != nil {
		return fmt.Errorf("take lease of %s: %w", h, err)
	}
	if word != "OK" {
		return fmt.Errorf("take lease of %s: %w", h, snapshot.ErrLeaseEnded)
	}
	return nil
}

// RenewLease moves the expiry of a key that is there. It can't make one.
func (s *Store) RenewLease(ctx context.Context, h snapshot.Holder, ttl time.Duration) error {
	ms, err := lifetime(h, ttl)
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	there, err := s.renew(ctx, h, uint64(ms))
	if err != nil {
		return fmt.Errorf("renew lease of %s: %w", h, err)
	}
	if !there {
		return fmt.Errorf("renew lease of %s: %w", h, snapshot.ErrLeaseEnded)
	}
	return nil
}

// renewal is the command that renews a lease, used again: a process has one.
type renewal struct {
	holder snapshot.Holder
	key    string
	ms     uint64
	cmd    *redis.BoolCmd
}

func (s *Store) renew(ctx context.Context, h snapshot.Holder, ms uint64) (there bool, err error) {
	r := s.renewal.Swap(nil) // nil for whoever comes at the same time, too
	if r == nil || r.holder != h {
		r = &renewal{holder: h, key: s.leaseKeys(h)[0]}
		r.cmd = redis.NewBoolCmd(context.Background(), "pexpire", &r.key, &r.ms)
	}
	r.ms = ms
	r.cmd.SetErr(nil)
	_ = s.client.Process(ctx, r.cmd)
	there, err = r.cmd.Result()
	s.renewal.Store(r)
	return there, err
}

// EndLease ends a lease for good, also one that was never taken.
func (s *Store) EndLease(ctx context.Context, h snapshot.Holder) error {
	if err := h.Check(); err != nil {
		return fmt.Errorf("end lease: %w", err)
	}
	if _, err := s.leaseScript(ctx, endLeaseScript, h, leaseMark.Milliseconds(), "end"); err != nil {
		return fmt.Errorf("end lease of %s: %w", h, err)
	}
	s.ended.add(h)
	return nil
}

// LeaseAlive reports whether the lease's key is there.
func (s *Store) LeaseAlive(ctx context.Context, h snapshot.Holder) (bool, error) {
	if err := h.Check(); err != nil {
		return false, fmt.Errorf("look up lease: %w", err)
	}
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	n, err := s.client.Exists(ctx, s.leaseKeys(h)[0]).Result()
	if err != nil {
		return false, fmt.Errorf("look up lease of %s: %w", h, err)
	}
	return n == 1, nil
}

func (s *Store) leaseScript(ctx context.Context, sc *script, h snapshot.Holder, args ...any) (string, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	c := &call{script: sc, keys: s.leaseKeys(h), args: args}
	s.pipeline(ctx, []*call{c})
	return c.word()
}

func lifetime(h snapshot.Holder, ttl time.Duration) (int64, error) {
	if err := h.Check(); err != nil {
		return 0, err
	}
	if ttl < time.Millisecond {
		return 0, fmt.Errorf("%w: lease of %v: want 1 ms or more", snapshot.ErrBadRequest, ttl)
	}
	return ttl.Milliseconds(), nil
}

// probe finds out which holders' leases have ended, and makes that final: one
// that claimed before it took its lease can't take it any more. A holder that
// no answer came for is in the error map.
func (s *Store) probe(ctx context.Context, holders []snapshot.Holder) (ended map[snapshot.Holder]bool, failed map[snapshot.Holder]error) {
	ended, failed = make(map[snapshot.Holder]bool), make(map[snapshot.Holder]error)
	calls := make([]*call, len(holders))
	for i, h := range holders {
		calls[i] = &call{script: endLeaseScript, keys: s.leaseKeys(h), args: []any{leaseMark.Milliseconds(), "probe"}}
	}
	s.pipeline(ctx, calls)
	for i, h := range holders {
		word, err := calls[i].word()
		if err != nil {
			failed[h] = err
		} else if ended[h] = word == "ENDED"; ended[h] {
			s.ended.add(h)
		}
	}
	return ended, failed
}

// endedHolders are the last holders that this process knows to have ended, so
// that taking over a dead host's many rooms asks after its lease once.
type endedHolders struct {
	mu   sync.Mutex
	last []snapshot.Holder // newest first, at most 8
}

func (e *endedHolders) add(h snapshot.Holder) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.last, h) {
		e.last = append([]snapshot.Holder{h}, e.last[:min(len(e.last), 7)]...)
	}
}

func (e *endedHolders) list() []snapshot.Holder {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last // never written in place
}
