package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
)

const (
	leaseMargin    = 200 * time.Millisecond // between this clock's idea of the end and the store's
	leaseCall      = 250 * time.Millisecond // bound on a call that renews
	leaseRetry     = 50 * time.Millisecond  // after a failed call
	storeGoneAfter = time.Second            // of failures, seen awake, until rooms go on without
)

// lease is this process's lease in the store, and with it the answer to
// whether rooms may speak.
//
// Rooms hold from the moment when the lease may have ended by this process's
// own clock until the store has answered: it renews, or says that the lease
// has ended. Then the process takes a new one and checks all claims before any
// room goes on. Only when the store can't be asked for a second do rooms go on
// without a lease ("adrift").
type lease struct {
	host *Host
	base time.Time // of the monotonic clock

	until  atomic.Int64 // on the monotonic clock: rooms may speak before
	adrift atomic.Bool

	mu      sync.Mutex
	holder  snapshot.Holder // the last one taken
	changed chan struct{}   // closed and replaced when until has moved

	ended chan struct{} // closed when run has returned

	calls  sync.Mutex         // held over calls that take or renew
	within snapshot.Deadlines // of these calls; guarded by calls
	keep   time.Time          // leases last at least until then; guarded by calls
	// The last lease that renew had confirmed, and when; guarded by calls.
	confirmed   snapshot.Holder
	confirmedAt time.Duration

	again chan struct{} // capacity 1: attempt at once

	// Owned by run.
	timer    *time.Timer // of its rests
	count    int
	held     bool // holder was taken and has not been answered as ended
	settled  bool // claims were checked under it
	failures int  // calls in a row
	since    time.Duration
	beat     time.Duration // when the last attempt ended
}

func newLease(h *Host) *lease {
	l := &lease{host: h, base: time.Now(), changed: make(chan struct{}), ended: make(chan struct{}), again: make(chan struct{}, 1)}
	if in := h.cfg.Inherited; in != nil { // this process's own, by another program
		l.holder, l.count, l.held, l.settled = in.Lease, in.Leases, true, true
	}
	return l
}

// taken is how many leases this process has taken.
func (l *lease) taken() int {
	l.calls.Lock()
	defer l.calls.Unlock()
	return l.count
}

// hold makes the lease last at least until a time, once and for all. It is
// called when the lease is granted.
func (l *lease) hold(ctx context.Context, until time.Time) error {
	l.calls.Lock()
	defer l.calls.Unlock()
	if err := l.host.cfg.Store.RenewLease(ctx, l.current(), time.Until(until)); err != nil {
		return fmt.Errorf("hold lease: %w", err)
	}
	l.keep = until
	return nil
}

// now is the monotonic clock.
func (l *lease) now() time.Duration { return time.Since(l.base) }

// valid reports whether rooms may speak.
func (l *lease) valid() bool { return int64(l.now()) < l.until.Load() }

// granted reports whether the store's lease runs, beyond doubt.
func (l *lease) granted() bool { return l.valid() && !l.adrift.Load() }

// current is the lease that new claims name, "" before there is one.
func (l *lease) current() snapshot.Holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// pass returns when a room whose context is ctx may speak, or with ctx's cause:
// one that was ended says no more, whatever the lease.
func (l *lease) pass(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.valid() {
		return nil
	}
	l.host.metrics.holds.Inc()
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if l.valid() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await returns when the store has granted the lease, or with ctx's cause.
func (l *lease) await(ctx context.Context) error {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if l.granted() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// set moves the end of the time in which rooms may speak.
func (l *lease) set(until time.Duration) {
	l.until.Store(int64(until))
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps the lease until ctx is done, then ends it.
func (l *lease) run(ctx context.Context) error {
	defer close(l.ended)
	defer l.release()
	for ctx.Err() == nil {
		sent := l.now()
		err := l.attempt(ctx)
		wait := l.host.cfg.LeaseTTL / 4
		switch {
		case err == nil:
			l.extend(sent)
		case errors.Is(err, snapshot.ErrLeaseEnded):
			l.lost()
			wait = leaseRetry
		case ctx.Err() == nil:
			l.failed(err)
			wait = leaseRetry
		}
		l.beat = l.now()
		l.rest(ctx, wait)
	}
	return nil
}

// rest waits until the next attempt is due.
func (l *lease) rest(ctx context.Context, d time.Duration) {
	if l.timer == nil {
		l.timer = time.NewTimer(d)
	} else {
		l.timer.Reset(d)
	}
	defer l.timer.Stop()
	select {
	case <-l.timer.C:
	case <-l.again:
	case <-ctx.Done():
	}
}

// confirm returns when the store has confirmed that a lease of this process runs
// and all claims were checked under it, or with ctx's cause. A store that lost its data has lost the lease too, and a
// claim under one that is not there is anybody's.
func (l *lease) confirm(ctx context.Context) error {
	began := l.now()
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		holder := l.current()
		err := l.renew(ctx, holder, began)
		switch {
		case err == nil && holder == l.current() && l.granted():
			return nil
		case errors.Is(err, snapshot.ErrLeaseEnded):
			select {
			case l.again <- struct{}{}:
			default:
			}
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// renew has the store confirm a lease, unless it has done so since a time.
func (l *lease) renew(ctx context.Context, holder snapshot.Holder, since time.Duration) error {
	l.calls.Lock()
	defer l.calls.Unlock()
	if l.confirmed == holder && l.confirmedAt > since {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	asked := l.now()
	short := l.within.Begin(leaseCall)
	defer l.within.End()
	err := l.host.cfg.Store.RenewLease(short, holder, max(l.host.cfg.LeaseTTL, time.Until(l.keep)))
	if err == nil {
		l.confirmed, l.confirmedAt = holder, asked
	}
	return err
}

// attempt renews the lease, or takes one and checks the claims.
func (l *lease) attempt(ctx context.Context) error {
	l.calls.Lock()
	defer l.calls.Unlock()
	short := l.within.Begin(leaseCall)
	defer l.within.End()
	store, ttl := l.host.cfg.Store, max(l.host.cfg.LeaseTTL, time.Until(l.keep))
	if l.held {
		fault.Point("lease.before-renew")
		if err := store.RenewLease(short, l.holder, ttl); err != nil {
			return fmt.Errorf("renew lease: %w", err)
		}
		fault.Point("lease.renewed")
	} else if err := l.take(short); err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	if l.settled {
		return nil
	}
	if err := l.host.settleClaims(ctx, l.holder); err != nil {
		return fmt.Errorf("check claims: %w", err)
	}
	l.settled = true
	return nil
}

// take asks for a lease under a new count: whether an earlier answer was lost
// does not matter then.
func (l *lease) take(ctx context.Context) error {
	l.count++
	holder := snapshot.Holder(fmt.Sprintf("%s/%d", l.host.cfg.Node, l.count))
	if err := l.host.cfg.Store.TakeLease(ctx, holder, l.host.cfg.LeaseTTL); err != nil {
		return err
	}
	l.mu.Lock()
	l.holder = holder
	l.mu.Unlock()
	l.held, l.settled = true, false
	return nil
}

// extend opens the gate. The store counts from when the call reached it, which
// is not before sent; 1 % is for clocks that run at different rates.
func (l *lease) extend(sent time.Duration) {
	if l.adrift.Swap(false) {
		l.host.log.Info().Msg("store answers again")
	}
	l.failures = 0
	l.host.metrics.lease.Set(1)
	l.host.storeChanged(&l.host.storeUp.leaseDown, false)
	l.set(sent + l.host.cfg.LeaseTTL - l.host.cfg.LeaseTTL/100 - leaseMargin)
}

// lost closes the gate: others may have taken rooms over.
func (l *lease) lost() {
	l.adrift.Store(false)
	l.set(0)
	l.failures = 0
	l.host.metrics.lease.Set(0)
	if l.held {
		l.host.metrics.leasesLost.Inc()
		l.host.log.Warn().Str("lease", string(l.holder)).Msg("lease has ended, holding all rooms until claims are checked")
	}
	l.held, l.settled = false, false
}

// failed notes that the store did not answer. Time that this process slept
// through says nothing about the store, so a gap starts the count anew.
func (l *lease) failed(err error) {
	now := l.now()
	if now-l.beat > l.host.cfg.LeaseTTL/4+4*leaseCall {
		l.failures = 0
	}
	if l.failures++; l.failures == 1 {
		l.since = now
	}
	if l.failures == 2 {
		l.host.storeChanged(&l.host.storeUp.leaseDown, true)
	}
	if l.failures < 3 || now-l.since < storeGoneAfter || l.adrift.Load() {
		return
	}
	l.host.log.Error().Err(err).Msg("store can't be asked: rooms go on without a lease")
	l.adrift.Store(true)
	l.host.metrics.lease.Set(-1)
	l.set(math.MaxInt64)
}

// release ends the lease, so that others can claim the rooms at once.
func (l *lease) release() {
	if !l.held || l.host.forsaken.Load() { // the next process has the rooms
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.host.cfg.Store.EndLease(ctx, l.holder); err != nil {
		l.host.log.Warn().Err(err).Msg("lease not ended, it runs out by itself")
	}
}

// nodeOf is the process in a holder's name, NAME#BOOT/COUNT.
func nodeOf(h snapshot.Holder) directory.NodeID {
	at := strings.LastIndexByte(string(h), '/')
	if at < 0 {
		return directory.NodeID(h)
	}
	return directory.NodeID(h[:at])
}

// sleep waits for d or ctx.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
