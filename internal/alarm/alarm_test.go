package alarm

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each plays a test with a timer for each alarm, and with one for all.
func each(t *testing.T, play func(*testing.T, *Clock)) {
	t.Run("own", func(t *testing.T) { play(t, nil) })
	t.Run("shared", func(t *testing.T) {
		c, err := NewClock()
		if err != nil || c == nil {
			t.Fatalf("clock: %v, %v", c, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		play(t, c)
	})
}

// heard is how long after from the alarm rang.
func heard(t *testing.T, a *Alarm, from time.Time) time.Duration {
	t.Helper()
	select {
	case <-a.C:
		return time.Since(from)
	case <-time.After(10 * time.Second):
		t.Fatal("it does not ring")
		return 0
	}
}

func TestAlarmsRingOnceAndNeverEarly(t *testing.T) {
	each(t, func(t *testing.T, c *Clock) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				a := c.New()
				defer a.Stop()
				for range 20 {
					now, d := time.Now(), time.Duration(rand.IntN(5000))*time.Microsecond
					a.Set(now, d)
					if took := heard(t, a, now); took < d {
						t.Errorf("set for %v, and rang after %v", d, took)
					}
				}
				if len(a.C) > 0 {
					t.Error("it rang twice")
				}
			})
		}
		wg.Wait()
	})
}

func TestAnAlarmIsSetAgain(t *testing.T) {
	each(t, func(t *testing.T, c *Clock) {
		a, other := c.New(), c.New()
		defer other.Stop()
		now := time.Now()
		other.Set(now, time.Hour)
		a.Set(now, time.Hour)
		a.Set(now, 2*time.Millisecond) // sooner
		heard(t, a, now)
		a.Set(now, 0) // rings, and is not heard
		other.Set(now, 0)
		heard(t, other, now)
		a.Set(now, time.Hour) // later: that ring is no more
		other.Set(now, 0)
		heard(t, other, now)
		if len(a.C) > 0 {
			t.Error("an alarm rings that was set to later")
		}
		a.Set(now, 0)
		heard(t, a, now)
		a.Stop()
		if len(a.C) > 0 {
			t.Error("an alarm rings that was stopped")
		}
	})
}

func TestAlarmsAllocateNothing(t *testing.T) {
	each(t, func(t *testing.T, c *Clock) {
		a, other := c.New(), c.New()
		defer other.Stop()
		other.Set(time.Now(), time.Hour)
		if n := testing.AllocsPerRun(1000, func() { a.Set(time.Now(), time.Minute) }); n > 0 {
			t.Errorf("setting an alarm allocates %v times", n)
		}
		a.Stop()
	})
}
