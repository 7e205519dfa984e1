package gateway

import "time"

// bucket is a token bucket that may go into debt: what gathers in two seconds is
// the most that is in it. It is the time, since opened, at which it was or will be
// empty if nothing more is taken; a new one is full. It is small, for a connection
// has several. The rates are the callers', in tokens a second.
type bucket time.Duration

const bucketHolds = 2 * time.Second

// opened is what buckets count time from: so long ago that a new one is full.
var opened = time.Now().Add(-bucketHolds)

// take spends n tokens and returns how long to wait until the debt is paid.
func (b *bucket) take(now time.Time, rate, n int) time.Duration {
	at := now.Sub(opened)
	empty := max(time.Duration(*b), at-bucketHolds) + time.Duration(n)*time.Second/time.Duration(rate)
	*b = bucket(empty)
	return max(0, empty-at)
}

// allow spends one token if there is one.
func (b *bucket) allow(now time.Time, rate int) bool {
	before := *b
	if b.take(now, rate, 1) > 0 {
		*b = before
		return false
	}
	return true
}

// left is for how long of its rate there are tokens.
func (b *bucket) left(now time.Time) time.Duration {
	return min(bucketHolds, now.Sub(opened)-time.Duration(*b))
}

// full reports whether the bucket is as good as new.
func (b *bucket) full(now time.Time) bool { return b.left(now) >= bucketHolds }
