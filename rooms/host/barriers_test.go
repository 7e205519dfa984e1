package host

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// waiter waits for durability as often as it is told.
type waiter struct{ tally }

func (w *waiter) Input(r rooms.Room, m rooms.Member, data []byte) {
	n, called := 0, 0
	if _, err := fmt.Sscanf(string(data), "wait %d", &n); err != nil {
		w.tally.Input(r, m, data)
		return
	}
	for range n {
		r.Durable(func() {
			if called++; called == n {
				m.Send(fmt.Appendf(nil, "%d called", n))
			}
		})
	}
}

// Code that waits once too often fails on that input, which is passed over when
// the room has started again.
func TestTooManyBarriersFailTheirInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := journaled(tallyKind())
		k.New = func() rooms.Handler { return &waiter{} }
		h := start(t, newMemStore(), "a#1", k)
		l, p, first := joined(t, h, "tally/one")
		p.input(1, fmt.Sprintf("wait %d", rooms.MaxBarriers))
		until(t, "all that may wait are called", func() bool {
			return slices.Contains(l.messages(7), fmt.Sprintf("%d called", rooms.MaxBarriers))
		})
		tooMany := fmt.Sprintf("wait %d", rooms.MaxBarriers+1)
		p.input(2, tooMany)
		l.wait(t, "gone", isGone(7, wire.CodeNone))

		activate(t, h.Host, "tally/one", wire.ModeJoin, first.at.Epoch)
		l = newPipe(h.Host)
		q := newPlayer(l, l.ear, "tally/one", 9, 100)
		if again := q.attach(t, peer.WhyReattach, first.at); again.kind != peer.KindAttached {
			t.Fatalf("attach: %v", again)
		}
		q.input(2, tooMany)
		q.input(3, "move 3")
		q.waitAck(t, 3, 3)
		l.wait(t, "input failed", isTold(wire.TypeFailed))
	})
}
