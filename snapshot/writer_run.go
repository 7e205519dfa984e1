package snapshot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
)

// Run sends what is submitted until ctx is done. It then waits for the calls
// in flight, at most Timeout, answers what is left with ErrWriterStopped, and
// returns nil. It is called once.
func (w *Writer) Run(ctx context.Context) error {
	var calls sync.WaitGroup
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		w.dispatch(now, &calls)
		w.report(now)
		timer.Reset(w.sleep(now))
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	calls.Wait()
	w.abandon()
	return nil
}

// dispatch starts as many calls as there may be.
func (w *Writer) dispatch(now time.Time, calls *sync.WaitGroup) {
	for {
		w.mu.Lock()
		f := w.take(now)
		w.mu.Unlock()
		if f == nil {
			return
		}
		calls.Go(func() { w.send(f) })
	}
}

// flight is one call's. The writer has as many as there are calls at a time.
type flight struct {
	batch   []*entry // sent of each is not touched by others
	reqs    []SaveRequest
	answers []answer
	within  Deadlines
}

// board is a flight that has landed, or a new one; mu is held.
func (w *Writer) board() *flight {
	n := len(w.landed)
	if n == 0 {
		return new(flight)
	}
	f := w.landed[n-1]
	w.landed = w.landed[:n-1]
	return f
}

// land lets go of all that the flight holds but its memory.
func (w *Writer) land(f *flight) {
	clear(f.batch)
	clear(f.reqs)
	clear(f.answers)
	f.batch, f.reqs, f.answers = f.batch[:0], f.reqs[:0], f.answers[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.landed = append(w.landed, f)
}

// send makes one call and tells its outcome. A call that has begun is not cut
// off by the end of Run: its saves would be left unknown for nothing.
func (w *Writer) send(f *flight) {
	bytes := 0
	for _, e := range f.batch {
		f.reqs = append(f.reqs, e.sent.req)
		bytes += e.sent.size()
	}
	start := time.Now()
	ctx := f.within.Begin(w.cfg.Timeout)
	fault.Point("save.before-store")
	errs, err := w.cfg.Store.Save(ctx, f.reqs)
	fault.Point("save.stored")
	f.within.End()
	if err == nil && len(errs) != len(f.reqs) {
		err = fmt.Errorf("save checkpoints: %d answers to %d requests", len(errs), len(f.reqs))
	}
	w.m.call(time.Since(start), err)
	if err != nil {
		w.cfg.Log.Debug().Err(err).Int("rooms", len(f.reqs)).Int("bytes", bytes).Msg("checkpoint batch not stored, will be tried again")
	}
	w.settle(f, errs, err)
	now := time.Now()
	for _, a := range f.answers {
		w.m.saved(a, now)
		a.save.tell(a.err)
	}
	w.land(f)
	w.nudge()
}

// report tells OnState of a change. The store runs unless a save has been
// tried for Patience without an answer.
func (w *Writer) report(now time.Time) {
	w.mu.Lock()
	since := w.owedFrom()
	queued := len(w.rooms)
	w.mu.Unlock()
	down := !since.IsZero() && now.Sub(since) >= w.cfg.Patience
	if down == w.down {
		return
	}
	w.down = down
	w.m.state(!down)
	if down {
		w.cfg.Log.Warn().Dur("without_answer_ms", now.Sub(since)).Int("queued", queued).Msg("checkpoint store does not answer")
	} else {
		w.cfg.Log.Info().Int("queued", queued).Msg("checkpoint store answers again")
	}
	w.cfg.OnState(!down)
}

// owedFrom is since when the longest tried save has had no answer, zero where
// none is owed one. The caller holds mu.
func (w *Writer) owedFrom() time.Time {
	if e := w.owed.first; e != nil {
		return e.owedSince
	}
	return time.Time{}
}

// sleep is how long Run may wait unless it is nudged.
func (w *Writer) sleep(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	if since := w.owedFrom(); !since.IsZero() {
		sooner(since.Add(w.cfg.Patience))
	}
	if w.ready.n+len(w.resting) > 0 {
		sooner(w.pause)
	}
	if w.ready.n > 0 {
		sooner(w.due)
	}
	if len(w.resting) > 0 {
		sooner(w.resting[0].until)
	}
	return next.Sub(now)
}

// abandon answers what is left when Run ends.
func (w *Writer) abandon() {
	w.mu.Lock()
	var left []*save
	for room, e := range w.rooms {
		left = append(left, e.next)
		delete(w.rooms, room)
	}
	w.ready, w.owed = chain{which: inReady}, chain{which: inOwed}
	w.resting, w.bytes = nil, 0
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
	w.measure()
	w.mu.Unlock()
	for _, s := range left {
		w.m.answer(ErrWriterStopped)
		s.tell(ErrWriterStopped)
	}
}
