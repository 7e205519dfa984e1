package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// leaveWithoutStore has A end while its store does not answer.
func leaveWithoutStore(t *testing.T, k rooms.Kind) *handedOver {
	t.Helper()
	w := &handedOver{moving: newMoving(t, k), path: filepath.Join(t.TempDir(), "rooms")}
	w.a.cfg.Shared = w.path
	w.a.store.fail(errDown)
	until(t, "rooms go on without a lease", w.a.lease.adrift.Load)
	w.p.input(4, "four")
	w.gw.wait(t, "the room plays on", func(heard) bool { return len(w.gw.messages(1)) == 4 })
	told := false
	if _, over, err := w.a.HandOver(t.Context(), HandOverOptions{Within: 10 * time.Second, Build: "old", Away: true,
		Tell: func(context.Context) { told = true }}); err != nil || over || !told {
		t.Fatalf("leave: %v, over %v, told %v", err, over, told)
	}
	w.a.crash()
	return w
}

// TestRoomsLeftWithoutAStore: what no store has waits in shared memory, also for
// as long as the next process finds no store, and through its end.
func TestRoomsLeftWithoutAStore(t *testing.T) {
	hourly := tallyKind()
	hourly.Durability = rooms.Checkpoint(time.Hour)
	degrading := tallyKind()
	degrading.Durability = rooms.Journal().Degrading()
	for _, k := range []rooms.Kind{hourly, tickingKind(), fleetingKind(), degrading} {
		t.Run(fmt.Sprint(k.Name, k.Durability), func(t *testing.T) {
			t.Parallel()
			w := leaveWithoutStore(t, k)
			w.waitInVain(t, k)
			n := w.next(t, false, k)
			if rep, any := n.AdoptState(); !any || rep.Rooms != 1 || rep.Shared != 1 || rep.Error != "" {
				t.Errorf("adoption is %+v", rep)
			}
			w.oneCopy(t, w.b, n)
			w.gw.dial(t, string(n.cfg.Node), n.addr)
			w.gw.forget()
			if h := w.p.attach(t, peer.WhyReattach, w.at); h.kind != peer.KindAttached || h.at.Applied != 4 {
				t.Errorf("the member came back to %v, applied %d", h, h.at.Applied)
			}
			if k.Durability == rooms.None() {
				return
			}
			w.p.input(5, "five")
			if k.Name != hourly.Name || k.Durability != hourly.Durability {
				w.p.waitAck(t, 5, 5)
			}
		})
	}
}

// waitInVain starts a process that finds the file and no store, and ends it.
func (w *handedOver) waitInVain(t *testing.T, k rooms.Kind) {
	t.Helper()
	v := &view{memStore: w.mem, err: errDown}
	cfg := testConfig(v, "a#0000000000000008", []rooms.Kind{k})
	cfg.Shared, cfg.SaveWithin = w.path, 100*time.Millisecond
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	until(t, "it waits for the store", h.adoption.waits.Load)
	wantCode(t, h, w.p.room, wire.ModeJoin, wire.CodeUnavailable)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.path); err != nil {
		t.Errorf("the rooms are not there any more: %v", err)
	}
}

// TestJournaledRoomLeftWithoutAStore goes on from its journal: nobody has heard
// what is not in there.
func TestJournaledRoomLeftWithoutAStore(t *testing.T) {
	t.Parallel()
	w := &handedOver{moving: newMoving(t, journaled(tallyKind())), path: filepath.Join(t.TempDir(), "rooms")}
	w.p.waitAck(t, 3, 3)
	w.a.cfg.Shared = w.path
	w.a.store.fail(errDown)
	until(t, "rooms go on without a lease", w.a.lease.adrift.Load)
	began := time.Now()
	if _, _, err := w.a.HandOver(t.Context(), HandOverOptions{Within: 10 * time.Second, Away: true, Tell: func(context.Context) {}}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it waited %s for a store that does not answer", took)
	}
	w.a.crash()
	n := w.next(t, false, journaled(tallyKind()))
	if rep, _ := n.AdoptState(); rep.Stored != 1 {
		t.Errorf("adoption is %+v", rep)
	}
	w.resumes(t, string(n.cfg.Node), n.addr)
}

// TestLeftRoomsThatAnotherHostHasTaken are that host's.
func TestLeftRoomsThatAnotherHostHasTaken(t *testing.T) {
	t.Parallel()
	w := leaveWithoutStore(t, tallyKind())
	until(t, "A's lease has ended", func() bool {
		w.mem.mu.Lock()
		defer w.mem.mu.Unlock()
		return !w.mem.alive(hostA + "/1")
	})
	activate(t, w.b.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
	n := w.next(t, false, tallyKind())
	if rep, _ := n.AdoptState(); rep.Shared != 0 || rep.Other != 1 {
		t.Errorf("adoption is %+v", rep)
	}
	if r := w.oneCopy(t, w.b, n); r.host != w.b.Host {
		t.Error("the room is not the other host's")
	}
}

func TestDrainWaitsForTheStore(t *testing.T) {
	t.Parallel()
	const lonely = 600 * time.Millisecond // longer than a move takes on a busy machine
	w := newDraining(t, tallyKind(), 5)
	w.a.store.fail(errDown)
	until(t, "the store is away", w.a.storeAway)
	if _, err := w.a.beginDrain(DrainOptions{Deadline: time.Minute, Lonely: lonely}); err != nil {
		t.Fatal(err)
	}
	until(t, "the drain says so", func() bool { return w.a.DrainState().Waits != "" })
	time.Sleep(lonely + 50*time.Millisecond) // it would be lonely by now
	if s := w.a.DrainState(); s.State != DrainRunning || s.Left != 5 || s.ETA != -1 || s.Failures != 0 {
		t.Errorf("without the store: %+v", s)
	}
	w.a.store.fail(nil)
	if s := w.wait(t); s.State != DrainDone || s.Moved != 5 || s.Waits != "" {
		t.Errorf("with the store again: %+v", s)
	}
}

func TestDrainWithoutAStoreHasADeadline(t *testing.T) {
	t.Parallel()
	w := newDraining(t, tallyKind(), 2)
	w.a.store.fail(errDown)
	until(t, "the store is away", w.a.storeAway)
	if _, err := w.a.beginDrain(DrainOptions{Deadline: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if s := w.wait(t); s.State != DrainFailed || s.Left != 2 || s.Error != errNoStore.Error() {
		t.Errorf("%+v", s)
	}
}

// TestStopping: rooms are left in shared memory where the store is away at the
// deadline or at a second signal, and never otherwise.
func TestStopping(t *testing.T) {
	for name, c := range map[string]struct {
		deadline     time.Duration
		others, back bool
		hurry        bool
		left         bool
	}{
		"no store until the deadline":     {deadline: 300 * time.Millisecond, others: true, left: true},
		"no store, alone":                 {deadline: 300 * time.Millisecond, left: true},
		"no store, told twice":            {deadline: time.Hour, others: true, hurry: true, left: true},
		"no store, nothing is to move":    {left: true},
		"the store comes back":            {deadline: time.Hour, others: true, back: true},
		"the store comes back, and alone": {deadline: time.Hour, back: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDraining(t, tallyKind(), 3)
			w.a.store.fail(errDown)
			until(t, "the store is away", w.a.storeAway)
			left, hurry, begun := false, make(chan struct{}), make(chan struct{}, 1)
			s := stopping{host: w.a.Host, deadline: c.deadline, hurry: hurry, others: func() bool { begun <- struct{}{}; return c.others },
				leave: func(context.Context) error { left = true; return nil }}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.run(ctx) }()
			if c.hurry {
				close(hurry)
			}
			if c.back {
				<-begun
				w.a.store.fail(nil)
			}
			if err := <-ended; err != nil || left != c.left {
				t.Errorf("left %v, want %v; %v", left, c.left, err)
			}
			if rooms := w.a.Load().Rooms; c.back && c.others && rooms != 0 {
				t.Errorf("%d rooms did not move when the store was back", rooms)
			}
		})
	}
}
