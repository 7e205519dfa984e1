package host

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// broker is a tally that confirms inputs "trade" once they are durable.
type broker struct{ ticking }

func (b *broker) Input(r rooms.Room, m rooms.Member, data []byte) {
	switch string(data) {
	case "trade":
		r.Durable(func() { m.Send([]byte("safe")) })
	case "chain":
		b.chain(r, m)
	}
	b.tally.Input(r, m, data)
}

// chain always has a function waiting.
func (b *broker) chain(r rooms.Room, m rooms.Member) {
	r.Durable(func() {
		m.Send([]byte("link"))
		b.chain(r, m)
	})
}

func brokerKind(d rooms.Durability) rooms.Kind {
	return rooms.Kind{Name: "broker", New: func() rooms.Handler { return &broker{} }, Durability: d}
}

func TestJournaledRoomGoesOnWhereItWas(t *testing.T) {
	mem := newMemStore()
	a := startLinked(t, mem, "a#1", brokerKind(rooms.Journal()))
	activate(t, a.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	g := dialGateway(t, "g#1", "a#1", a.addr)
	p := newPlayer(g, g.ear, "broker/one", 7, 100)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 40)
	p.waitAck(t, 40, 40) // long before a checkpoint is due
	if got := g.messages(7); !slices.Equal(got, numbered(1, 40)) {
		t.Fatalf("messages: %q", got)
	}
	a.crash()
	mem.mu.Lock()
	mem.endLease(snapshot.Holder("a#1/1"))
	mem.mu.Unlock()

	b := startLinked(t, mem, "b#1", brokerKind(rooms.Journal()))
	loc := activate(t, b.Host, "broker/one", wire.ModeJoin, first.at.Epoch)
	g2 := dialGateway(t, "g2#1", "b#1", b.addr)
	q := newPlayer(g2, g2.ear, "broker/one", 9, 100)
	at := first.at
	at.Seq = 38 // the last two were on their way
	again := q.attach(t, peer.WhyReattach, at)
	if again.kind != peer.KindAttached || again.at.How != wire.HowResumed || again.at.Applied != 40 || again.at.Durable != 40 || again.at.Epoch != loc.Epoch {
		t.Fatalf("attach: %v %+v", again, again.at)
	}
	q.input(40, "move 40") // sent again by a client that has not heard its ack
	q.input(41, "move 41")
	q.waitAck(t, 41, 41)
	if got := g2.messages(9); !slices.Equal(got, numbered(39, 41)) {
		t.Errorf("messages after the crash: %q", got)
	}
}

func TestOutputWaitsForTheJournal(t *testing.T) {
	t.Parallel()
	h := start(t, newMemStore(), "a#1", brokerKind(rooms.Journal()))
	activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "broker/one", 7, 100)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	resume := h.store.hang()
	p.moves(1, 3)
	r := h.find("broker/one")
	until(t, "entries wait", func() bool { n, _, _ := h.appender.lag(r.journal.tail); return n >= 3 })
	if got := link.messages(7); len(got) > 0 {
		t.Errorf("heard %q of what is not stored", got)
	}
	until(t, "members are told that the store is away", func() bool {
		return slices.ContainsFunc(link.list(), isTold(wire.TypeStore))
	})
	p.moves(4, 20) // wait in the mailbox of a room that stands still
	if got := link.messages(7); len(got) > 0 {
		t.Errorf("heard %q of what is not stored", got)
	}
	resume()
	p.waitAck(t, 20, 20)
	if got := link.messages(7); !slices.Equal(got, numbered(1, 20)) {
		t.Errorf("messages: %q", got)
	}
}

func TestDegradingRoomPlaysOnAndReturnsToItsJournal(t *testing.T) {
	t.Parallel()
	mem := newMemStore()
	h := start(t, mem, "a#1", brokerKind(rooms.Journal().Degrading()))
	activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "broker/one", 7, 100)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	h.store.fail(errDown)
	p.moves(1, 5)
	until(t, "the room plays on", func() bool { return len(link.messages(7)) == 5 })
	for _, m := range link.list() {
		if m.kind == peer.KindAcks && m.ack.Durable > 0 {
			t.Errorf("ack %+v without a store", m.ack)
		}
	}
	h.store.fail(nil)
	p.waitAck(t, 5, 5)
	p.input(6, "move 6")
	p.waitAck(t, 6, 6)
	h.store.fail(errDown)
	h.stop()
	mem.mu.Lock()
	mem.endLease(snapshot.Holder("a#1/1"))
	mem.mu.Unlock()

	b := start(t, mem, "b#1", brokerKind(rooms.Journal().Degrading()))
	activate(t, b.Host, "broker/one", wire.ModeJoin, first.at.Epoch)
	link = newPipe(b.Host)
	q := newPlayer(link, link.ear, "broker/one", 9, 100)
	at := first.at
	at.Seq = 6
	if again := q.attach(t, peer.WhyReattach, at); again.at.How != wire.HowResumed || again.at.Applied != 6 {
		t.Errorf("attach: %v %+v", again, again.at)
	}
}

func TestBarrierRunsOnceDurable(t *testing.T) {
	for name, d := range map[string]rooms.Durability{
		"journal": rooms.Journal(), "checkpoint": rooms.Checkpoint(time.Hour), "none": rooms.None(),
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, newMemStore(), "a#1", brokerKind(d))
			activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
			link := newPipe(h.Host)
			p := newPlayer(link, link.ear, "broker/one", 7, 100)
			p.attach(t, peer.WhyJoin, wire.Attach{})
			resume := func() {}
			if d.Interval() > 0 {
				resume = h.store.hang()
			}
			p.input(1, "trade")
			if d.Interval() > 0 {
				p.input(2, "move 2")
				until(t, "the room has both", func() bool {
					return d.Journaled() || len(link.messages(7)) == 2
				})
				if slices.Contains(link.messages(7), "safe") {
					t.Error("called safe while the store hangs")
				}
			}
			resume()
			until(t, "the trade is safe", func() bool { return slices.Contains(link.messages(7), "safe") })
			if got := link.messages(7); got[0] != "trade" {
				t.Errorf("messages: %q", got)
			}
		})
	}
}

func TestAppendsAreBatched(t *testing.T) {
	mem := newMemStore()
	h := start(t, mem, "a#1", brokerKind(rooms.Journal()))
	const n = 100
	link := newPipe(h.Host)
	players := make([]*player, n)
	for i := range players {
		room := wire.RoomID(fmt.Sprintf("broker/r%d", i))
		activate(t, h.Host, room, wire.ModeJoinOrCreate, 0)
		players[i] = newPlayer(link, link.ear, room, wire.Handle(i+1), wire.MemberID(i+1))
		players[i].attach(t, peer.WhyJoin, wire.Attach{})
	}
	resume := h.store.hang()
	for _, p := range players {
		p.input(1, "move 1")
	}
	until(t, "all wait", func() bool {
		for _, r := range h.all() {
			if k, _, _ := h.appender.lag(r.journal.tail); k == 0 {
				return false
			}
		}
		return true
	})
	resume()
	for _, p := range players {
		p.waitAck(t, 1, 1)
	}
	mem.mu.Lock()
	most := mem.appendMost
	mem.mu.Unlock()
	if most < n/2 {
		t.Errorf("at most %d rooms in a call, want most of %d", most, n)
	}
}

func TestJournalThatLostItsTailIsMendedByACheckpoint(t *testing.T) {
	mem := newMemStore()
	h := start(t, mem, "a#1", brokerKind(rooms.Journal()))
	activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "broker/one", 7, 100)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 3)
	p.waitAck(t, 3, 3)
	mem.mu.Lock()
	j := &mem.rooms["broker/one"].journal
	j.Entries = j.Entries[:1] // a failover lost the rest
	mem.mu.Unlock()
	p.moves(4, 6)
	p.waitAck(t, 6, 6)
	mem.mu.Lock()
	saved := len(mem.rooms["broker/one"].data)
	mem.mu.Unlock()
	if saved == 0 {
		t.Error("no checkpoint was saved")
	}
	if got := link.messages(7); !slices.Equal(got, numbered(1, 6)) {
		t.Errorf("messages: %q", got)
	}
}

// A checkpoint that is saved in a journal's place does not hold the functions
// that wait: what they say must be in the next one before it is heard.
func TestWaitingFunctionsOutliveTheJournalsReplacement(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		input, says string
		times       int
	}{{"trade", "safe", 1}, {"chain", "link", 4}} {
		t.Run(tc.input, func(t *testing.T) {
			mem := newMemStore()
			a := start(t, mem, "a#1", brokerKind(rooms.Journal()))
			activate(t, a.Host, "broker/one", wire.ModeJoinOrCreate, 0)
			link := newPipe(a.Host)
			p := newPlayer(link, link.ear, "broker/one", 7, 100)
			first := p.attach(t, peer.WhyJoin, wire.Attach{})
			p.moves(1, 3)
			p.waitAck(t, 3, 3)
			mem.mu.Lock()
			j := &mem.rooms["broker/one"].journal
			j.Entries = j.Entries[:1] // a failover lost the rest
			mem.mu.Unlock()
			p.input(4, tc.input)
			until(t, "the function's message is heard", func() bool {
				return count(link.messages(7), tc.says) >= tc.times
			})
			p.input(5, "move 5")
			p.waitAck(t, 5, 5)
			until(t, "the move is heard", func() bool { return slices.Contains(link.messages(7), "move 5") })
			a.store.fail(errDown)
			a.stop()
			mem.mu.Lock()
			mem.endLease(snapshot.Holder("a#1/1"))
			mem.mu.Unlock()

			b := start(t, mem, "b#1", brokerKind(rooms.Journal()))
			activate(t, b.Host, "broker/one", wire.ModeJoin, first.at.Epoch)
			at := first.at
			at.Seq = wire.Seq(len(link.messages(7)))
			link = newPipe(b.Host)
			q := newPlayer(link, link.ear, "broker/one", 9, 100)
			again := q.attach(t, peer.WhyReattach, at)
			if again.at.How != wire.HowResumed || again.at.Applied != 5 {
				t.Fatalf("attach: %v %+v", again, again.at)
			}
			q.input(6, "move 6")
			q.waitAck(t, 6, 6)
			if got := link.messages(9); !slices.Equal(got, []string{"move 6"}) {
				t.Errorf("messages after the crash: %q", got)
			}
		})
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func TestJournaledRoomThatTheStoreLostGoesOn(t *testing.T) {
	mem := newMemStore()
	h := start(t, mem, "a#1", brokerKind(rooms.Journal()))
	loc := activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "broker/one", 7, 100)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 3)
	p.waitAck(t, 3, 3)
	mem.wipe()
	p.moves(4, 6) // finds out
	until(t, "the room goes on at a new epoch", func() bool {
		r := h.find("broker/one")
		return r != nil && !r.over.Load() && r.claim.Epoch > loc.Epoch
	})
	at := first.at
	at.Seq = wire.Seq(len(link.messages(7)))
	again := p.attach(t, peer.WhyReattach, at)
	if again.at.How != wire.HowResumed || again.at.Epoch <= loc.Epoch || again.at.Incarnation != loc.Incarnation {
		t.Fatalf("attach: %v %+v", again, again.at)
	}
	for n := again.at.Applied + 1; n <= 7; n++ {
		p.input(n, fmt.Sprint("move ", n))
	}
	p.waitAck(t, 7, 7)
	if got := link.messages(7); !slices.Equal(got, numbered(1, 7)) {
		t.Errorf("messages: %q", got)
	}
}

func TestPoisonedInputOfAJournaledRoomIsPassedOver(t *testing.T) {
	h := start(t, newMemStore(), "a#1", brokerKind(rooms.Journal()))
	loc := activate(t, h.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "broker/one", 7, 100)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 2)
	p.waitAck(t, 2, 2)
	p.input(3, "panic")
	link.wait(t, "the room restarts", isGone(7, wire.CodeNone))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := h.Activate(ctx, "broker/one", wire.ModeJoin, loc.Epoch); err != nil {
		t.Fatal(err)
	}
	at := first.at
	at.Seq = 2
	if again := p.attach(t, peer.WhyReattach, at); again.at.How != wire.HowResumed || again.at.Applied != 2 {
		t.Fatalf("attach: %v %+v", again, again.at)
	}
	p.input(3, "panic")
	p.input(4, "move 4")
	p.waitAck(t, 4, 4)
	if !slices.ContainsFunc(link.list(), isTold(wire.TypeFailed)) {
		t.Error("nobody was told that the input failed")
	}
}

func TestNewerStateIsRefused(t *testing.T) {
	mem := newMemStore()
	newer := brokerKind(rooms.Checkpoint(100 * time.Millisecond))
	newer.StateVersion = 3
	a := start(t, mem, "a#1", newer)
	activate(t, a.Host, "broker/one", wire.ModeJoinOrCreate, 0)
	a.stop()
	older := newer
	older.StateVersion = 2
	b := start(t, mem, "b#1", older)
	wantCode(t, b.Host, "broker/one", wire.ModeJoin, wire.CodeUnavailable)
}
