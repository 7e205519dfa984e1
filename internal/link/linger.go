package link

import "time"

const (
	lingerFor  = time.Millisecond
	lingerMin  = 8        // frames that make a linger worth it
	lingerMost = 64 << 10 // bytes that are not lingered for
	rateWindow = 4 * time.Millisecond
	retryFirst = 10 * time.Millisecond
	retryMost  = time.Second
)

// linger decides whether a write waits a little for more frames. It does where
// frames come by themselves, whether or not the last was answered, so that a
// write carries a millisecond's worth. Where waiting gathers little, because
// those who send wait for answers, or where little is sent, it does not.
type linger struct {
	from   time.Time // of the window being counted
	count  int       // frames written in it
	rate   int       // frames a lingerFor, in the last whole window
	on     bool      // the last linger was worth it
	retry  time.Time // not before
	pause  time.Duration
	probed int // rate before the linger under way
}

// wait says whether to linger before the next write.
func (g *linger) wait(now time.Time, bytes int) bool {
	switch {
	case bytes > lingerMost:
		return false
	case g.on:
		return true
	case g.rate < lingerMin || now.Before(g.retry):
		return false
	}
	g.probed = g.rate
	return true
}

// gathered judges a linger by what it brought.
func (g *linger) gathered(now time.Time, frames int) {
	if frames >= lingerMin && (g.on || frames >= g.probed/2) {
		g.on, g.pause = true, 0
		return
	}
	g.on = false
	g.pause = min(max(retryFirst, 2*g.pause), retryMost)
	g.retry = now.Add(g.pause)
}

// wrote counts a write.
func (g *linger) wrote(now time.Time, frames int) {
	if past := now.Sub(g.from); past >= rateWindow {
		g.rate = int(time.Duration(g.count) * lingerFor / past)
		g.from, g.count = now, 0
	}
	g.count += frames
}
