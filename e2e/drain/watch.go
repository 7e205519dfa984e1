package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/load"
)

// watch counts what members notice in a phase.
type watch struct {
	mu                   sync.Mutex
	drops, rewinds, gaps int // guarded by mu, as all below
	backs                []time.Time
}

func newWatch() *watch { return &watch{} }

func (w *watch) event(_ *load.Player, e client.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.(type) {
	case *client.Dropped:
		w.drops++
	case *client.Resumed:
		w.backs = append(w.backs, time.Now())
	case *client.Rewound:
		w.rewinds++
	case *client.Gap:
		w.gaps++
	}
}

func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drops, w.rewinds, w.gaps, w.backs = 0, 0, 0, nil
}

// dropped is how many connections have closed, and how many are back.
func (w *watch) dropped() (drops, backs int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drops, len(w.backs)
}

// backAfter are the times from began until each connection was back, sorted.
func (w *watch) backAfter(began time.Time) (after []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.backs {
		if at.After(began) {
			after = append(after, at.Sub(began))
		}
	}
	slices.Sort(after)
	return after
}

// report prints what members noticed, and says what they should not have.
func (w *watch) report(ph phase) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Printf("%-12s sockets closed %d, rewinds %d, gaps %d\n", ph.name, w.drops, w.rewinds, w.gaps)
	switch {
	case w.drops > 0 && !ph.closes:
		return fmt.Errorf("%s closed %d sockets", ph.name, w.drops)
	case w.drops > len(w.backs):
		return fmt.Errorf("%s: %d of %d connections are not back", ph.name, w.drops-len(w.backs), w.drops)
	case w.rewinds > 0 && !ph.kills:
		return fmt.Errorf("%s took %d members back", ph.name, w.rewinds)
	}
	return nil
}

// at is a quantile of sorted times.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}
