package host

import (
	"fmt"
	"slices"
	"testing"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func numbered(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint("move ", i))
	}
	return s
}

func (p *player) moves(from, to int) {
	for i := from; i <= to; i++ {
		p.input(wire.Input(i), fmt.Sprint("move ", i))
	}
}

func TestJoinInputAcks(t *testing.T) {
	h := startLinked(t, newMemStore(), "a#1", tallyKind())
	loc := activate(t, h.Host, "tally/one", wire.ModeJoinOrCreate, 0)
	if loc.Addr != h.addr || loc.Epoch == 0 || wire.Epoch(loc.Incarnation) != loc.Epoch {
		t.Errorf("location %+v", loc)
	}
	g := dialGateway(t, "g#1", "a#1", h.addr)
	p := newPlayer(g, g.ear, "tally/one", 7, 100)
	if a := p.attach(t, peer.WhyJoin, wire.Attach{}); a.kind != peer.KindAttached || a.at.Epoch != loc.Epoch || a.at.How != wire.HowJoined {
		t.Fatalf("attach: %v %+v", a, a.at)
	}
	p.moves(1, 50)
	p.waitAck(t, 50, 50)
	if got := g.messages(7); !slices.Equal(got, numbered(1, 50)) {
		t.Errorf("messages: %q", got)
	}
	// What is durable was applied and acknowledged as such before.
	for _, m := range g.list() {
		if m.kind == peer.KindAcks && m.ack.Durable > m.ack.Applied {
			t.Errorf("ack %+v", m.ack)
		}
	}
	info := h.List()
	if len(info) != 1 || info[0].Room != "tally/one" || info[0].Members != 1 || info[0].Connected != 1 || info[0].Epoch != loc.Epoch {
		t.Errorf("list: %+v", info)
	}
	if l := h.Load(); l != (Load{Rooms: 1, Members: 1}) {
		t.Errorf("load: %+v", l)
	}
	if open, _ := h.Open("tally", wire.Filter{}, 10); len(open) != 1 || open[0].Members != 1 {
		t.Errorf("open: %+v", open)
	}
}

func TestResumeThroughAnotherGateway(t *testing.T) {
	h := startLinked(t, newMemStore(), "a#1", tallyKind())
	activate(t, h.Host, "tally/one", wire.ModeJoinOrCreate, 0)
	g1 := dialGateway(t, "g1#1", "a#1", h.addr)
	g2 := dialGateway(t, "g2#1", "a#1", h.addr)
	p := newPlayer(g1, g1.ear, "tally/one", 7, 100)
	other := newPlayer(g2, g2.ear, "tally/one", 9, 200)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	other.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 3)
	p.waitAck(t, 3, 0)
	g1.link.Close(nil)
	until(t, "member is dropped", func() bool { return h.List()[0].Connected == 1 })
	other.input(1, "meanwhile")
	other.waitAck(t, 1, 0)

	again := newPlayer(g2, g2.ear, "tally/one", 9, 100)
	at := first.at
	at.Seq = 2 // it has handled the first two
	a := again.attach(t, peer.WhyResume, at)
	if a.kind != peer.KindAttached || a.at.How != wire.HowResumed || a.at.Applied != 3 || a.who.Generation <= 1 {
		t.Fatalf("resume: %v %+v", a, a.at)
	}
	g2.wait(t, "what was missed", func(m heard) bool {
		return m.kind == peer.KindTell && m.who.Member == 100 && string(m.frame[len(m.frame)-6:]) == "move 3"
	})
	again.moves(4, 4)
	again.waitAck(t, 4, 4)
}

func TestCrashLosesNoInput(t *testing.T) {
	mem := newMemStore()
	a := startLinked(t, mem, "a#1", tallyKind())
	b := startLinked(t, mem, "b#1", tallyKind())
	before := activate(t, a.Host, "tally/one", wire.ModeJoinOrCreate, 0)
	g := dialGateway(t, "g#1", "a#1", a.addr)
	p := newPlayer(g, g.ear, "tally/one", 7, 100)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 10)
	p.waitAck(t, 10, 10)
	a.store.fail(errDown) // from here on nothing is saved
	p.moves(11, 20)
	p.waitAck(t, 20, 10)
	a.crash()
	mem.mu.Lock()
	mem.endLease(a.lease.current()) // proof that its process is gone
	mem.mu.Unlock()

	after := activate(t, b.Host, "tally/one", wire.ModeJoin, before.Epoch)
	if after.Epoch <= before.Epoch || after.Incarnation != before.Incarnation {
		t.Fatalf("after the crash %+v, before %+v", after, before)
	}
	g.forget()
	g.dial(t, "b#1", b.addr)
	at := first.at
	at.Seq = 20
	got := p.attach(t, peer.WhyReattach, at)
	if got.at.How != wire.HowRewound || got.at.Durable < 10 || got.at.Durable >= 20 {
		t.Fatalf("attach after the crash: %+v", got.at)
	}
	next := int(got.at.Applied) + 1
	p.moves(next-3, 20) // some of them twice
	p.waitAck(t, 20, 20)
	if got := g.messages(7); !slices.Equal(got, numbered(next, 20)) {
		t.Errorf("messages after the crash: %q, want those from %d", got, next)
	}
}

func TestAttachToARoomThatIsNotHere(t *testing.T) {
	h := startLinked(t, newMemStore(), "a#1", tallyKind())
	g := dialGateway(t, "g#1", "a#1", h.addr)
	p := newPlayer(g, g.ear, "tally/none", 7, 100)
	p.who.Generation = 5
	if a := p.attach(t, peer.WhyResume, wire.Attach{}); a.kind != peer.KindRefused || a.code != wire.CodeNone || a.who.Generation != 5 {
		t.Errorf("answer: %v", a)
	}
}

func TestMalformedMessageBreaksTheLink(t *testing.T) {
	h := start(t, newMemStore(), "a#1", tallyKind())
	for kind, body := range map[peer.Kind][]byte{
		peer.KindAttach: {1, 2, 3}, peer.KindInput: make([]byte, 23), peer.KindSkip: nil,
		peer.KindLeave: {9}, peer.KindDetach: make([]byte, 15), peer.KindRelease: {0, 0, 1},
	} {
		l := newPipe(h.Host)
		h.gateway(l, true)
		l.send(kind, body)
		if l.cause() == nil {
			t.Errorf("kind %#x: link stands after %x", kind, body)
		}
		h.linkDown(l)
	}
	activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
	activate(t, h.Host, "tally/two", wire.ModeCreate, 0)
	l := newPipe(h.Host)
	newPlayer(l, l.ear, "tally/one", 7, 1).attach(t, peer.WhyJoin, wire.Attach{})
	l.send(peer.KindAttach, peer.Attach{Handle: 7, Member: 2, Generation: 1, Room: "tally/two"}.Append(nil))
	if l.cause() == nil {
		t.Error("one handle for two rooms is taken")
	}
	h.linkDown(l)
}

func TestReleaseDropsItsMembers(t *testing.T) {
	h := start(t, newMemStore(), "a#1", tallyKind())
	activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
	l := newPipe(h.Host)
	p := newPlayer(l, l.ear, "tally/one", 7, 1)
	first := p.attach(t, peer.WhyJoin, wire.Attach{})
	l.send(peer.KindRelease, peer.AppendRelease(nil, 7))
	until(t, "member is dropped", func() bool { return h.List()[0].Connected == 0 })
	if a := p.attach(t, peer.WhyReattach, first.at); a.kind != peer.KindAttached {
		t.Errorf("attach after release: %v", a)
	}
	l.send(peer.KindDetach, peer.AppendDetach(nil, p.who))
	until(t, "member is detached", func() bool { return h.List()[0].Connected == 0 })
	h.linkDown(l)
}

// A link that can't take a room's output is broken, so that nothing is missing
// from it unseen.
func TestFullLinkIsBroken(t *testing.T) {
	h := start(t, newMemStore(), "a#1", tallyKind())
	activate(t, h.Host, "tally/one", wire.ModeCreate, 0)
	slow, good := newPipe(h.Host), newPipe(h.Host)
	p := newPlayer(slow, slow.ear, "tally/one", 7, 1)
	q := newPlayer(good, good.ear, "tally/one", 8, 2)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	q.attach(t, peer.WhyJoin, wire.Attach{})
	slow.mu.Lock()
	slow.full = errDown
	slow.mu.Unlock()
	q.moves(1, 5)
	q.waitAck(t, 5, 0)
	if slow.cause() == nil {
		t.Fatal("link stands although a message was lost on it")
	}
	h.linkDown(slow)
	until(t, "its member is dropped", func() bool { return h.List()[0].Connected == 1 })
	if got := good.messages(8); !slices.Equal(got, numbered(1, 5)) {
		t.Errorf("the other gateway heard %q", got)
	}
	h.linkDown(good)
}
