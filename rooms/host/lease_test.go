package host

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// joined is a host with one room and one player, on a pipe.
func joined(t *testing.T, h *node, room wire.RoomID) (*pipe, *player, heard) {
	t.Helper()
	activate(t, h.Host, room, wire.ModeJoinOrCreate, 0)
	l := newPipe(h.Host)
	p := newPlayer(l, l.ear, room, 7, 100)
	return l, p, p.attach(t, peer.WhyJoin, wire.Attach{})
}

// endLease ends a host's lease in the store, as another on proof would.
func (n *node) endLease() {
	n.memStore().mu.Lock()
	defer n.memStore().mu.Unlock()
	n.memStore().endLease(n.lease.current())
}

func (n *node) memStore() *memStore { return n.store.memStore }

func TestLeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		_, p, _ := joined(t, h, "tally/one")
		for i := range 20 {
			time.Sleep(333 * time.Millisecond)
			if !h.lease.valid() {
				t.Fatalf("lease has run out at look %d", i)
			}
		}
		p.moves(1, 1)
		p.waitAck(t, 1, 1)
		if h.lease.current() != "a#1/1" {
			t.Errorf("holder is %s after 6 s", h.lease.current())
		}
	})
}

// A host that was paused past its lease is mute until the store has answered,
// and goes on when nobody took its room.
func TestWokenHostIsMuteUntilTheStoreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tickingKind())
		l, p, first := joined(t, h, "ticking/one")
		synctest.Wait()
		resume := h.store.hang()
		h.endLease()
		h.lease.set(0) // its clock says that the lease is over
		synctest.Wait()
		l.forget()
		p.moves(1, 3)
		time.Sleep(700 * time.Millisecond)
		if got := l.list(); len(got) > 0 {
			t.Fatalf("heard from a host without a lease: %v", got)
		}
		resume()
		p.waitAck(t, 3, 3)
		if got := l.messages(7); !slices.Equal(got, numbered(1, 3)) {
			t.Errorf("messages: %q", got)
		}
		if h.lease.current() == "a#1/1" {
			t.Error("an ended lease was renewed")
		}
		// The claim is under the new lease: nobody takes the room over at once.
		var held *directory.HeldElsewhere
		other := start(t, mem, "b#1", tickingKind())
		synctest.Wait()
		if loc, err := other.Activate(t.Context(), "ticking/one", wire.ModeJoin, first.at.Epoch); !errors.As(err, &held) {
			t.Errorf("another host got the room: %+v, %v", loc, err)
		}
		for _, m := range l.list() {
			if m.epoch != 0 && m.epoch != first.at.Epoch {
				t.Errorf("epoch changed: %v", m)
			}
		}
	})
}

// The same, but another host took the room: the woken copy says nothing more.
func TestWokenHostThatLostItsRoomStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		h := start(t, mem, "a#1", tickingKind())
		other := start(t, mem, "b#1", tickingKind())
		l, p, first := joined(t, h, "ticking/one")
		synctest.Wait()
		resume := h.store.hang()
		h.endLease()
		h.lease.set(0)
		synctest.Wait()
		l.forget()
		loc := activate(t, other.Host, "ticking/one", wire.ModeJoin, first.at.Epoch)
		if loc.Epoch <= first.at.Epoch {
			t.Fatalf("taken over at epoch %d, was %d", loc.Epoch, first.at.Epoch)
		}
		p.moves(1, 3)
		resume()
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		for _, m := range l.list() {
			if m.kind != peer.KindGone {
				t.Errorf("heard %v from a copy that was taken over", m)
			}
		}
		until(t, "copy is out", func() bool { return len(h.List()) == 0 })
	})
}

// With the store unreachable rooms go on, say that durable acks pause, and
// take no new rooms.
func TestUnreachableStoreDoesNotStopRooms(t *testing.T) {
	for name, break_ := range map[string]func(*view) func(){
		"refused": func(v *view) func() { v.fail(errDown); return func() { v.fail(nil) } },
		"hanging": func(v *view) func() { return v.hang() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, newMemStore(), "a#1", tickingKind())
				l, p, first := joined(t, h, "ticking/one")
				time.Sleep(2 * time.Second)
				l.forget()
				mend := break_(h.store)
				began := time.Now()
				l.wait(t, "store paused", isTold(wire.TypeStore))
				if took := time.Since(began); took > 1200*time.Millisecond {
					t.Errorf("members were told after %s", took)
				}
				time.Sleep(3 * time.Second)
				p.moves(1, 3)
				p.waitAck(t, 3, 0)
				time.Sleep(25 * time.Millisecond) // acks come with ticks: look between them
				longest, last := time.Duration(0), 0
				for range 100 {
					time.Sleep(50 * time.Millisecond)
					if n := len(l.list()); n == last {
						longest += 50 * time.Millisecond
					} else {
						last = n
					}
				}
				if longest > 100*time.Millisecond {
					t.Errorf("room was silent for %s while adrift", longest)
				}
				wantCode(t, h.Host, "ticking/two", wire.ModeCreate, wire.CodeUnavailable)
				l.forget()
				mend()
				p.waitAck(t, 3, 3)
				l.wait(t, "store runs", func(m heard) bool {
					return isTold(wire.TypeStore)(m) && m.frame[len(m.frame)-1] == 1
				})
				if got := h.List(); len(got) != 1 || got[0].Epoch != first.at.Epoch {
					t.Errorf("rooms after: %+v", got)
				}
			})
		})
	}
}

// A pause of this process is no word on the store: it must not make rooms go
// on without a lease.
func TestFailuresBeforeAPauseDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l := h.lease
		h.stop() // the test plays the lease's loop now
		l.beat, l.failures = l.now(), 0
		l.failed(errDown)
		l.failed(errDown)
		l.beat = l.now()
		time.Sleep(10 * time.Second) // stopped
		l.failed(errDown)
		l.beat = l.now()
		if l.adrift.Load() {
			t.Fatal("adrift on one failure after a pause")
		}
		for range 40 {
			time.Sleep(leaseRetry)
			l.failed(errDown)
			l.beat = l.now()
		}
		if !l.adrift.Load() {
			t.Fatal("not adrift after two seconds of failures")
		}
	})
}

// A copy whose save is fenced stops at once.
func TestFencedSaveStopsTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, _ := joined(t, h, "tally/one")
		p.moves(1, 1)
		p.waitAck(t, 1, 1)
		mem := h.memStore()
		mem.mu.Lock()
		mem.rooms["tally/one"].claim.Nonce++ // another's
		mem.rooms["tally/one"].claim.Epoch += 5
		mem.mu.Unlock()
		p.moves(2, 2)
		gone := l.wait(t, "gone", isGone(7, wire.CodeNone))
		p.moves(3, 3)
		synctest.Wait()
		all := l.list()
		if last := all[len(all)-1]; last.String() != gone.String() {
			t.Errorf("heard %v after the end", last)
		}
		for _, m := range all {
			if m.kind == peer.KindAcks && m.ack.Durable > 1 {
				t.Errorf("durable ack %v for what another copy never had", m)
			}
		}
		until(t, "copy is out", func() bool { return len(h.List()) == 0 })
	})
}

// A store that lost its data gets the room back from memory, under the same
// incarnation.
func TestLostRoomIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, first := joined(t, h, "tally/one")
		p.moves(1, 5)
		p.waitAck(t, 5, 5)
		h.memStore().wipe()
		p.moves(6, 6)
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		loc := activate(t, h.Host, "tally/one", wire.ModeJoin, first.at.Epoch)
		if loc.Epoch <= first.at.Epoch || loc.Incarnation != first.at.Incarnation {
			t.Fatalf("given back as %+v, was %+v", loc, first.at)
		}
		a := p.attach(t, peer.WhyReattach, first.at)
		if a.at.Applied != 6 {
			t.Errorf("after the loss %+v, want 6 applied", a.at)
		}
		p.moves(7, 7)
		p.waitAck(t, 7, 7)
		mem := h.memStore()
		mem.mu.Lock()
		defer mem.mu.Unlock()
		if r := mem.rooms["tally/one"]; r == nil || r.data == nil || r.claim.Epoch != loc.Epoch {
			t.Errorf("store has %+v", r)
		}
	})
}

func TestHolderNamesItsNode(t *testing.T) {
	for in, want := range map[snapshot.Holder]string{"a#1/1": "a#1", "x/y#2/17": "x/y#2", "odd": "odd"} {
		if got := nodeOf(in); string(got) != want {
			t.Errorf("node of %q is %q, want %q", in, got, want)
		}
	}
}
