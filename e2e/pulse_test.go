package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// pulse plays in a room of the host's own kinds until it is stopped, an input
// after the other's answer, and keeps how long the answers took.
type pulse struct {
	stop func()

	mu    sync.Mutex
	times []time.Duration // since the last lap; guarded by mu
}

const pulseEvery = 20 * time.Millisecond

func newPulse(ctx context.Context, t *testing.T, urls []string) *pulse {
	ctx, cancel := context.WithCancel(ctx)
	l := newListener(ctx, t, urls, "steady/one")
	p, done := &pulse{}, make(chan struct{})
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(p.stop)
	go func() {
		defer close(done)
		for n := 1; ctx.Err() == nil; n++ {
			began := time.Now()
			l.room.Send([]byte("play"))
			for l.last() < n && ctx.Err() == nil {
				select {
				case <-l.heard:
				case <-ctx.Done():
				}
			}
			if ctx.Err() == nil {
				p.mu.Lock()
				p.times = append(p.times, time.Since(began))
				p.mu.Unlock()
			}
			select {
			case <-time.After(pulseEvery):
			case <-ctx.Done():
			}
		}
	}()
	return p
}

// lap waits, and gives the times since the last lap, in order of length.
func (p *pulse) lap(ctx context.Context, t *testing.T, what string, wait time.Duration) []time.Duration {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	times := p.times
	p.times = nil
	slices.Sort(times)
	if n := len(times); n > 0 {
		t.Logf("a room of another kind, %s: %d answers, p50 %s, p99 %s, at most %s", what, n, times[n/2].Round(10*time.Microsecond),
			p99(times).Round(10*time.Microsecond), times[n-1].Round(10*time.Microsecond))
	}
	return times
}

func p99(times []time.Duration) time.Duration { return times[len(times)*99/100] }

// hold checks the times beside a fault. The p99 is held against what it was
// before where there are enough of them, above a floor: the process that dies and
// the one that begins share the machine's cores with the room.
func (p *pulse) hold(times, quiet []time.Duration, measured bool) error {
	switch n := len(times); {
	case n < 5:
		return fmt.Errorf("a room of another kind answered %d times", n)
	case times[n-1] > 500*time.Millisecond:
		return fmt.Errorf("a room of another kind was silent for up to %s", times[n-1])
	case measured && p99(times) > 2*max(p99(quiet), 10*time.Millisecond):
		return fmt.Errorf("a room of another kind: p99 %s, %s without a fault", p99(times), p99(quiet))
	}
	return nil
}

// isolateRounds is how often each fault comes.
func isolateRounds(t *testing.T) int {
	s := os.Getenv("LIMPET_ISOLATE")
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("LIMPET_ISOLATE=%s: want a number", s)
	}
	return n
}
