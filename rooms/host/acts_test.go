package host

import (
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// TestOperatorsActsAreDurableWhenTheyAreAnswered kicks a member, kills the host
// at once, and finds the member out where the room starts again.
func TestOperatorsActsAreDurableWhenTheyAreAnswered(t *testing.T) {
	for name, kind := range map[string]rooms.Kind{"checkpoint": tallyKind(), "journal": brokerKind(rooms.Journal())} {
		t.Run(name, func(t *testing.T) {
			mem := newMemStore()
			room := wire.Room(kind.Name, "one")
			a := startLinked(t, mem, "a#1", kind)
			activate(t, a.Host, room, wire.ModeJoinOrCreate, 0)
			g := dialGateway(t, "g#1", "a#1", a.addr)
			ann := newPlayer(g, g.ear, room, 7, 100)
			first := ann.attach(t, peer.WhyJoin, wire.Attach{})
			bob := newPlayer(g, g.ear, room, 7, 200)
			bobs := bob.attach(t, peer.WhyJoin, wire.Attach{})
			ann.moves(1, 3)
			ann.waitAck(t, 3, 3)

			d, err := a.Detail(t.Context(), room)
			if err != nil || len(d.Roll) != 2 || d.Roll[0].ID != 100 || d.Roll[0].Applied != 3 || !d.Roll[0].Connected || d.Inputs != 3 || d.Members != 2 {
				t.Fatalf("detail %+v, %v", d, err)
			}
			if _, err := a.ask(t.Context(), room, &act{do: actKick, member: 999}); wire.CodeOf(err).Code != wire.CodeBadRequest {
				t.Errorf("kick of nobody: %v", err)
			}
			if _, err := a.ask(t.Context(), room, &act{do: actKick, member: 100, reason: "out"}); err != nil {
				t.Fatal(err)
			}
			a.store.fail(errDown) // from here on nothing is saved
			g.wait(t, "ann hears of it", func(m heard) bool {
				return m.kind == peer.KindLeft && m.who.Member == 100 && m.code == wire.CodeKicked && m.text == "out"
			})
			a.crash()
			mem.mu.Lock()
			mem.endLease(a.lease.current())
			mem.mu.Unlock()

			b := startLinked(t, mem, "b#1", kind)
			activate(t, b.Host, room, wire.ModeJoin, first.at.Epoch)
			g2 := dialGateway(t, "g2#1", "b#1", b.addr)
			again := newPlayer(g2, g2.ear, room, 9, 100)
			if got := again.attach(t, peer.WhyReattach, first.at); got.kind != peer.KindRefused || got.code != wire.CodeKicked {
				t.Errorf("one who was kicked: %v", got)
			}
			bob2 := newPlayer(g2, g2.ear, room, 9, 200)
			if got := bob2.attach(t, peer.WhyReattach, bobs.at); got.kind != peer.KindAttached {
				t.Errorf("one who was not: %v", got)
			}
			if h := b.chronicle.of(room); len(h) != 1 || h[0].How != "restored" || !h[0].Ended.IsZero() || h[0].Epoch <= first.at.Epoch {
				t.Errorf("history at b: %+v", h)
			}
			if _, err := b.ask(t.Context(), room, &act{do: actClose, reason: "that's all"}); err != nil {
				t.Fatal(err)
			}
			g2.wait(t, "bob hears of the end", func(m heard) bool {
				return m.kind == peer.KindGone && m.code == wire.CodeRoomClosed && m.text == "that's all"
			})
			wantCode(t, b.Host, room, wire.ModeJoin, wire.CodeNoRoom)
			if h := b.chronicle.of(room); len(h) != 1 || h[0].Why != "closed" || h[0].Ended.IsZero() {
				t.Errorf("history at b: %+v", h)
			}
		})
	}
}

func TestActsOnFleetingRoomsAndOnNone(t *testing.T) {
	h := start(t, newMemStore(), "a#1", fleetingKind())
	if _, err := h.ask(t.Context(), "fleeting/none", &act{do: actClose}); wire.CodeOf(err).Code != wire.CodeNoRoom {
		t.Errorf("close of no room: %v", err)
	}
	activate(t, h.Host, "fleeting/one", wire.ModeCreate, 0)
	if _, err := h.ask(t.Context(), "fleeting/one", &act{do: actClose, reason: "done"}); err != nil {
		t.Errorf("close: %v", err)
	}
}
