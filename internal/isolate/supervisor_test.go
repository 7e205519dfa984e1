package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestMain is also the program of the children that these tests start.
func TestMain(m *testing.M) {
	if os.Getenv(Variable) != "" {
		os.Exit(childMain(os.Args[1]))
	}
	goleak.VerifyTestMain(m)
}

// childMain lives until it is told to end, and then ends in the way named.
func childMain(ends string) int {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	c, err := Join()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	c.Named("host~kind#1", func() bool { return true })
	go c.Run(context.Background())
	s := c.Take("kind/one")
	s.RunsHere()
	for range told {
		switch ends {
		case "well":
			return 0
		case "with status 1":
			return 1
		case "in a crash":
			s.Begin(1, Input{Member: 7}, true)
			panic("on purpose")
		}
	}
	return 0
}

// watched is a supervisor that runs, and the deaths it tells of.
type watched struct {
	*Supervisor
	deaths chan Death
	stop   context.CancelFunc
	ended  chan struct{}
}

// supervise runs a child that ends as named; change may be nil.
func supervise(t *testing.T, ends string, change func(*Config)) *watched {
	t.Helper()
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	w := &watched{deaths: make(chan Death, 16), ended: make(chan struct{})}
	cfg := Config{
		Kind: "kind", Parent: "host", Command: []string{os.Args[0], ends}, Env: os.Environ, Output: io.Discard,
		Link: listen(), Ops: listen(), Slots: 4, Silence: time.Minute, StopIn: time.Minute,
		Died: func(_ context.Context, d Death) { w.deaths <- d }, Log: zerolog.Nop(),
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.Supervisor, w.stop = New(cfg), cancel
	go func() {
		defer close(w.ended)
		w.Run(ctx, nil)
	}()
	t.Cleanup(func() { cancel(); <-w.ended })
	return w
}

func (w *watched) until(t *testing.T, what string, is func(State) bool) State {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if st := w.State(); is(st) {
			return st
		}
	}
	t.Fatalf("%s: %+v", what, w.State())
	return State{}
}

func (w *watched) ready(t *testing.T) State {
	t.Helper()
	return w.until(t, "the child is ready", func(st State) bool { return st.State == StateReady })
}

// The root may be read-only: all that a child needs lies in the directory given.
func TestFilesLieInDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", "/nowhere")
	w := supervise(t, "well", func(c *Config) { c.Dir = dir })
	w.ready(t)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left to be removed (%v)", left, err)
	}
}

// A child that is told to end and fails instead has died like any other.
func TestDeathsWhileEnding(t *testing.T) {
	for ends, c := range map[string]struct {
		why    string
		guilty int
	}{
		"well":          {},
		"with status 1": {why: "ended"},
		"in a crash":    {why: "crash", guilty: 1},
		"never":         {why: "overrun"},
	} {
		for _, by := range []string{"hold", "stop"} {
			t.Run(ends+" by "+by, func(t *testing.T) {
				w := supervise(t, ends, func(c *Config) {
					if ends == "never" {
						c.StopIn = 500 * time.Millisecond
					}
				})
				w.ready(t)
				if by == "stop" {
					w.stop()
					<-w.ended
				} else if err := w.Hold(t.Context()); err != nil {
					t.Fatal(err)
				}
				var d Death
				select {
				case d = <-w.deaths:
				default:
				}
				if d.Why != c.why || len(d.Guilty) != c.guilty || c.why != "" && d.Node != "host~kind#1" {
					t.Errorf("death %+v, want %+v", d, c)
				}
				if died := w.State().Deaths == 1; died != (c.why != "") {
					t.Errorf("state %+v", w.State())
				}
			})
		}
	}
}

// Who asked for the end does not wait for the next start.
func TestReleaseAfterDeath(t *testing.T) {
	w := supervise(t, "with status 1", nil)
	for range 4 { // short lives: the next start would wait for seconds
		w.ready(t)
		if err := w.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Release()
	}
	if st := w.ready(t); st.Deaths != 4 || time.Until(st.Until) > 0 {
		t.Errorf("%+v", st)
	}
}

// A hold is over when nothing goes on any more: not while a child is about to
// start, nor while its death is noted.
func TestHoldWaits(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	in, out := make(chan string), make(chan struct{})
	at := func(where string) { in <- where; <-out }
	w := supervise(t, "well", func(c *Config) {
		c.Env = func() []string { at("start"); return os.Environ() }
		c.Died = func(context.Context, Death) { at("death") }
	})
	held := func(where string) {
		t.Helper()
		if got := <-in; got != where {
			t.Fatalf("at %s, want %s", got, where)
		}
		if err := w.Hold(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("at %s: %v, want a wait", where, err)
		}
		w.Release()
		out <- struct{}{}
	}
	held("start")
	if err := syscall.Kill(w.ready(t).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	held("death")
	held("start")
	w.ready(t)
	if err := w.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := w.State(); st.PID != 0 {
		t.Errorf("%+v", st)
	}
	if err := w.Hold(gone); err != nil {
		t.Errorf("held, and nothing runs: %v", err)
	}
}

// While a host drains no child starts, and one that runs is left alone.
func TestRest(t *testing.T) {
	w := supervise(t, "well", nil)
	before := w.ready(t)
	w.Rest(true)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if d := <-w.deaths; d.Why == "" {
		t.Errorf("%+v: want its end to be the kill's", d)
	}
	w.until(t, "no child starts", func(st State) bool { return st.State == StateStopped })
	w.Rest(false)
	if st := w.ready(t); st.PID == before.PID || st.Deaths != 1 {
		t.Errorf("%+v", st)
	}
}
