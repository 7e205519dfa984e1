package host

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paced drains n rooms whose moves take what stands says, by how many are under
// way, and reports how long it took and the most that were under way at a time
// in its second half.
func paced(t *testing.T, o DrainOptions, n int, stands func(under int) time.Duration) (took time.Duration, most int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.setDefaults()
		began := time.Now()
		p := newPace(o, began)
		var mu sync.Mutex
		var moving sync.WaitGroup
		under, left := 0, n
		for i := range n {
			if !p.start(t.Context(), n-i) {
				t.Fatal("not started")
			}
			mu.Lock()
			under++
			stood := stands(under)
			if i > n/2 {
				most = max(most, under)
			}
			mu.Unlock()
			moving.Go(func() {
				at := time.Now()
				time.Sleep(stood)
				mu.Lock()
				under--
				left--
				rest := left
				mu.Unlock()
				p.ended(at, stood, rest)
			})
		}
		moving.Wait()
		took = time.Since(began)
	})
	return took, most
}

func TestPaceOpensWhileRoomsStandStillShortly(t *testing.T) {
	took, most := paced(t, DrainOptions{Rate: 100_000, AtOnce: 8}, 1000, func(int) time.Duration { return 2 * time.Millisecond })
	if most != 8 || took > 400*time.Millisecond {
		t.Errorf("%d at a time, in %s: want all 8", most, took)
	}
}

// Rooms stand still for 10 ms times the number of those that move at a time.
func TestPaceHoldsTheGoal(t *testing.T) {
	crowd := func(under int) time.Duration { return time.Duration(under) * 10 * time.Millisecond }
	_, most := paced(t, DrainOptions{Rate: 100_000, AtOnce: 8, Pause: 35 * time.Millisecond}, 1000, crowd)
	if most < 2 || most > 4 {
		t.Errorf("%d at a time, want about 3", most)
	}
}

func TestPaceRestsWhereEvenOneAtATimeIsSlow(t *testing.T) {
	slow := func(int) time.Duration { return 40 * time.Millisecond }
	took, most := paced(t, DrainOptions{Rate: 100_000, Deadline: time.Hour}, 100, slow)
	if most != 1 || took < 7*time.Second || took > 9*time.Second {
		t.Errorf("%d at a time, in %s: want rests as long as the moves", most, took)
	}
}

// What players notice gives way to the deadline.
func TestPaceKeepsTheDeadline(t *testing.T) {
	slow := func(int) time.Duration { return 100 * time.Millisecond }
	took, _ := paced(t, DrainOptions{Rate: 100_000, Deadline: 30 * time.Second}, 1000, slow)
	if took < 15*time.Second || took > 30*time.Second {
		t.Errorf("took %s of 30 s", took)
	}
}

func TestPaceKeepsTheRate(t *testing.T) {
	took, _ := paced(t, DrainOptions{Rate: 50}, 100, func(int) time.Duration { return time.Millisecond })
	if took < 1900*time.Millisecond || took > 2100*time.Millisecond {
		t.Errorf("100 rooms at 50 a second took %s", took)
	}
}
