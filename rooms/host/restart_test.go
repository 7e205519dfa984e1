package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// handedOver is a room of host A that waits in shared memory, its process gone.
type handedOver struct {
	*moving
	path   string
	legacy *Legacy
	gone   []string // kinds that the next program does not serve
}

func newHandedOver(t *testing.T, k rooms.Kind) *handedOver {
	t.Helper()
	w := &handedOver{moving: newMoving(t, k), path: filepath.Join(t.TempDir(), "rooms")}
	w.leave(t)
	return w
}

// leave hands A's rooms over and has its process be gone, as exec does.
func (w *handedOver) leave(t *testing.T) {
	t.Helper()
	w.a.cfg.Shared = w.path
	told := false
	legacy, over, err := w.a.HandOver(t.Context(), HandOverOptions{Within: 10 * time.Second, Build: "old", Gone: w.gone, Tell: func(context.Context) { told = true }})
	if err != nil || over || !told {
		t.Fatalf("hand over: %v, over %v, told %v", err, over, told)
	}
	if _, err := w.a.Activate(t.Context(), w.p.room, wire.ModeJoin, 0); wire.CodeOf(err).Code != wire.CodeUnavailable {
		t.Errorf("a host that restarts answers %v", err)
	}
	w.legacy = legacy
	w.a.crash()
}

// next starts the program that follows: the same process, or a fresh one.
func (w *handedOver) next(t *testing.T, same bool, kinds ...rooms.Kind) *linked {
	t.Helper()
	name := directory.NodeID("a#0000000000000009")
	if same {
		name = hostA
	}
	n := startLinkedWith(t, w.mem, name, func(c *Config) {
		c.Shared = w.path
		if same {
			c.Inherited = w.legacy
		}
	}, kinds...)
	until(t, "rooms are taken up", func() bool { return isDone(n.adoption.done) })
	return n
}

func TestRestartInPlaceKeepsMembersInputsAndOutputs(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), tickingKind(), fleetingKind(), journaled(tallyKind())} {
		for _, same := range []bool{true, false} {
			t.Run(fmt.Sprint(k.Name, k.Durability.Journaled(), same), func(t *testing.T) {
				w := newHandedOver(t, k)
				if _, err := w.b.Activate(t.Context(), w.p.room, wire.ModeJoin, w.at.Epoch); err == nil {
					t.Error("another host took the room of one that restarts")
				}
				n := w.next(t, same, k)
				rep, any := n.AdoptState()
				if !any || rep.Rooms != 1 || rep.Shared != 1 || rep.Build != "old" || rep.Error != "" {
					t.Errorf("adoption is %+v", rep)
				}
				if r := w.oneCopy(t, w.b, n); r.claim.Epoch <= w.at.Epoch || r.holder != n.lease.current() {
					t.Errorf("claim %+v of %s after epoch %d", r.claim, r.holder, w.at.Epoch)
				}
				w.resumes(t, string(n.cfg.Node), n.addr)
				w.mem.mu.Lock()
				if w.mem.alive(markOf(hostA, 1)) {
					t.Error("the store still has it that the host restarts")
				}
				w.mem.mu.Unlock()
				if _, err := os.Stat(w.path); !os.IsNotExist(err) {
					t.Errorf("the file is still there: %v", err)
				}
			})
		}
	}
}

// TestWhatIsNotDurableStaysSo: being in shared memory is not being stored.
func TestWhatIsNotDurableStaysSo(t *testing.T) {
	k := tallyKind()
	k.Durability = rooms.Checkpoint(time.Hour)
	w := newHandedOver(t, k)
	n := w.next(t, true, k)
	w.gw.dial(t, hostA, n.addr)
	h := w.p.attach(t, peer.WhyReattach, w.at)
	if h.kind != peer.KindAttached || h.at.Applied != 3 || h.at.Durable == 3 {
		t.Errorf("after the restart: applied %d, durable %d", h.at.Applied, h.at.Durable)
	}
}

// TestRestartFallsBackToTheStore: whatever does not fit costs what a crash
// would, for that room alone.
func TestRestartFallsBackToTheStore(t *testing.T) {
	t.Parallel()
	older := tallyKind()
	for name, c := range map[string]struct {
		spoil          func(t *testing.T, w *handedOver)
		kind           rooms.Kind
		shared, stored int
		broken         bool // the whole file
	}{
		"a damaged room": {spoil: func(t *testing.T, w *handedOver) { writeAt(t, w.path, 4096+5, 0xff) }, kind: older, stored: 1},
		"no mark":        {spoil: func(t *testing.T, w *handedOver) { writeAt(t, w.path, 4096-3, 0xff) }, kind: older, broken: true},
		"no file":        {spoil: func(t *testing.T, w *handedOver) { os.Remove(w.path) }, kind: older, broken: true},
		"cut short":      {spoil: func(t *testing.T, w *handedOver) { os.Truncate(w.path, 4097) }, kind: older, broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &handedOver{moving: newMoving(t, older), path: filepath.Join(t.TempDir(), "rooms")}
			w.p.waitAck(t, 3, 3) // it is in the store
			w.leave(t)
			c.spoil(t, w)
			n := w.next(t, true, c.kind)
			rep, any := n.AdoptState()
			if !any || rep.Shared != c.shared || rep.Stored != c.stored || (rep.Error != "") != c.broken {
				t.Errorf("adoption is %+v", rep)
			}
			if c.broken { // nobody knew which rooms there were: they come when they are asked for
				activate(t, n.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
			}
			w.oneCopy(t, w.b, n)
			w.gw.dial(t, hostA, n.addr)
			if h := w.p.attach(t, peer.WhyReattach, w.at); h.kind != peer.KindAttached || h.at.Applied != 3 || h.at.How == wire.HowResumed {
				t.Errorf("the member came back to %v", h)
			}
		})
	}
}

// TestFencedWhileItRestarted: a room that another host has taken meanwhile is
// that host's.
func TestFencedWhileItRestarted(t *testing.T) {
	w := newHandedOver(t, tallyKind())
	w.mem.mu.Lock()
	w.mem.endLease(w.legacy.Lease) // T has passed
	w.mem.mu.Unlock()
	activate(t, w.b.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
	n := w.next(t, true, tallyKind())
	rep, _ := n.AdoptState()
	if rep.Shared != 0 || rep.Other != 1 {
		t.Errorf("adoption is %+v", rep)
	}
	if r := w.oneCopy(t, w.b, n); r.host != w.b.Host {
		t.Error("the room is not the other host's")
	}
}

// TestKindTheNextProgramDoesNotServe: its rooms are saved and let go, for
// whoever serves them.
func TestKindTheNextProgramDoesNotServe(t *testing.T) {
	w := &handedOver{moving: newMoving(t, tallyKind()), path: filepath.Join(t.TempDir(), "rooms"), gone: []string{"tally"}}
	w.leave(t)
	n := w.next(t, true, tickingKind())
	if rep, _ := n.AdoptState(); rep.Shared != 0 || rep.Other != 1 {
		t.Errorf("adoption is %+v", rep)
	}
	wantCode(t, n.Host, w.p.room, wire.ModeJoin, wire.CodeUnknownKind)
	activate(t, w.b.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
	w.oneCopy(t, w.b, n)
	w.gw.dial(t, hostB, w.b.addr)
	if h := w.p.attach(t, peer.WhyReattach, w.at); h.kind != peer.KindAttached || h.at.Applied != 3 {
		t.Errorf("the member came back to %v: inputs that were applied are lost", h)
	}
}

func writeAt(t *testing.T, path string, at int64, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, at); err != nil {
		t.Fatal(err)
	}
}
