package client

import (
	"math/rand/v2"
	"time"
)

// How long a client waits before it connects again.
const (
	backoffBase = 250 * time.Millisecond
	backoffCap  = 10 * time.Second
	stableAfter = 10 * time.Second // a connection that lasted so long starts the back-off anew
)

// backoff draws delays with full jitter: from 0 up to a bound that doubles.
type backoff struct{ attempt int }

func (b *backoff) next() time.Duration {
	bound := min(backoffCap, backoffBase<<min(b.attempt, 16))
	b.attempt++
	return rand.N(bound)
}

func (b *backoff) reset() { b.attempt = 0 }

// spread draws a moment within d.
func spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

func firstTurn(urls int) int { return rand.IntN(urls) }
