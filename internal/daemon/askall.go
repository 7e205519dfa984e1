package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
)

const (
	maxAsking = 64              // nodes asked at once
	askWithin = 5 * time.Second // where there is no deadline
)

// answer is what a node answered, or why it did not.
type answer[T any] struct {
	node  *directory.Node
	value T
	err   error
}

// missing tells of a node that did not answer.
func (a *answer[T]) missing() explain.Missing {
	return explain.Missing{Node: string(a.node.ID), Role: a.node.Role.String(), Why: whyNot(a.err)}
}

// askAll asks nodes the same, 64 at once, and returns all answers in the nodes'
// order. ask runs concurrently with itself and is to end with ctx. A node that is
// late goes on being waited for, but no longer holds others up: all have been asked
// by half of the time that ctx leaves.
func askAll[T any](ctx context.Context, nodes []*directory.Node, ask func(*directory.Node) (T, error)) []answer[T] {
	all := make([]answer[T], len(nodes))
	patience := patienceWith(ctx, len(nodes))
	var asking sync.WaitGroup
	slots := make(chan struct{}, maxAsking)
	for i, n := range nodes {
		slots <- struct{}{}
		free := sync.OnceFunc(func() { <-slots })
		late := time.AfterFunc(patience, free)
		asking.Go(func() {
			defer free()
			defer late.Stop()
			all[i].node = n
			all[i].value, all[i].err = ask(n)
		})
	}
	asking.Wait()
	return all
}

// patienceWith is how long one of n nodes is waited for before the next is asked in
// its stead.
func patienceWith(ctx context.Context, n int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return askWithin
	}
	rounds := (n + maxAsking - 1) / maxAsking
	return time.Until(deadline) / time.Duration(2*max(1, rounds))
}
