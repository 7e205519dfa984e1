package gateway

import "time"

// bucket is a token bucket that may go into debt. The zero value is full.
type bucket struct {
	rate, burst float64 // tokens a second, and the most that gather
	tokens      float64
	at          time.Time
}

func newBucket(perSecond int) bucket {
	rate := float64(perSecond)
	return bucket{rate: rate, burst: 2 * rate, tokens: 2 * rate}
}

// take spends n tokens and returns how long to wait until the debt is paid.
func (b *bucket) take(now time.Time, n float64) time.Duration {
	if !b.at.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	b.tokens -= n
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// full reports whether the bucket is as good as new.
func (b *bucket) full(now time.Time) bool {
	return b.at.IsZero() || b.tokens+b.rate*now.Sub(b.at).Seconds() >= b.burst
}

// allow spends one token if there is one.
func (b *bucket) allow(now time.Time) bool {
	if b.take(now, 1) > 0 {
		b.tokens++
		return false
	}
	return true
}
