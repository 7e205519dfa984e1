package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Parts are a process's long-running parts. Each may rely on those added
// before it, so they end in the reverse order: a part is told to stop when
// every later one has returned.
type Parts struct {
	parts []part
}

type part struct {
	name string
	run  func(ctx context.Context) error
}

// Add adds a part. run blocks until its context is done or it can't go on.
func (p *Parts) Add(name string, run func(ctx context.Context) error) {
	p.parts = append(p.parts, part{name, run})
}

// errEnded: a part returned without being told to.
var errEnded = errors.New("ended by itself")

// Run runs all parts until ctx is done or one of them returns, and returns
// when all of them have: with the error of the one that ended the rest, if any.
func (p *Parts) Run(ctx context.Context) error {
	type end struct {
		i   int
		err error
	}
	ends := make(chan end, len(p.parts))
	cancels := make([]context.CancelFunc, len(p.parts))
	for i, part := range p.parts {
		// A part's context keeps ctx's values but not its end: that comes in order.
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		cancels[i] = cancel
		go func() { ends <- end{i, part.run(partCtx)} }()
	}
	var errs []error
	gone := make([]bool, len(p.parts))
	select {
	case <-ctx.Done():
	case e := <-ends:
		gone[e.i] = true
		if e.err == nil {
			e.err = errEnded
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.parts[e.i].name, e.err))
	}
	for i := range slices.Backward(p.parts) {
		cancels[i]()
		for !gone[i] {
			e := <-ends
			gone[e.i] = true
			if e.err != nil && !errors.Is(e.err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: %w", p.parts[e.i].name, e.err))
			}
		}
	}
	return errors.Join(errs...)
}
