package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/wire"
)

// fakeStore is Save alone, with an answer that tests choose.
type fakeStore struct {
	Store

	mu      sync.Mutex
	answer  func(r SaveRequest) error // nil: stored
	call    func(ctx context.Context) error
	batches [][]SaveRequest
	busy    map[wire.RoomID]bool
	calls   int
	most    int // calls at a time
	clash   bool
	stored  map[wire.RoomID]uint64
}

func (f *fakeStore) Save(ctx context.Context, reqs []SaveRequest) ([]error, error) {
	f.mu.Lock()
	f.batches = append(f.batches, slices.Clone(reqs))
	f.calls++
	f.most = max(f.most, f.calls)
	for _, r := range reqs {
		f.clash = f.clash || f.busy[r.Claim.Room]
		f.busy[r.Claim.Room] = true
	}
	call, answer := f.call, f.answer
	f.mu.Unlock()
	var err error
	if call != nil {
		err = call(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls--
	errs := make([]error, len(reqs))
	for i, r := range reqs {
		delete(f.busy, r.Claim.Room)
		if answer != nil {
			errs[i] = answer(r)
		}
		if err == nil && errs[i] == nil {
			f.stored[r.Claim.Room] = max(f.stored[r.Claim.Room], r.Seq)
		}
	}
	return errs, err
}

func (f *fakeStore) set(call func(ctx context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call = call
}

// bench is a running writer in a bubble.
type bench struct {
	t      *testing.T
	store  *fakeStore
	w      *Writer
	reg    *prometheus.Registry
	mu     sync.Mutex
	states []string // "down" and "up", with the time since the start
	heard  map[string][]error
	start  time.Time
}

// inBubble runs f with a writer, and stops the writer after it.
func inBubble(t *testing.T, cfg WriterConfig, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, heard: make(map[string][]error), start: time.Now(), reg: prometheus.NewRegistry(),
			store: &fakeStore{busy: make(map[wire.RoomID]bool), stored: make(map[wire.RoomID]uint64)}}
		cfg.Store, cfg.Metrics = b.store, b.reg
		cfg.OnState = func(running bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.states = append(b.states, fmt.Sprintf("%t at %v", running, time.Since(b.start).Round(100*time.Millisecond)))
		}
		b.w = NewWriter(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.w.Run(ctx) }()
		synctest.Wait()
		f(b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if b.store.clash {
			t.Error("two saves of one room were in flight at once")
		}
		if rooms, bytes := b.w.Queued(); rooms != 0 || bytes != 0 {
			t.Errorf("%d rooms and %d bytes are left after the end", rooms, bytes)
		}
	})
}

func (b *bench) submit(room string, seq uint64, size int) { b.submitBy(b.w.Submit, room, seq, size) }

func (b *bench) submitLater(room string, seq uint64, size int) {
	b.submitBy(b.w.SubmitLater, room, seq, size)
}

func (b *bench) submitBy(submit func(SaveRequest, func(SaveRequest, error)), room string, seq uint64, size int) {
	req := SaveRequest{Claim: Claim{Room: wire.RoomID("k/" + room), Epoch: 1, Nonce: 1}, Seq: seq, Data: make([]byte, size)}
	before := time.Now()
	submit(req, func(r SaveRequest, err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		key := fmt.Sprintf("%s.%d", r.Claim.Room.Name(), r.Seq)
		b.heard[key] = append(b.heard[key], err)
	})
	if took := time.Since(before); took > 0 {
		b.t.Errorf("submit blocked for %v", took)
	}
}

func (b *bench) want(key string, want error) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.heard[key]; len(got) != 1 || !errors.Is(got[0], want) {
		b.t.Errorf("%s was told %v, want once %v", key, got, want)
	}
}

func (b *bench) silent(key string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.heard[key]; len(got) != 0 {
		b.t.Errorf("%s was told %v, want nothing yet", key, got)
	}
}

func (b *bench) wantStates(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.states, want) {
		b.t.Errorf("states %q, want %q", b.states, want)
	}
}

// pass lets time go by until all that can happen has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestWriterStores(t *testing.T) {
	inBubble(t, WriterConfig{}, func(b *bench) {
		b.submit("a", 1, 10)
		b.submit("b", 1, 10)
		pass(0)
		b.want("a.1", nil)
		b.want("b.1", nil)
		b.submit("a", 2, 10)
		pass(0)
		b.want("a.2", nil)
		if b.store.stored["k/a"] != 2 || b.store.stored["k/b"] != 1 {
			b.t.Errorf("stored %v", b.store.stored)
		}
		b.wantStates()
		if n := testutil.ToFloat64(b.w.m.stored); n != 3 {
			b.t.Errorf("%v stored by the metric", n)
		}
		if n := testutil.ToFloat64(b.w.m.storedBytes); n != 30 {
			b.t.Errorf("%v bytes stored by the metric", n)
		}
	})
}

// stall makes the store's calls wait until they are let go or time out.
func (b *bench) stall() (release func()) {
	gate := make(chan struct{})
	b.store.set(func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return sync.OnceFunc(func() {
		b.store.set(nil)
		close(gate)
	})
}

func TestWriterKeepsTheNewest(t *testing.T) {
	inBubble(t, WriterConfig{}, func(b *bench) {
		release := b.stall()
		b.submit("a", 1, 10)
		pass(0) // in flight
		for seq := uint64(2); seq <= 5; seq++ {
			b.submit("a", seq, 10)
		}
		for seq := uint64(2); seq <= 4; seq++ {
			b.want(fmt.Sprintf("a.%d", seq), ErrSuperseded)
		}
		b.submit("a", 3, 10) // comes late
		if got := b.heard["a.3"]; len(got) != 2 || !errors.Is(got[1], ErrSuperseded) {
			b.t.Errorf("the late one was told %v", got)
		}
		b.silent("a.1")
		b.silent("a.5")
		release()
		pass(0)
		b.want("a.1", nil)
		b.want("a.5", nil)
		if len(b.store.batches) != 2 || b.store.stored["k/a"] != 5 {
			b.t.Errorf("%d calls, stored %v", len(b.store.batches), b.store.stored)
		}
	})
}

func TestWriterBatches(t *testing.T) {
	inBubble(t, WriterConfig{BatchRooms: 10, BatchBytes: 1000, InFlight: 2}, func(b *bench) {
		release := b.stall()
		b.submit("x", 1, 1)
		pass(0)
		b.submit("y", 1, 1)
		pass(0) // both calls that there may be are out
		for i := range 35 {
			b.submit(fmt.Sprintf("small%d", i), 1, 10)
		}
		for i := range 5 {
			b.submit(fmt.Sprintf("mid%d", i), 1, 400)
		}
		b.submit("huge", 1, 5000)
		pass(0)
		if n := len(b.store.batches); n != 2 || b.store.most != 2 {
			b.t.Errorf("%d calls, %d at a time", n, b.store.most)
		}
		release()
		pass(0)
		for _, batch := range b.store.batches {
			bytes := 0
			for _, r := range batch {
				bytes += len(r.Data)
			}
			if len(batch) > 10 || bytes > 1000 && len(batch) > 1 {
				b.t.Errorf("a batch of %d rooms and %d bytes", len(batch), bytes)
			}
		}
		// x, y, 3 full of small ones, 5 small with 2 mid, 2 mid, mid, huge
		if n := len(b.store.batches); n != 9 || b.store.most != 2 {
			b.t.Errorf("%d calls, %d at a time", n, b.store.most)
		}
		if len(b.store.stored) != 43 {
			b.t.Errorf("%d rooms stored", len(b.store.stored))
		}
	})
}

func TestWriterIsBounded(t *testing.T) {
	inBubble(t, WriterConfig{MaxRooms: 3, MaxBytes: 100, InFlight: 1}, func(b *bench) {
		release := b.stall()
		b.submit("a", 1, 40)
		pass(0)
		b.submit("b", 1, 40)
		b.submit("c", 1, 30)
		b.want("c.1", ErrQueueFull) // bytes
		b.submit("c", 2, 20)
		b.submit("d", 1, 0)
		b.want("d.1", ErrQueueFull) // rooms
		b.submit("b", 2, 41)
		b.want("b.2", ErrQueueFull) // would grow
		b.silent("b.1")
		b.submit("b", 3, 30) // shrinks
		b.want("b.1", ErrSuperseded)
		b.submit("a", 2, 10) // beside the one in flight
		if rooms, bytes := b.w.Queued(); rooms != 3 || bytes != 100 {
			b.t.Errorf("%d rooms, %d bytes queued", rooms, bytes)
		}
		if n := testutil.ToFloat64(b.w.m.bytes); n != 100 {
			b.t.Errorf("%v bytes by the metric", n)
		}
		release()
		pass(time.Second)
		for _, key := range []string{"a.1", "a.2", "b.3", "c.2"} {
			b.want(key, nil)
		}
		b.submit("d", 2, 100)
		pass(0)
		b.want("d.2", nil)
		if n := testutil.ToFloat64(b.w.m.failures.WithLabelValues("queue_full")); n != 3 {
			b.t.Errorf("%v refused by the metric", n)
		}
	})
}

func TestWriterTriesAgain(t *testing.T) {
	inBubble(t, WriterConfig{}, func(b *bench) {
		b.store.set(func(context.Context) error { return errors.New("connection refused") })
		for i := range 100 {
			b.submit(fmt.Sprintf("r%d", i), 1, 10)
		}
		pass(900 * time.Millisecond)
		b.wantStates()
		pass(400 * time.Millisecond)
		b.wantStates("false at 1s")
		tries := len(b.store.batches)
		if tries < 5 || tries > 30 {
			b.t.Errorf("%d calls in 1.3 s of failing", tries)
		}
		b.submit("r7", 2, 10)
		b.want("r7.1", ErrSuperseded)
		pass(30 * time.Second)
		if more := len(b.store.batches) - tries; more < 25 || more > 70 {
			b.t.Errorf("%d calls in 30 s of failing", more)
		}
		b.wantStates("false at 1s")
		b.store.set(nil)
		pass(2 * time.Second)
		for i := range 100 {
			key := fmt.Sprintf("r%d.1", i)
			if i == 7 {
				key = "r7.2"
			}
			b.want(key, nil)
		}
		if len(b.states) != 2 || b.states[1][:4] != "true" {
			b.t.Errorf("states %q", b.states)
		}
	})
}

func TestWriterStallsAlone(t *testing.T) {
	inBubble(t, WriterConfig{Timeout: 2 * time.Second}, func(b *bench) {
		release := b.stall()
		b.submit("a", 1, 10)
		pass(500 * time.Millisecond)
		b.submit("b", 1, 10)
		pass(600 * time.Millisecond)
		b.wantStates("false at 1s")
		b.submit("c", 1, 10) // takes no time, or submit says so
		pass(10 * time.Second)
		b.silent("a.1")
		b.wantStates("false at 1s")
		release()
		pass(3 * time.Second)
		b.want("a.1", nil)
		b.want("b.1", nil)
		b.want("c.1", nil)
		if len(b.states) != 2 {
			b.t.Errorf("states %q", b.states)
		}
	})
}

// A store that is slow but answers runs.
func TestWriterSlowStoreRuns(t *testing.T) {
	inBubble(t, WriterConfig{InFlight: 1, BatchRooms: 1}, func(b *bench) {
		b.store.set(func(context.Context) error { time.Sleep(800 * time.Millisecond); return nil })
		for i := range 10 {
			b.submit(fmt.Sprintf("r%d", i), 1, 10)
		}
		pass(9 * time.Second)
		b.wantStates()
		if len(b.store.stored) != 10 {
			b.t.Errorf("%d stored", len(b.store.stored))
		}
	})
}

func TestWriterTellsTheStoresWord(t *testing.T) {
	inBubble(t, WriterConfig{}, func(b *bench) {
		words := map[wire.RoomID]error{"k/f": ErrFenced, "k/m": ErrMissing, "k/t": fmt.Errorf("x: %w", ErrTooBig)}
		b.store.answer = func(r SaveRequest) error { return words[r.Claim.Room] }
		for _, room := range []string{"f", "m", "t", "ok"} {
			b.submit(room, 1, 10)
		}
		pass(0)
		b.want("f.1", ErrFenced)
		b.want("m.1", ErrMissing)
		b.want("t.1", ErrTooBig)
		b.want("ok.1", nil)
		b.wantStates()
	})
}

// Where one node of a cluster is down, its rooms wait and the others go on.
func TestWriterOneRoomUnknown(t *testing.T) {
	inBubble(t, WriterConfig{}, func(b *bench) {
		down := true
		b.store.answer = func(r SaveRequest) error {
			if down && r.Claim.Room == "k/lost" {
				return fmt.Errorf("%w: no route", ErrUnknown)
			}
			return nil
		}
		b.submit("lost", 1, 10)
		b.submit("ok", 1, 10)
		pass(0)
		b.want("ok.1", nil)
		b.silent("lost.1")
		pass(2 * time.Second)
		b.submit("ok", 2, 10)
		pass(0)
		b.want("ok.2", nil)
		b.wantStates("false at 1s")
		if n := len(b.store.batches); n > 20 {
			b.t.Errorf("%d calls in 2 s", n)
		}
		b.submit("lost", 2, 10)
		b.want("lost.1", ErrSuperseded)
		b.store.mu.Lock()
		down = false
		b.store.mu.Unlock()
		pass(1100 * time.Millisecond)
		b.want("lost.2", nil)
		if len(b.states) != 2 {
			b.t.Errorf("states %q", b.states)
		}
	})
}

func TestWriterDrains(t *testing.T) {
	inBubble(t, WriterConfig{InFlight: 1, BatchRooms: 5}, func(b *bench) {
		b.store.set(func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil })
		start := time.Now()
		b.submit("first", 1, 10)
		synctest.Wait() // it is on its way alone, so that the others fill whole batches
		for i := range 50 {
			b.submit(fmt.Sprintf("r%d", i), 1, 10)
		}
		if err := b.w.Drain(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		if took := time.Since(start); took != 1100*time.Millisecond || len(b.store.stored) != 51 {
			b.t.Errorf("drained %d rooms in %v", len(b.store.stored), took)
		}
		if err := b.w.Drain(b.t.Context()); err != nil {
			b.t.Errorf("drain of nothing: %v", err)
		}
		b.store.set(func(context.Context) error { return errors.New("down") })
		b.submit("late", 1, 10)
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		if err := b.w.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.t.Errorf("drain without a store: %v", err)
		}
		b.silent("late.1")
	})
}

func TestWriterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{busy: make(map[wire.RoomID]bool), stored: make(map[wire.RoomID]uint64)}
		store.set(func(ctx context.Context) error { time.Sleep(time.Second); return ctx.Err() })
		w := NewWriter(WriterConfig{Store: store, InFlight: 1, BatchRooms: 1})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		heard := make(map[wire.RoomID]error)
		var mu sync.Mutex
		submit := func(room wire.RoomID) {
			w.Submit(SaveRequest{Claim: Claim{Room: room}}, func(r SaveRequest, err error) {
				mu.Lock()
				defer mu.Unlock()
				heard[room] = err
			})
		}
		submit("k/flying")
		synctest.Wait()
		submit("k/waiting")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		submit("k/late")
		want := map[wire.RoomID]error{"k/flying": nil, "k/waiting": ErrWriterStopped, "k/late": ErrWriterStopped}
		for room, err := range want {
			if got, ok := heard[room]; !ok || !errors.Is(got, err) {
				t.Errorf("%s was told %v, want %v", room, got, err)
			}
		}
	})
}

// Many submitters, a store that fails and stalls at random: every save is
// answered once, and the newest of each room is stored in the end.
func TestWriterUnderLoad(t *testing.T) {
	inBubble(t, WriterConfig{BatchRooms: 8}, func(b *bench) {
		n := 0
		b.store.set(func(ctx context.Context) error {
			b.store.mu.Lock()
			n++
			k := n
			b.store.mu.Unlock()
			time.Sleep(time.Duration(k%5) * 37 * time.Millisecond)
			if k%3 == 0 {
				return errors.New("lost the answer")
			}
			return nil
		})
		var wg sync.WaitGroup
		for r := range 30 {
			wg.Go(func() {
				for seq := uint64(1); seq <= 40; seq++ {
					b.submit(fmt.Sprintf("r%d", r), seq, 10)
					time.Sleep(time.Duration(10+r) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if err := b.w.Drain(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		for r := range 30 {
			if got := b.store.stored[wire.RoomID(fmt.Sprintf("k/r%d", r))]; got != 40 {
				b.t.Errorf("room %d: save %d is stored, want 40", r, got)
			}
			for seq := 1; seq <= 40; seq++ {
				if got := b.heard[fmt.Sprintf("r%d.%d", r, seq)]; len(got) != 1 || got[0] != nil && !errors.Is(got[0], ErrSuperseded) {
					b.t.Errorf("r%d.%d was told %v", r, seq, got)
				}
			}
		}
	})
}

func TestSavesInNoHurryGather(t *testing.T) {
	cfg := WriterConfig{Gather: 50 * time.Millisecond, BatchRooms: 3}
	inBubble(t, cfg, func(b *bench) {
		calls := func(want ...int) {
			t.Helper()
			synctest.Wait()
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			var got []int
			for _, batch := range b.store.batches {
				got = append(got, len(batch))
			}
			if !slices.Equal(got, want) {
				t.Errorf("at %v: calls of %v saves, want %v", time.Since(b.start), got, want)
			}
		}
		b.submitLater("a", 1, 1)
		time.Sleep(30 * time.Millisecond)
		b.submitLater("b", 1, 1)
		time.Sleep(19 * time.Millisecond)
		calls()
		time.Sleep(time.Millisecond) // 50 ms after the first
		calls(2)
		b.submitLater("a", 2, 1)
		b.submit("b", 2, 1) // takes it along
		calls(2, 2)
		b.submitLater("a", 3, 1)
		b.submitLater("b", 3, 1)
		calls(2, 2)
		b.submitLater("c", 3, 1) // a full batch
		calls(2, 2, 3)
		b.submitLater("a", 4, 1)
		if err := b.w.Drain(b.t.Context()); err != nil {
			t.Error(err)
		}
		calls(2, 2, 3, 1)
		if took := time.Since(b.start); took != 50*time.Millisecond {
			t.Errorf("all took %v, want the 50 ms of the first two", took)
		}
	})
}
