package host

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// A host dies between writing down that an input failed and anything else: the
// next one passes over the input and does not fail on it.
func TestPoisonedInputOutlivesItsHost(t *testing.T) {
	for name, k := range map[string]rooms.Kind{"checkpoint": tallyKind(), "journal": journaled(tallyKind())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemStore()
				a := start(t, mem, "a#1", k)
				l, p, first := joined(t, a, "tally/one")
				p.moves(1, 2)
				p.waitAck(t, 2, 2)
				died := make(chan struct{})
				a.store.mu.Lock()
				a.store.noted = func() { a.store.fail(errDown); close(died) }
				a.store.mu.Unlock()
				p.input(3, "panic")
				select {
				case <-died:
				case <-time.After(10 * time.Second):
					t.Fatal("the failure was not written down")
				}
				l.wait(t, "gone", isGone(7, wire.CodeNone))
				a.endLease()

				b := start(t, mem, "b#1", k)
				activate(t, b.Host, "tally/one", wire.ModeJoin, first.at.Epoch)
				l = newPipe(b.Host)
				q := newPlayer(l, l.ear, "tally/one", 9, 100)
				if again := q.attach(t, peer.WhyReattach, first.at); again.kind != peer.KindAttached {
					t.Fatalf("attach: %v", again)
				}
				q.input(3, "panic")
				q.input(4, "move 4")
				q.waitAck(t, 4, 4)
				l.wait(t, "input failed", isTold(wire.TypeFailed))
			})
		})
	}
}

// Three failures, on whichever hosts, keep the room from starting anywhere.
func TestQuarantineIsKnownToAllHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemStore()
		a, b := start(t, mem, "a#1", tallyKind()), start(t, mem, "b#1", tallyKind())
		id := wire.RoomID("tally/one")
		activate(t, a.Host, id, wire.ModeCreate, 0)
		r := a.find(id)
		for range failuresMost {
			time.Sleep(time.Second)
			a.faults.note(id, time.Now(), true)
		}
		if err := a.writeDown(t.Context(), r.claim); err != nil {
			t.Fatal(err)
		}
		a.stop()
		wantCode(t, b.Host, id, wire.ModeJoin, wire.CodeUnavailable)
		time.Sleep(failuresWithin)
		activate(t, b.Host, id, wire.ModeJoin, 0)
	})
}

func TestNotesOfTheStoreAreBounded(t *testing.T) {
	f := newFaults()
	now := time.Now()
	for i := range poisonedInputs + 100 {
		f.add("k/a", actor.Poison{Member: 1, N: wire.Input(i)})
		f.note("k/a", now.Add(time.Duration(i)*time.Second), false)
	}
	n := f.noteOf("k/a", now)
	if raw := must(movesEncoding.Marshal(n)); len(raw) > snapshot.MaxNoteBytes || len(n.Poison) != notedMost || len(n.Failed) != failuresMost {
		t.Errorf("note of %d bytes with %d inputs and %d failures", len(raw), len(n.Poison), len(n.Failed))
	}
	g := newFaults()
	if err := g.learn("k/a", must(movesEncoding.Marshal(n))); err != nil {
		t.Fatal(err)
	}
	if again := g.noteOf("k/a", now); len(again.Poison) != notedMost || again.Number <= n.Number {
		t.Errorf("learned: %+v", again)
	}
	for _, bad := range []string{"x", "\xa2\x01\x05\x03\x81\x83\x01\x41\x00\x01"} {
		if err := g.learn("k/b", []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
