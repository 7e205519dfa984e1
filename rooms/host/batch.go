package host

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	batchMost    = 128 // requests in a call
	batchFlights = 4   // calls at a time
	batchWithin  = 2 * time.Second
)

// batcher gathers requests of many into few calls of the store: while its
// calls are under way, the next one fills.
type batcher[Q, A any] struct {
	what  string
	call  func(context.Context, []Q) ([]A, error)
	queue chan *asked[Q, A] // full: askers wait, as long as their contexts let them
}

type asked[Q, A any] struct {
	q   Q
	got chan outcome[A] // capacity 1
}

type outcome[A any] struct {
	answer A
	err    error
}

func newBatcher[Q, A any](what string, waiting int, call func(context.Context, []Q) ([]A, error)) *batcher[Q, A] {
	return &batcher[Q, A]{what: what, call: call, queue: make(chan *asked[Q, A], waiting)}
}

// ask makes one request. An error means that its outcome is not known.
func (b *batcher[Q, A]) ask(ctx context.Context, q Q) (A, error) {
	a := &asked[Q, A]{q: q, got: make(chan outcome[A], 1)}
	var none A
	select {
	case b.queue <- a:
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", b.what, context.Cause(ctx))
	}
	select {
	case o := <-a.got:
		return o.answer, o.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", b.what, context.Cause(ctx))
	}
}

// run makes the calls until ctx is done.
func (b *batcher[Q, A]) run(ctx context.Context) error {
	var eg errgroup.Group
	for range batchFlights {
		eg.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case first := <-b.queue:
					b.send(ctx, b.gather(first))
				}
			}
		})
	}
	return eg.Wait()
}

// gather takes what else waits, without waiting for more.
func (b *batcher[Q, A]) gather(first *asked[Q, A]) []*asked[Q, A] {
	batch := []*asked[Q, A]{first}
	for len(batch) < batchMost {
		select {
		case a := <-b.queue:
			batch = append(batch, a)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher[Q, A]) send(ctx context.Context, batch []*asked[Q, A]) {
	qs := make([]Q, len(batch))
	for i, a := range batch {
		qs[i] = a.q
	}
	ctx, cancel := context.WithTimeout(ctx, batchWithin)
	defer cancel()
	answers, err := b.call(ctx, qs)
	if err == nil && len(answers) != len(qs) {
		err = fmt.Errorf("%d answers to %d requests", len(answers), len(qs))
	}
	for i, a := range batch {
		if err != nil {
			a.got <- outcome[A]{err: fmt.Errorf("%s: %w", b.what, err)}
		} else {
			a.got <- outcome[A]{answer: answers[i]}
		}
	}
}
