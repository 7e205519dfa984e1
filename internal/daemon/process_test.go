package daemon

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// logText is what a log that many write to holds.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// runProcess runs a process whose wiring the test gives.
func runProcess(t *testing.T, ops OpsFlags, wire func(*Wiring) error) (status int, log string) {
	t.Helper()
	var out logText // by the process's parts, each in its goroutine
	f := NewFlags("testd", "")
	f.Err = &out
	f.Env = func(string) string { return "" }
	if _, ok := f.Parse(nil); !ok {
		t.Fatal(out.String())
	}
	status = Run(f, Process{Program: "testd", Node: "node-1", Ops: ops, Log: LogFlags{Level: "info", Format: "json"}, Wire: wire})
	return status, out.String()
}

func TestProcessEndsAtASignal(t *testing.T) {
	closed := false
	status, log := runProcess(t, OpsFlags{Addr: "127.0.0.1:0"}, func(w *Wiring) error {
		w.Defer(func() error { closed = true; return nil })
		w.Parts.Add("one", func(ctx context.Context) error {
			syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
			<-ctx.Done()
			if closed {
				t.Error("closed before the parts ended")
			}
			return nil
		})
		return nil
	})
	if status != 0 || !closed || !strings.Contains(log, `"message":"ended"`) || !strings.Contains(log, `"self":"node-1"`) {
		t.Errorf("status %d, closed %v, log %s", status, closed, log)
	}
}

func TestProcessStatusTellsWhoseFaultItWas(t *testing.T) {
	for _, c := range []struct {
		wire error
		want int
	}{{errors.New("disk on fire"), 1}, {BadSetting(errors.New("no such store")), ExitUsage}} {
		status, log := runProcess(t, OpsFlags{Addr: "127.0.0.1:0"}, func(*Wiring) error { return c.wire })
		if status != c.want || !strings.Contains(log, c.wire.Error()) {
			t.Errorf("%v: status %d, says %s", c.wire, status, log)
		}
	}
	status, log := runProcess(t, OpsFlags{Addr: "0.0.0.0:0"}, func(*Wiring) error { return nil })
	if status != ExitUsage || strings.Count(log, "\n") != 1 {
		t.Errorf("operations off loopback: status %d, says %s", status, log)
	}
	broken := errors.New("broken")
	status, log = runProcess(t, OpsFlags{Addr: "127.0.0.1:0"}, func(w *Wiring) error {
		w.Parts.Add("one", func(context.Context) error { return broken })
		return nil
	})
	if status != 1 || !strings.Contains(log, "one: broken") {
		t.Errorf("a part that breaks: status %d, says %s", status, log)
	}
}
