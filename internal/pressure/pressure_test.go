package pressure

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLevels(t *testing.T) {
	level := None
	for _, step := range []struct {
		used float64
		want Level
	}{
		{0, None}, {69.9, None}, {70, NoRooms}, {68, NoRooms}, {66.9, None}, {85, NoConnections}, {78, NoConnections}, {76, NoRooms},
		{95, CutSlowest}, {88, CutSlowest}, {86, NoConnections}, {66, None}, {100, CutSlowest}, {0, None},
	} {
		if level = next(level, step.used); level != step.want {
			t.Errorf("at %.1f %%: %v, want %v", step.used, level, step.want)
		}
	}
}

func TestTheScarcestCounts(t *testing.T) {
	m := New(Config{Memory: 1000, Log: zerolog.Nop()})
	m.files = 100
	memory, files := int64(0), int64(0)
	m.memory, m.open = func() int64 { return memory }, func() int64 { return files }
	for _, c := range []struct {
		memory, files int64
		want          Level
	}{{100, 10, None}, {950, 10, CutSlowest}, {100, 82, NoConnections}, {750, 99, CutSlowest}, {0, 0, None}} {
		memory, files = c.memory, c.files
		if m.look(); m.Level() != c.want {
			t.Errorf("%+v: %v", c, m.Level())
		}
	}
	m.cfg.Memory, m.files, memory, files = 0, 0, 1<<40, 1<<40
	if m.look(); m.Level() != None {
		t.Error("what is not known is short")
	}
	if (*Monitor)(nil).Level() != None {
		t.Error("nobody watches, and all is short")
	}
}

func TestWhatThisProcessUses(t *testing.T) {
	if machineMemory() <= 0 || memoryUsed() <= 0 || memoryUsed() >= machineMemory() {
		t.Errorf("memory: %d of %d", memoryUsed(), machineMemory())
	}
	before := filesOpen()
	var open []*os.File
	for range 50 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, f)
	}
	if got := filesOpen(); got-before < 45 || got > filesThereAre() {
		t.Errorf("%d files open, were %d", got, before)
	}
	for _, f := range open {
		f.Close()
	}
	held := make([]byte, 64<<20)
	for i := range held {
		held[i] = 1
	}
	m := New(Config{Memory: 66 << 20, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); m.Level() != CutSlowest; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("64 MiB of 66: %v", m.Level())
		}
	}
	cancel()
	if err := <-ended; err != nil || held[0] != 1 {
		t.Error(err)
	}
}
