package link

import (
	"testing"
	"time"
)

// play writes for d at steps of a tenth of a millisecond, and counts writes and
// the lingers among them. arrived is how many frames came since the last write.
func play(g *linger, now time.Time, d time.Duration, arrived func(since time.Duration) int) (end time.Time, writes, lingers int) {
	const step = lingerFor / 10
	last := now
	for end = now.Add(d); now.Before(end); now = now.Add(step) {
		lingered := g.wait(now, 100)
		if lingered {
			now = now.Add(lingerFor)
			lingers++
		}
		n := arrived(now.Sub(last))
		last = now
		writes++
		if g.wrote(now, n); lingered {
			g.gathered(now, n)
		}
	}
	return now, writes, lingers
}

func TestLingerGathersWhatComesByItself(t *testing.T) {
	var g linger
	open := func(since time.Duration) int { return int(since / (lingerFor / 50)) } // 50 frames a ms
	now, _, _ := play(&g, time.Now(), 100*time.Millisecond, open)
	_, writes, lingers := play(&g, now, 100*time.Millisecond, open)
	if writes != lingers || writes > 110 {
		t.Errorf("%d writes, %d lingers in 100 ms of 50 frames a ms: want every write to linger", writes, lingers)
	}
}

func TestLingerLeavesPingPongAlone(t *testing.T) {
	for _, players := range []int{2, 40} {
		var g linger
		pingPong := func(time.Duration) int { return players } // each sends when it was answered
		now, _, _ := play(&g, time.Now(), 3*time.Second, pingPong)
		_, writes, lingers := play(&g, now, time.Second, pingPong)
		if lingers > 2 {
			t.Errorf("%d players: %d of %d writes lingered", players, lingers, writes)
		}
	}
}

func TestLingerLeavesLittleTrafficAndBigWritesAlone(t *testing.T) {
	var g linger
	_, _, lingers := play(&g, time.Now(), time.Second, func(since time.Duration) int { return int(since / (lingerFor / 10) / 2) })
	if lingers > 0 {
		t.Errorf("%d lingers at 5 frames a ms", lingers)
	}
	g = linger{on: true}
	if g.wait(time.Now(), lingerMost+1) {
		t.Error("a write of more than a write should carry waits")
	}
}
