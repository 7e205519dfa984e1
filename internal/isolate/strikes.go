package isolate

import (
	"slices"
	"time"
)

const (
	tooSoon     = 5 * time.Second // a life that is shorter makes the next start wait
	firstWait   = 500 * time.Millisecond
	longestWait = 30 * time.Second

	strikesMost   = 5 // deaths with nobody at fault within strikesWithin: then the kind is quarantined
	strikesWithin = 10 * time.Minute
)

// strikes say when a child that died is started again.
type strikes struct {
	soon int         // short lives in a row
	at   []time.Time // deaths with nobody at fault, at most strikesMost
}

// verdict says what is known of a death's cause.
type verdict int

const (
	blameless verdict = iota // nothing: it may well come again
	unknown                  // the child ended by itself, and may have seen to the cause
	blamed                   // the rooms at fault, which are dealt with one by one
)

// died counts a death, and returns until when the kind is down, and whether that
// is a quarantine.
func (s *strikes) died(now time.Time, lived time.Duration, v verdict) (until time.Time, quarantined bool) {
	wait := time.Duration(0)
	switch {
	case lived >= tooSoon:
		s.soon = 0
	case v == blamed:
		wait = firstWait
	default:
		wait = min(firstWait<<min(s.soon, 10), longestWait)
		s.soon++
	}
	if v == blameless {
		s.at = append(s.at, now)
		s.at = s.at[max(0, len(s.at)-strikesMost):]
	}
	s.at = slices.DeleteFunc(s.at, func(t time.Time) bool { return now.Sub(t) >= strikesWithin })
	if v == blameless && len(s.at) == strikesMost {
		return s.at[0].Add(strikesWithin), true
	}
	return now.Add(wait), false
}
