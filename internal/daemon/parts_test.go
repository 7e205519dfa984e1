package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsEndInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ended []string
		var parts Parts
		for i, name := range []string{"first", "second", "third"} {
			parts.Add(name, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Duration(3-i) * time.Second) // the earlier, the slower
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, name)
				return ctx.Err()
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := parts.Run(ctx); err != nil {
			t.Error(err)
		}
		if want := []string{"third", "second", "first"}; !slices.Equal(ended, want) {
			t.Errorf("ended as %v, want %v", ended, want)
		}
	})
}

func TestPartThatEndsEndsTheRest(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		with error
		want error
	}{{broken, broken}, {nil, errEnded}} {
		var parts Parts
		stopped := make(chan string, 2)
		waits := func(name string) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); stopped <- name; return nil }
		}
		parts.Add("below", waits("below"))
		parts.Add("breaks", func(context.Context) error { return c.with })
		parts.Add("above", waits("above"))
		err := parts.Run(t.Context())
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "breaks") {
			t.Errorf("got %v, want %v of breaks", err, c.want)
		}
		if a, b := <-stopped, <-stopped; a != "above" || b != "below" {
			t.Errorf("stopped %s, then %s", a, b)
		}
	}
}

func TestSecondSignalMeansNow(t *testing.T) {
	now := make(chan struct{})
	ctx, stop := Signals(t.Context(), func() { close(now) })
	defer stop()
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), ErrSignal) {
		t.Errorf("cause is %v", context.Cause(ctx))
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM) // the same one, passed on
	select {
	case <-now:
		t.Error("one signal that came twice counts as two")
	case <-time.After(sameSignal + 100*time.Millisecond):
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	select {
	case <-now:
	case <-time.After(10 * time.Second):
		t.Error("the second signal does nothing")
	}
}
