package snapshot

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// save is one submitted checkpoint.
type save struct {
	req  SaveRequest
	done func(SaveRequest, error)
	at   time.Time // submitted
}

func (s *save) size() int {
	if s == nil {
		return 0
	}
	return len(s.req.Data)
}

// saves and entries are used again: rooms submit a save every second or so.
var (
	saves   = sync.Pool{New: func() any { return new(save) }}
	entries = sync.Pool{New: func() any { return new(entry) }}
)

// tell answers a save, which ends here.
func (s *save) tell(err error) {
	done, req := s.done, s.req
	*s = save{}
	saves.Put(s)
	done(req, err)
}

func (s *save) olderThan(o *save) bool {
	if o == nil {
		return false
	}
	a, b := s.req, o.req
	if a.Claim.Epoch != b.Claim.Epoch {
		return a.Claim.Epoch < b.Claim.Epoch
	}
	return a.Seq < b.Seq
}

// entry is a room with a save that is not stored. It is in exactly one of:
// the ready list, the resting heap, or a batch in flight (sent is set). The
// queue's mutex guards it.
type entry struct {
	room wire.RoomID
	next *save // the newest, unsent
	sent *save // in flight

	links   [chains]link
	resting int // index in the heap, -1 when not there
	until   time.Time

	owedSince time.Time
	failures  int // tries in a row that failed for this room alone
}

// take moves the entries of one batch from the ready chain to a flight, or returns
// nil where none may be sent now; mu is held.
func (w *Writer) take(now time.Time) *flight {
	limit := w.cfg.InFlight
	if w.failed > 0 {
		limit = 1 // one call at a time finds out whether the store is back
	}
	if w.stopped || w.batches >= limit || now.Before(w.pause) {
		return nil
	}
	for len(w.resting) > 0 && !now.Before(w.resting[0].until) {
		w.makeReady(heap.Pop(&w.resting).(*entry))
		w.hurry(now)
	}
	if w.ready.n == 0 || now.Before(w.due) && w.ready.n < w.cfg.BatchRooms {
		return nil
	}
	f := w.board()
	bytes := 0
	for w.ready.n > 0 && len(f.batch) < w.cfg.BatchRooms {
		e := w.ready.first
		if len(f.batch) > 0 && bytes+e.next.size() > w.cfg.BatchBytes {
			break
		}
		bytes += e.next.size()
		w.ready.remove(e)
		e.sent, e.next = e.next, nil
		if !w.owed.has(e) {
			w.owed.pushBack(e)
			e.owedSince = now
		}
		f.batch = append(f.batch, e)
	}
	w.batches++
	return f
}

// answer is what one save is told once the lock is free.
type answer struct {
	save *save
	err  error
}

// settle takes a flight's outcome in and gathers what to tell. Callers hold no
// lock.
func (w *Writer) settle(f *flight, errs []error, callErr error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.measure()
	now := time.Now()
	w.batches--
	if callErr != nil {
		w.failed++
		w.pause = now.Add(backoff(w.failed))
	} else {
		w.failed, w.pause = 0, time.Time{}
	}
	for i := len(f.batch) - 1; i >= 0; i-- { // backwards, so that those put back keep their order
		e, err := f.batch[i], callErr
		if callErr == nil {
			err = errs[i]
		}
		if a, told := w.settleOne(e, err, callErr != nil, now); told {
			f.answers = append(f.answers, a)
		}
	}
	if len(w.rooms) == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// settleOne ends one save's flight: it is answered, or goes back to be tried
// again unless a newer one has come.
func (w *Writer) settleOne(e *entry, err error, call bool, now time.Time) (answer, bool) {
	s := e.sent
	e.sent = nil
	if final(err) {
		w.owed.remove(e)
		e.failures = 0
		w.bytes -= s.size()
		if e.next == nil {
			delete(w.rooms, e.room)
			*e = entry{}
			entries.Put(e)
		} else {
			w.makeReady(e)
			w.hurry(now)
		}
		return answer{s, err}, true
	}
	superseded := e.next != nil
	if superseded {
		w.bytes -= s.size()
	} else {
		e.next = s
	}
	if call {
		w.ready.pushFront(e)
		w.hurry(now)
	} else {
		w.m.answer(ErrUnknown)
		e.failures++
		e.until = now.Add(backoff(e.failures))
		heap.Push(&w.resting, e)
	}
	return answer{s, ErrSuperseded}, superseded
}

// final reports whether err is the store's word on a save.
func final(err error) bool {
	return err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrMissing) ||
		errors.Is(err, ErrTooBig) || errors.Is(err, ErrBadRequest)
}

// backoff is the wait after n failures in a row: 50 ms doubling up to 1 s,
// less up to half of it by chance, so that processes don't try in step.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n-1, 10), time.Second)
	return d - rand.N(d/2)
}

// restHeap orders entries by when they may be tried again.
type restHeap []*entry

func (h restHeap) Len() int           { return len(h) }
func (h restHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h restHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].resting, h[j].resting = i, j
}

// Push is heap.Interface's.
func (h *restHeap) Push(x any) {
	e := x.(*entry)
	e.resting = len(*h)
	*h = append(*h, e)
}

// Pop is heap.Interface's.
func (h *restHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.resting = -1
	return e
}
