package gateway

import "time"

// bucket is a token bucket that may go into debt: at most twice its rate
// gather in it. It is small, for a connection has several.
type bucket struct {
	rate, tokens float32       // a second; what is there
	at           time.Duration // when that was counted, since opened; 0: it is full
}

// opened is what buckets count time from.
var opened = time.Now()

func newBucket(perSecond int) bucket {
	return bucket{rate: float32(perSecond), tokens: 2 * float32(perSecond)}
}

// by is what will be there at a time, if nothing is taken.
func (b *bucket) by(at time.Duration) float32 {
	if b.at == 0 {
		return 2 * b.rate
	}
	return min(2*b.rate, b.tokens+b.rate*float32((at-b.at).Seconds()))
}

// take spends n tokens and returns how long to wait until the debt is paid.
func (b *bucket) take(now time.Time, n int) time.Duration {
	at := max(1, now.Sub(opened))
	b.tokens = b.by(at) - float32(n)
	b.at = at
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(float64(-b.tokens) / float64(b.rate) * float64(time.Second))
}

// full reports whether the bucket is as good as new.
func (b *bucket) full(now time.Time) bool { return b.by(max(1, now.Sub(opened))) >= 2*b.rate }

// allow spends one token if there is one.
func (b *bucket) allow(now time.Time) bool {
	if b.take(now, 1) > 0 {
		b.tokens++
		return false
	}
	return true
}
