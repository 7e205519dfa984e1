package directory

import (
	"context"
	"sync"
)

// inquiries runs questions with a yes or no that many ask at once: one run for
// all who ask the same at the same time. A run outlives its askers.
type inquiries struct {
	most   int
	ctx    context.Context // ends with the owner
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool                // guarded by mu
	m      map[string]*inquiry // guarded by mu
}

type inquiry struct {
	done chan struct{}
	yes  bool // set before done is closed
}

func newInquiries(most int) *inquiries {
	q := &inquiries{most: most, m: map[string]*inquiry{}}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// end cancels all runs and waits for them.
func (q *inquiries) end() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	q.wg.Wait()
}

// begin runs f in a goroutine unless the owner has ended.
func (q *inquiries) begin(f func(context.Context)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.wg.Go(func() { f(q.ctx) })
	}
}

// share answers a question, with false when ctx is done or too many questions
// are open.
func (q *inquiries) share(ctx context.Context, question string, answer func(context.Context) bool) bool {
	i := q.open(question, answer)
	if i == nil {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-i.done:
		return i.yes
	}
}

func (q *inquiries) open(question string, answer func(context.Context) bool) *inquiry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.m[question]; i != nil {
		return i
	}
	if q.closed || len(q.m) >= q.most {
		return nil
	}
	i := &inquiry{done: make(chan struct{})}
	q.m[question] = i
	q.wg.Go(func() {
		ctx, cancel := context.WithTimeout(q.ctx, inquireWithin)
		defer cancel()
		i.yes = answer(ctx)
		q.mu.Lock()
		delete(q.m, question)
		q.mu.Unlock()
		close(i.done)
	})
	return i
}
