package daemon

import (
	"sync"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
)

const maxAsking = 64 // nodes asked at once

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
// order. ask runs concurrently with itself and is to end by a deadline.
func askAll[T any](nodes []*directory.Node, ask func(*directory.Node) (T, error)) []answer[T] {
	all := make([]answer[T], len(nodes))
	var asking sync.WaitGroup
	slots := make(chan struct{}, maxAsking)
	for i, n := range nodes {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			all[i].node = n
			all[i].value, all[i].err = ask(n)
		})
	}
	asking.Wait()
	return all
}
