package gateway

import (
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestHostDiesAndRoomIsFoundAgain(t *testing.T) {
	n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
	n.dir.put(h1.at(room, 10))
	p, q := n.connect(), n.connect()
	j, a := p.join(h1, 10)
	q.join(h1, 10)
	a.say(10, 6, "six")
	a.output(10, peer.ToOnly, []wire.MemberID{j.Member}, wire.Message{Type: wire.TypeMessage, Seq: 7})
	p.nextMessage(6)
	p.nextMessage(7)
	q.nextMessage(6)

	n.dir.mu.Lock()
	n.dir.gone["h1#1"] = true
	n.dir.mu.Unlock()
	h1.stop()
	until(t, "a lookup above the old epoch", func() bool {
		all := n.dir.requests()
		return all[len(all)-1].After == 10
	})
	p.send(input{Handle: j.Handle, N: 1}) // nobody takes it; the client keeps it
	p.nothingMore()
	n.dir.put(h2.at(room, 11))

	positions := map[wire.MemberID]wire.Seq{}
	for range 2 {
		b := h2.nextAttach()
		if b.Why != peer.WhyReattach || b.Generation != 1 || b.Incarnation != 7 || b.At.Epoch != 10 || string(b.Data) != "hi" || b.Handle != a.Handle {
			t.Fatalf("attach: %+v", b.Attach)
		}
		positions[b.Member] = b.At.Seq
		b.accept(1, 11, wire.HowRewound, 5)
		a = b
	}
	if positions[j.Member] != 7 || len(positions) != 2 {
		t.Errorf("positions: %v", positions)
	}
	for _, x := range []*player{p, q} {
		if f := x.nextAttached(); f.How != wire.HowRewound || f.Epoch != 11 || f.Handle != j.Handle || len(f.Token) == 0 {
			t.Fatalf("attached: %+v", f)
		}
	}
	a.say(11, 6, "six again")
	p.nextMessage(6)
	q.nextMessage(6)
	select {
	case m := <-h2.got:
		t.Errorf("message %#x at the new host: the input was to be dropped", m.kind)
	default:
	}
}

func TestLinkBreaksButHostLives(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	j, a := p.join(h, 10)
	a.link.Close(nil)
	b := h.nextAttach()
	if b.Why != peer.WhyReattach || b.Member != j.Member {
		t.Fatalf("attach: %+v", b.Attach)
	}
	b.accept(1, 10, wire.HowResumed, 0)
	if f := p.nextAttached(); f.Epoch != 10 || f.How != wire.HowResumed {
		t.Fatalf("attached: %+v", f)
	}
	if q := n.dir.requests(); len(q) != 1 {
		t.Errorf("requests %+v: a living host needs no lookup", q)
	}
}

// A room whose host could not be reached for a while lives on there, and no
// lookup leads to it: its members are attached there again when it can be.
func TestHostIsReachedAgainAfterACut(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	j, _ := p.join(h, 10)
	h.stop()
	until(t, "lookups that lead nowhere", func() bool {
		all := n.dir.requests()
		return len(all) > 4 && all[len(all)-1].After == 10
	})
	h.open(h.addr)
	b := h.nextAttach()
	if b.Why != peer.WhyReattach || b.Member != j.Member {
		t.Fatalf("attach: %+v", b.Attach)
	}
	b.accept(1, 10, wire.HowResumed, 0)
	if f := p.nextAttached(); f.Epoch != 10 || f.How != wire.HowResumed {
		t.Fatalf("attached: %+v", f)
	}
}

// A host that restarts in place is waited for, by one for all of its rooms, and
// nobody is asked where they are.
func TestHostRestartsInPlace(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	p.join(h, 10)
	n.dir.put(h.at("chat/other", 10))
	q.joinRoom(h, "chat/other", 10)
	asked := len(n.dir.requests())
	n.dir.restarts("h#1", time.Now().Add(time.Minute))
	h.stop()
	until(t, "one who waits for the host", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.returns) == 1
	})
	h.open(h.addr)
	for range 2 {
		b := h.nextAttach()
		if b.Why != peer.WhyReattach {
			t.Fatalf("attach: %+v", b.Attach)
		}
		b.accept(1, 10, wire.HowResumed, 0)
	}
	for _, x := range []*player{p, q} {
		if f := x.nextAttached(); f.Epoch != 10 || f.How != wire.HowResumed {
			t.Fatalf("attached: %+v", f)
		}
	}
	if all := n.dir.requests(); len(all) != asked {
		t.Errorf("requests %+v: a host that restarts needs no lookup", all[asked:])
	}
	until(t, "the end of the waiting", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.returns) == 0
	})
}

func TestRoomMoves(t *testing.T) {
	n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
	n.dir.put(h1.at(room, 10))
	n.dir.put(h2.at(room, 11))
	p := n.connect()
	_, a := p.join(h1, 10)
	a.link.Send(peer.KindGone, peer.Gone{Handle: a.Handle, Epoch: 10, Code: wire.CodeNone}.Append(nil), nil)
	b := h2.nextAttach()
	b.accept(1, 11, wire.HowResumed, 0)
	p.nextAttached()
	// The old owner is not believed any more, whatever epoch it names.
	for _, e := range []wire.Epoch{10, 11, 12} {
		a.output(e, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: 100})
	}
	a.link.Send(peer.KindGone, peer.Gone{Handle: a.Handle, Epoch: 12, Code: wire.CodeRoomClosed}.Append(nil), nil)
	// Nor is an old epoch of the new one.
	b.output(10, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: 101})
	b.say(11, 1, "new")
	p.nextMessage(1)
	p.nothingMore()
}

// A room that starts anew on the same host, at a higher epoch that its gateways
// have not been told of, has its members attached anew before they hear it.
func TestHigherEpochOnTheSameLink(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	_, a := p.join(h, 10)
	a.say(12, 1, "not attached there")
	b := h.nextAttach()
	if b.Why != peer.WhyReattach {
		t.Fatalf("attach: %+v", b.Attach)
	}
	b.accept(1, 12, wire.HowRewound, 1)
	b.say(12, 2, "attached")
	if f := p.nextAttached(); f.Epoch != 12 {
		t.Fatalf("attached: %+v", f)
	}
	p.nextMessage(2)
}

func TestReattachRefused(t *testing.T) {
	n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
	n.dir.put(h1.at(room, 10))
	n.dir.put(h2.at(room, 11))
	p := n.connect()
	_, a := p.join(h1, 10)
	a.link.Send(peer.KindGone, peer.Gone{Handle: a.Handle, Epoch: 10}.Append(nil), nil)
	h2.nextAttach().refuse(&wire.Error{Code: wire.CodeBusy, RetryMS: 1})
	h2.nextAttach().refuse(wire.Refuse(wire.CodeKicked, "out"))
	p.nextLeft(wire.CodeKicked)
	h2.next(peer.KindRelease)
}

func TestRoomThatDiedWithItsHostIsOver(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	p.join(h, 10)
	n.dir.mu.Lock()
	delete(n.dir.places, room)
	n.dir.mu.Unlock()
	h.stop()
	p.nextLeft(wire.CodeEnded)
	p.nothingMore()
}

func TestCutOffSendsClientsElsewhere(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.CutOff = 50 * time.Millisecond }))
	h := startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	p.join(h, 10)
	h.stop() // the directory still finds it alive: only this gateway can't reach it
	if code := p.closed(); code != int(wire.CloseCutOff) {
		t.Errorf("closed with %d, want %d", code, wire.CloseCutOff)
	}
}

func TestWaitingIsTold(t *testing.T) {
	n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
	n.dir.put(h1.at(room, 10))
	p := n.connect()
	j, _ := p.join(h1, 10)
	n.dir.mu.Lock()
	n.dir.gone["h1#1"] = true
	n.dir.mu.Unlock()
	h1.stop()
	f, err := wire.DecodeWaiting(p.next(wire.TypeWaiting))
	if err != nil || f.Handle != j.Handle || f.ForMS < 400 {
		t.Errorf("waiting: %+v, %v", f, err)
	}
	n.dir.put(h2.at(room, 11))
	h2.nextAttach().accept(1, 11, wire.HowRewound, 0)
	for {
		msg, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if wire.TypeOf(msg) == wire.TypeAttached {
			break
		}
	}
}

// Who leaves while the room is being found is not brought back.
func TestDisconnectWhileFinding(t *testing.T) {
	n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
	n.dir.put(h1.at(room, 10))
	p, q := n.connect(), n.connect()
	p.join(h1, 10)
	j, _ := q.join(h1, 10)
	n.dir.mu.Lock()
	n.dir.gone["h1#1"] = true
	n.dir.mu.Unlock()
	h1.stop()
	p.ws.Close()
	until(t, "one connection left", func() bool { return n.Connections() == 1 })
	n.dir.put(h2.at(room, 11))
	b := h2.nextAttach()
	if b.Member != j.Member {
		t.Fatalf("attach of %d, want %d", b.Member, j.Member)
	}
	b.accept(1, 11, wire.HowRewound, 0)
	q.nextAttached()
	q.ws.Close()
	h2.next(peer.KindRelease)
	until(t, "no route left", func() bool { n.mu.RLock(); defer n.mu.RUnlock(); return len(n.rooms)+len(n.tended) == 0 })
}

func TestSuspectsOnceANode(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	for i := range 20 {
		name := wire.Room("chat", string(rune('a'+i)))
		n.dir.put(h.at(name, 10))
	}
	p := n.connect()
	q := n.connect()
	for i := range 20 {
		x := p
		if i >= 10 {
			x = q
		}
		x.send(wire.Join{Ref: 1, Mode: wire.ModeJoin, Kind: "chat", Name: string(rune('a' + i))})
		h.nextAttach().accept(1, 10, wire.HowJoined, 0)
		x.nextJoined()
	}
	h2 := startHost(t, "h2#1")
	n.dir.mu.Lock()
	n.dir.gone["h#1"], n.dir.hold = true, make(chan struct{})
	n.dir.mu.Unlock()
	defer close(n.dir.hold)
	for i := range 20 {
		n.dir.put(h2.at(wire.Room("chat", string(rune('a'+i))), 11))
	}
	h.stop()
	for range 20 {
		h2.nextAttach()
	}
	n.dir.mu.Lock()
	defer n.dir.mu.Unlock()
	if got := n.dir.suspects; len(got) != 1 || got[0] != directory.NodeID("h#1") {
		t.Errorf("suspected %v, want the host once", got)
	}
}
