package host

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// A panic ends one copy. The room starts again from its checkpoint and passes
// over the input at fault; other rooms notice nothing.
func TestPanicRestartsOnlyItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, first := joined(t, h, "tally/one")
		activate(t, h.Host, "tally/two", wire.ModeCreate, 0)
		q := newPlayer(l, l.ear, "tally/two", 8, 200)
		q.attach(t, peer.WhyJoin, wire.Attach{})
		p.moves(1, 2)
		p.waitAck(t, 2, 2)
		p.input(3, "panic")
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		h.back(t, "tally/one", first.at.Epoch)
		l.forget()
		a := p.attach(t, peer.WhyReattach, first.at)
		if a.kind != peer.KindAttached || a.at.Applied != 2 || a.at.Epoch <= first.at.Epoch {
			t.Fatalf("attach after the panic: %v %+v", a, a.at)
		}
		p.input(3, "panic")
		p.input(4, "move 4")
		p.waitAck(t, 4, 4)
		l.wait(t, "input failed", isTold(wire.TypeFailed))
		if got := l.messages(7); !slices.Equal(got, []string{"move 4"}) {
			t.Errorf("messages after the panic: %q", got)
		}
		q.moves(1, 3)
		q.waitAck(t, 3, 3)
		for _, m := range l.list() {
			if m.handle == 8 && m.kind == peer.KindGone {
				t.Error("the other room ended, too")
			}
		}
	})
}

// back waits for a copy of the room after an epoch.
func (n *node) back(t *testing.T, room wire.RoomID, after wire.Epoch) {
	t.Helper()
	until(t, "room is back", func() bool {
		r := n.find(room)
		return r != nil && r.claim.Epoch > after
	})
}

func TestRoomThatKeepsFailingIsQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, first := joined(t, h, "tally/one")
		epoch := first.at.Epoch
		for n := wire.Input(1); n <= failuresMost; n++ {
			p.input(n, "panic")
			l.wait(t, "gone", isGone(7, wire.CodeNone))
			if n == failuresMost {
				break
			}
			h.back(t, "tally/one", epoch)
			a := p.attach(t, peer.WhyReattach, first.at)
			epoch = a.at.Epoch
			p.input(1, "panic") // skipped as poisoned
			for k := a.at.Applied + 1; k <= n; k++ {
				p.input(k, "panic")
			}
			p.waitAck(t, n, n)
			l.forget()
		}
		until(t, "copy is out", func() bool { return h.find("tally/one") == nil })
		wantCode(t, h.Host, "tally/one", wire.ModeJoin, wire.CodeUnavailable)
		time.Sleep(failuresWithin)
		activate(t, h.Host, "tally/one", wire.ModeJoin, 0)
	})
}

func TestFailedRoomWithoutDurabilityEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", fleetingKind())
		l, p, _ := joined(t, h, "fleeting/one")
		p.input(1, "panic")
		l.wait(t, "ended", isGone(7, wire.CodeEnded))
		until(t, "copy is out", func() bool { return h.find("fleeting/one") == nil })
		wantCode(t, h.Host, "fleeting/one", wire.ModeJoin, wire.CodeNoRoom)
	})
}

// A close is confirmed when its tombstone is stored, not before.
func TestCloseIsDurableBeforeItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, first := joined(t, h, "tally/one")
		p.moves(1, 1)
		p.waitAck(t, 1, 1)
		time.Sleep(time.Millisecond)
		resume := h.store.hang()
		p.input(2, "close")
		time.Sleep(200 * time.Millisecond)
		for _, m := range l.list() {
			if m.kind == peer.KindGone || m.kind == peer.KindLeft {
				t.Fatalf("heard %v before the close was stored", m)
			}
		}
		resume()
		l.wait(t, "closed", isGone(7, wire.CodeRoomClosed))
		until(t, "copy is out", func() bool { return h.find("tally/one") == nil })
		mem := h.memStore()
		mem.mu.Lock()
		if r := mem.rooms["tally/one"]; !r.closed {
			t.Errorf("store has %+v", r)
		}
		mem.mu.Unlock()
		gone := 0
		for _, m := range l.list() {
			if m.kind == peer.KindGone {
				gone++
			}
		}
		if gone != 1 {
			t.Errorf("told %d times that the room is gone", gone)
		}
		wantCode(t, h.Host, "tally/one", wire.ModeJoin, wire.CodeNoRoom)
		loc := activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
		if loc.Incarnation == first.at.Incarnation {
			t.Error("the new room has the old incarnation")
		}
	})
}

// A kick is in the store before the member hears of it.
func TestKickIsDurableBeforeItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, _ := joined(t, h, "tally/one")
		time.Sleep(150 * time.Millisecond)
		resume := h.store.hang()
		p.input(1, "kick")
		time.Sleep(200 * time.Millisecond)
		for _, m := range l.list() {
			if m.kind == peer.KindLeft {
				t.Fatalf("heard %v before the kick was stored", m)
			}
		}
		resume()
		l.wait(t, "kicked", func(m heard) bool { return m.kind == peer.KindLeft && m.code == wire.CodeKicked })
	})
}

func TestEmptyRoomIsUnloadedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tickingKind()
		k.Grace, k.EmptyAfter = time.Second, 2*time.Second
		h := start(t, newMemStore(), "a#1", k)
		l, p, first := joined(t, h, "ticking/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 0)
		h.linkDown(l)
		time.Sleep(2500 * time.Millisecond)
		if len(h.List()) != 1 {
			t.Fatal("room is gone before its time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.List(); len(got) != 0 {
			t.Fatalf("room is still there: %+v", got)
		}
		if l := h.Load(); l != (Load{}) {
			t.Errorf("load of an empty host: %+v", l)
		}
		loc := activate(t, h.Host, "ticking/one", wire.ModeJoin, 0)
		if loc.Incarnation != first.at.Incarnation || loc.Epoch <= first.at.Epoch {
			t.Errorf("came back as %+v, was %+v", loc, first.at)
		}
		l = newPipe(h.Host)
		q := newPlayer(l, l.ear, "ticking/one", 1, 300)
		if a := q.attach(t, peer.WhyJoin, wire.Attach{}); a.at.Seq != 3 {
			t.Errorf("room came back at message %d, want 3", a.at.Seq)
		}
		h.linkDown(l)
	})
}

// The state that a room has when it is unloaded is the one it comes back with,
// whatever its checkpoint interval.
func TestUnloadedRoomIsSavedAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tallyKind()
		k.Durability, k.Grace, k.EmptyAfter = rooms.Checkpoint(time.Hour), time.Second, time.Second
		h := start(t, newMemStore(), "a#1", k)
		var released []wire.Epoch
		h.cfg.Released = func(_ wire.RoomID, epoch wire.Epoch) { released = append(released, epoch) }
		l, p, first := joined(t, h, "tally/one")
		r := h.find("tally/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 0)
		h.linkDown(l)
		<-r.done
		if len(released) != 1 || released[0] != first.at.Epoch {
			t.Errorf("the directory was told of the end of epochs %v, want %d", released, first.at.Epoch)
		}
		activate(t, h.Host, "tally/one", wire.ModeJoin, 0)
		l = newPipe(h.Host)
		q := newPlayer(l, l.ear, "tally/one", 1, 300)
		if a := q.attach(t, peer.WhyJoin, wire.Attach{Incarnation: first.at.Incarnation}); a.at.Seq != 3 {
			t.Errorf("room came back at message %d, want 3", a.at.Seq)
		}
		h.linkDown(l)
	})
}

// An attach that waits in the mailbox of a copy that ends is sent on.
func TestWaitingAttachIsAnsweredWhenTheCopyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, _, _ := joined(t, h, "tally/one")
		resume := h.store.hang()
		defer resume()
		h.lease.set(0)
		late := newPlayer(l, l.ear, "tally/one", 7, 200)
		l.send(peer.KindAttach, peer.Attach{Handle: 7, Member: 200, Generation: 1, Room: "tally/one"}.Append(nil))
		synctest.Wait()
		h.find("tally/one").kill(errFenced)
		l.wait(t, "refusal", func(m heard) bool {
			return m.kind == peer.KindRefused && m.who == late.who && m.code == wire.CodeNone
		})
	})
}

// Orderly shutdown: everything is saved, and another host can claim at once.
func TestShutdownSavesAndLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tallyKind()
		k.Durability = rooms.Checkpoint(time.Hour) // only the last save counts
		mem := newMemStore()
		a := start(t, mem, "a#1", k)
		b := start(t, mem, "b#1", k)
		l, p, first := joined(t, a, "tally/one")
		p.moves(1, 5)
		p.waitAck(t, 5, 0)
		began := time.Now()
		l.mu.Lock()
		l.watch = func(kind peer.Kind) {
			mem.mu.Lock()
			defer mem.mu.Unlock()
			if kind == peer.KindGone && mem.alive(a.lease.current()) {
				t.Error("gateway was sent on while the lease still kept others out")
			}
		}
		l.mu.Unlock()
		a.stop()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("shutdown took %s", took)
		}
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		loc := activate(t, b.Host, "tally/one", wire.ModeJoin, first.at.Epoch)
		q := newPipe(b.Host)
		again := newPlayer(q, q.ear, "tally/one", 2, 100)
		if got := again.attach(t, peer.WhyReattach, first.at); got.at.Applied != 5 || got.at.Epoch != loc.Epoch {
			t.Errorf("after the shutdown: %+v", got.at)
		}
		b.linkDown(q)
	})
}

// A room whose code does not return can't be saved: shutdown says so by its
// deadline.
func TestShutdownGivesUpOnAStuckRoom(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	k := tallyKind()
	k.New = func() rooms.Handler { return &tally{hold: hold} }
	v := &view{memStore: newMemStore()}
	cfg := testConfig(v, "a#1", []rooms.Kind{k})
	cfg.SaveWithin = 10 * time.Millisecond
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	until(t, "host is ready", func() bool { return h.Ready() == nil })
	n := &node{Host: h, store: v}
	_, p, _ := joined(t, n, "tally/one")
	p.input(1, "hold")
	until(t, "room is in its handler", func() bool { return h.find("tally/one").calls.call.Load() != 0 })
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "tally/one") {
		t.Errorf("Run: %v, want the stuck room's name", err)
	}
	close(hold)
	h.running.Wait()
}

func TestWatchdogTakesARoomOnce(t *testing.T) {
	var p pulse
	looks := func(n int) (told int) {
		for range n {
			if p.take() {
				told++
			}
		}
		return told
	}
	for range 3 { // calls that end are never stuck
		p.Begin()
		if looks(stuckAfter) != 0 {
			t.Fatal("taken too early")
		}
		if !p.End() {
			t.Fatal("a room that was not taken is")
		}
	}
	p.Begin()
	if looks(50) != 1 {
		t.Error("a room whose call does not end is taken once")
	}
	p.Begin() // as from within the call, or by one who has not noticed
	if p.End() || looks(50) != 0 || !p.isTaken() {
		t.Error("a room that was taken is not given back")
	}
}

// A room whose state is above the store's limit plays on and says that durable
// acks pause, until it fits again.
func TestRefusedCheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, _ := joined(t, h, "tally/one")
		p.moves(1, 1)
		p.waitAck(t, 1, 1)
		p.input(2, "grow")
		l.wait(t, "store paused", isTold(wire.TypeStore))
		p.moves(3, 3)
		p.waitAck(t, 3, 1)
		for _, m := range l.list() {
			if m.kind == peer.KindAcks && m.ack.Durable > 1 {
				t.Errorf("durable ack %v for a refused checkpoint", m)
			}
		}
		mem := h.memStore()
		mem.mu.Lock()
		mem.limit = 16 << 20
		mem.mu.Unlock()
		p.waitAck(t, 3, 3)
		l.wait(t, "store runs", func(m heard) bool {
			return isTold(wire.TypeStore)(m) && m.frame[len(m.frame)-1] == 1
		})
	})
}

// The store stalls; the room's clock does not.
func TestStalledStoreDoesNotStallTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tickingKind())
		l, _, _ := joined(t, h, "ticking/one")
		time.Sleep(time.Second)
		resume := h.store.hang()
		time.Sleep(3 * time.Second) // adrift by now
		ticks := func() (n int) {
			for _, m := range l.list() {
				if m.kind == peer.KindOutput {
					n++
				}
			}
			return n
		}
		before := ticks()
		time.Sleep(5 * time.Second)
		if n := ticks() - before; n < 99 || n > 101 {
			t.Errorf("%d ticks in 5 s at 20 Hz", n)
		}
		resume()
	})
}

// A room that is closed while it is claimed again, since the store has lost it,
// is closed under the claim that comes of that: nothing is left open behind it.
func TestCloseWhileClaimedAgain(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), journaled(tallyKind())} {
		t.Run(map[bool]string{false: "checkpoint", true: "journal"}[k.Durability.Journaled()], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				h := start(t, mem, "a#1", k)
				id := wire.Room(k.Name, "one")
				_, p, _ := joined(t, h, id)
				p.moves(1, 3)
				p.waitAck(t, 3, 3)
				mem.wipe()
				waits, claim := make(chan struct{}, 8), make(chan struct{})
				h.store.mu.Lock()
				h.store.claims = func() { waits <- struct{}{}; <-claim }
				h.store.mu.Unlock()
				h.find(id).post(event{kind: evReclaim})
				<-waits
				closed := make(chan error, 1)
				go func() {
					_, err := h.ask(t.Context(), id, &act{do: actClose, reason: "done"})
					closed <- err
				}()
				synctest.Wait()
				close(claim)
				if err := <-closed; err != nil {
					t.Errorf("close: %v", err)
				}
				time.Sleep(time.Second) // what may still be on its way to the store
				wantCode(t, h.Host, id, wire.ModeJoin, wire.CodeNoRoom)
			})
		})
	}
}
