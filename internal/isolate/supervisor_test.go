package isolate

import (
	"context"
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
