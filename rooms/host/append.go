package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
)

const (
	appendRooms  = 512 // in a call
	appendBytes  = 4 << 20
	appendWithin = time.Second           // bound on a call
	appendRetry  = 20 * time.Millisecond // after a failed call, doubling
	appendPause  = 250 * time.Millisecond
)

// appender writes the journals of all rooms of a host: while one call of the
// store is under way, the next one fills. What it holds is bounded by the
// rooms, which stop when theirs is too much.
type appender struct {
	store   snapshot.Store
	metrics *metrics
	wake    chan struct{} // capacity 1

	mu    sync.Mutex
	queue []*tail // have entries to send; guarded by mu
}

// tail is the part of a room's journal that the store has not confirmed.
type tail struct {
	claim snapshot.Claim
	wake  func() // tells the room to look at stored, fault and lag

	stored atomic.Uint64         // the last entry that is in the store
	fault  atomic.Pointer[error] // the store's word that ended the sending

	// Guarded by the appender's mu.
	first   uint64 // number of entries[0]
	entries [][]byte
	bytes   int
	since   time.Time // when the oldest one came
	queued  bool
	sending int  // of entries, in the call under way
	halted  bool // waits for a checkpoint
	over    bool
}

func newAppender(store snapshot.Store, m *metrics) *appender {
	return &appender{store: store, metrics: m, wake: make(chan struct{}, 1)}
}

// add puts entries behind those that wait.
func (a *appender) add(t *tail, first uint64, entries [][]byte) {
	if len(entries) == 0 {
		return
	}
	a.mu.Lock()
	if len(t.entries) == 0 {
		t.first, t.since = first, time.Now()
	}
	t.entries = append(t.entries, entries...)
	for _, e := range entries {
		t.bytes += len(e)
	}
	a.enqueue(t)
	a.mu.Unlock()
	a.nudge()
}

// enqueue has a tail sent where there is anything to send; mu is held.
func (a *appender) enqueue(t *tail) {
	if !t.queued && !t.halted && !t.over && t.sending == 0 && len(t.entries) > 0 {
		t.queued = true
		a.queue = append(a.queue, t)
	}
}

func (a *appender) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// lag is what waits of a room, and since when.
func (a *appender) lag(t *tail) (entries, bytes int, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(t.entries) == 0 {
		return 0, 0, time.Time{}
	}
	return len(t.entries), t.bytes, t.since
}

// halt stops the sending until covered is called; what waits is forgotten
// where forget is set.
func (a *appender) halt(t *tail, forget bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.halted = true
	if forget {
		t.entries, t.bytes = nil, 0
	}
}

// resume ends a halt.
func (a *appender) resume(t *tail) {
	a.mu.Lock()
	t.halted = false
	a.enqueue(t)
	a.mu.Unlock()
	a.nudge()
}

// covered tells that a checkpoint holds the entries up to number n.
func (a *appender) covered(t *tail, n uint64) {
	a.mu.Lock()
	t.drop(n)
	t.halted = false
	a.enqueue(t)
	a.mu.Unlock()
	a.nudge()
}

// replaced is covered, but for the sending: that stays halted.
func (a *appender) replaced(t *tail, n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.drop(n)
	t.halted = true
}

// stop ends the sending for good.
func (a *appender) stop(t *tail) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.over, t.entries, t.bytes = true, nil, 0
}

// drop forgets the entries up to number n, which the store has in one form or
// the other; mu is held.
func (t *tail) drop(n uint64) {
	if n > t.stored.Load() {
		t.stored.Store(n)
	}
	k := 0
	for k < len(t.entries) && t.first+uint64(k) <= n {
		t.bytes -= len(t.entries[k])
		k++
	}
	if k > 0 {
		t.entries, t.first = t.entries[k:], t.first+uint64(k)
		t.since = time.Now()
	}
}

// run makes the calls until ctx is done.
func (a *appender) run(ctx context.Context) error {
	wait := appendRetry
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
		for ctx.Err() == nil {
			batch, reqs := a.take()
			if len(batch) == 0 {
				break
			}
			if a.send(ctx, batch, reqs) {
				wait = appendRetry
				continue
			}
			sleep(ctx, wait)
			wait = min(2*wait, appendPause)
		}
	}
}

// take is the next call's rooms.
func (a *appender) take() (batch []*tail, reqs []snapshot.AppendRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bytes := 0
	for len(a.queue) > 0 && len(batch) < appendRooms && bytes < appendBytes {
		t := a.queue[0]
		a.queue[0] = nil
		a.queue = a.queue[1:]
		t.queued = false
		if t.halted || t.over || len(t.entries) == 0 {
			continue
		}
		t.sending = min(len(t.entries), snapshot.MaxJournalEntries/4)
		bytes += t.bytes
		batch = append(batch, t)
		reqs = append(reqs, snapshot.AppendRequest{Claim: t.claim, First: t.first, Entries: t.entries[:t.sending:t.sending]})
	}
	return batch, reqs
}

// send makes one call and tells its outcome. It reports false where the
// store did not answer.
func (a *appender) send(ctx context.Context, batch []*tail, reqs []snapshot.AppendRequest) bool {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendWithin)
	defer cancel()
	fault.Point("journal.before-append")
	errs, err := a.store.Append(ctx, reqs)
	fault.Point("journal.appended")
	if err == nil && len(errs) != len(reqs) {
		err = fmt.Errorf("%d answers to %d requests", len(errs), len(reqs))
	}
	a.metrics.appended(len(reqs), time.Since(began), err)
	ok := err == nil
	a.mu.Lock()
	for i, t := range batch {
		e := err
		if err == nil {
			e = errs[i]
		}
		ok = a.settle(t, reqs[i], e) && ok
	}
	a.mu.Unlock()
	for _, t := range batch {
		t.wake()
	}
	return ok
}

// settle takes one room's answer in; mu is held. False: it is to be repeated
// later.
func (a *appender) settle(t *tail, req snapshot.AppendRequest, err error) bool {
	t.sending = 0
	known := err == nil
	switch {
	case err == nil:
		t.drop(req.First + uint64(len(req.Entries)) - 1)
	case errors.Is(err, snapshot.ErrFenced), errors.Is(err, snapshot.ErrMissing), errors.Is(err, snapshot.ErrGap),
		errors.Is(err, snapshot.ErrTooBig), errors.Is(err, snapshot.ErrBadRequest):
		t.halted, known = true, true
		t.fault.Store(&err)
	}
	a.enqueue(t)
	return known
}
