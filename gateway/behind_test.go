package gateway

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// A client that does not read costs its bound, is cut to come back later, and
// nobody else waits for it. Its room hears that it is gone.
func TestSlowClientIsCutAlone(t *testing.T) {
	n, h := start(t, limits(func(l *Limits) {
		l.OutboxBytes, l.SendBuffer, l.Behind, l.WriteStall = 128<<10, 8<<10, 100*time.Millisecond, time.Minute
	})), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	slow, quick := n.connect(), n.connect()
	slow.ws.NetConn().(*net.TCPConn).SetReadBuffer(8 << 10)
	j, _ := slow.join(h, 10)
	_, a := quick.join(h, 10)
	text := make([]byte, 8<<10)
	began := time.Now() // its close frame has a second to arrive
	for seq := wire.Seq(1); !n.cut(); seq++ {
		a.output(10, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: seq, Payload: text})
		sent := time.Now()
		quick.nextMessage(seq)
		if d := time.Since(sent); d > patience/2 { // the slow one's socket stands still for longer
			t.Fatalf("message %d took %s", seq, d)
		}
		if time.Since(began) > patience {
			t.Fatal("a client that does not read was not cut")
		}
	}
	if code := slow.closed(); code != int(wire.CloseSlow) {
		t.Errorf("closed with %d, want %d", code, wire.CloseSlow)
	}
	if w, err := peer.DecodeDetach(h.next(peer.KindDetach).body); err != nil || w.Member != j.Member || w.Generation != 1 {
		t.Errorf("the room was told that %+v is gone, %v", w, err)
	}
}

// cut reports whether a connection's end has been decided.
func (n *node) cut() bool {
	return n.Connections() < 2 || slices.ContainsFunc(n.connections(), func(c *conn) bool { return c.out.closing() })
}

// late is a room with a client that has read nothing until it fell behind, and one
// beside it that reads all.
type late struct {
	*node
	h           *fakeHost
	slow, quick *player
	joined      wire.Joined // of the slow one
	to          attachment
	epoch       wire.Epoch
	seq, last   wire.Seq // that were said; that wait for the slow one
}

func startLate(t *testing.T, change func(*Limits)) *late {
	t.Helper()
	l := &late{h: startHost(t, "h#1"), epoch: 10}
	l.node = start(t, limits(func(m *Limits) {
		m.OutboxBytes, m.SendBuffer, m.WriteStall = 128<<10, 8<<10, time.Minute
		change(m)
	}))
	l.dir.put(l.h.at(room, 10))
	l.slow, l.quick = l.connect(), l.connect()
	l.slow.ws.NetConn().(*net.TCPConn).SetReadBuffer(8 << 10)
	l.joined, _ = l.slow.join(l.h, 10)
	_, l.to = l.quick.join(l.h, 10)
	for testutil.ToFloat64(l.metrics.behind) == 0 {
		if l.say(8 << 10); l.seq > 1000 {
			t.Fatal("it never fell behind")
		}
	}
	l.last = l.seq - 1 // the one that it was behind for is not queued
	return l
}

// say has the room say one thing more, which the quick one hears.
func (l *late) say(size int) {
	l.t.Helper()
	l.seq++
	l.to.output(l.epoch, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: l.seq, Payload: make([]byte, size)})
	l.quick.nextMessage(l.seq)
}

// read has the slow one read what waits for it.
func (l *late) read() {
	l.t.Helper()
	for s := wire.Seq(1); s <= l.last; s++ {
		l.slow.nextMessage(s)
	}
}

// asks is the attach of the slow one, from the last message that it has.
func (l *late) asks(h *fakeHost, why peer.Why) attachment {
	l.t.Helper()
	b := h.nextAttach()
	if b.Why != why || b.Member != l.joined.Member || b.At.Seq != l.last || b.Generation != 1 {
		l.t.Fatalf("attach %+v, want %d from message %d", b.Attach, why, l.last)
	}
	return b
}

// A client that fell behind and catches up keeps its connection, and asks its room
// for what it missed from where it is; nothing is sent to it in between, but that
// it waits. To those who watch the gateway it is no room that lost its host.
func TestSlowClientCatchesUp(t *testing.T) {
	l := startLate(t, func(*Limits) {})
	for range 10 {
		l.say(8 << 10)
	}
	until(t, "it is told to wait", func() bool { return testutil.ToFloat64(l.metrics.out[wire.TypeWaiting]) > 0 })
	if n := testutil.ToFloat64(l.metrics.finding); n != 0 {
		t.Errorf("%v rooms are being found", n)
	}
	l.read()
	b := l.asks(l.h, peer.WhyBehind)
	b.refuse(&wire.Error{Code: wire.CodeBusy}) // then it is asked again
	l.asks(l.h, peer.WhyBehind).accept(1, 10, wire.HowGap, l.seq)
	if f := l.slow.attachedAfterWaiting(wire.CodeBusy); f.How != wire.HowGap || f.Seq != l.seq {
		t.Fatalf("attached: %+v", f)
	}
	l.say(8)
	l.slow.nextMessage(l.seq)
	if l.Connections() != 2 {
		t.Error("it was cut")
	}
	if n := testutil.ToFloat64(l.metrics.finding); n != 0 {
		t.Errorf("%v rooms are being found", n)
	}
	l.mustTend(0)
	for !l.cut() {
		if l.say(8 << 10); l.seq > 2000 {
			t.Fatal("it was not cut, although it fell behind again soon")
		}
	}
	if w, err := peer.DecodeDetach(l.h.next(peer.KindDetach).body); err != nil || w.Member != l.joined.Member {
		t.Errorf("the room was told that %+v is gone, %v", w, err)
	}
}

func (l *late) mustTend(want int) {
	l.t.Helper()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.tended) != want {
		l.t.Errorf("the sweep looks after %d rooms, want %d", len(l.tended), want)
	}
}

// One that is behind when its room loses the host is attached at the next one when
// it has caught up, not before: what it is to get has to have room.
func TestHostDiesWhileAClientIsBehind(t *testing.T) {
	l := startLate(t, func(*Limits) {})
	next := startHost(t, "h2#1")
	l.dir.mu.Lock()
	l.dir.gone["h#1"] = true
	l.dir.mu.Unlock()
	l.dir.put(next.at(room, 11))
	l.h.stop()
	b := next.nextAttach()
	if b.Why != peer.WhyReattach || b.Member == l.joined.Member {
		t.Fatalf("attach %+v", b.Attach)
	}
	b.accept(1, 11, wire.HowResumed, l.seq)
	l.quick.nextAttached()
	l.to, l.epoch = b, 11
	l.say(8)
	l.mustTend(1)
	l.read()
	l.asks(next, peer.WhyBehind).accept(1, 11, wire.HowGap, l.seq)
	if f := l.slow.attachedAfterWaiting(wire.CodeBusy); f.Epoch != 11 {
		t.Fatalf("attached: %+v", f)
	}
	l.say(8)
	l.slow.nextMessage(l.seq)
}

// A host of a build that knows nothing of clients that read too slowly is asked
// what it knows. What it refuses for good is not left in the room.
func TestOlderHostIsAskedWhatItKnows(t *testing.T) {
	l := startLate(t, func(*Limits) {})
	l.read()
	unknown := wire.Refuse(wire.CodeBadRequest, "attach is out of range")
	l.asks(l.h, peer.WhyBehind).refuse(unknown)
	l.asks(l.h, peer.WhyReattach).refuse(unknown)
	if w, err := peer.DecodeDetach(l.h.next(peer.KindDetach).body); err != nil || w.Member != l.joined.Member {
		t.Errorf("the room was told that %+v is gone, %v", w, err)
	}
	for {
		msg, err := l.slow.read()
		if err != nil {
			t.Fatal(err)
		}
		if wire.TypeOf(msg) == wire.TypeWaiting {
			continue
		}
		if f, err := wire.DecodeLeft(msg); err != nil || f.Code != wire.CodeBadRequest {
			t.Fatalf("left: %+v, %v", f, err)
		}
		return
	}
}

// Who misses a message hears nothing of the room from then on, in the same batch
// too: an ack that counts the message would tell the client that it was lost.
func TestNothingFollowsWhatWasPassedOver(t *testing.T) {
	p := newPath(t, 2, limits(func(l *Limits) { l.OutboxFrames = 16 }))
	out := p.output(32)
	for range 14 {
		p.g.onOutput(p.link, out)
		p.conns[1].out.flush()
	}
	acks := peer.AppendAcksHead(nil, p.route.handle, 10)
	for i := range p.conns {
		acks = peer.MemberAck{Member: wire.MemberID(i + 1), Count: 15}.Append(acks)
	}
	one := peer.Who{Handle: p.route.handle, Member: 1, Generation: 1}
	tell := wire.Message{Type: wire.TypeMessage, Handle: p.route.handle, Seq: 2}.Append(peer.AppendTell(nil, one))

	p.g.onOutput(p.link, out)
	p.g.onAcks(p.link, acks)
	p.g.onTell(p.link, tell)
	p.g.onOutput(p.link, p.output(8))
	count := func(of wire.Type) float64 { return testutil.ToFloat64(p.g.metrics.out[of]) }
	if messages, acks := count(wire.TypeMessage), count(wire.TypeAck); messages != 14+16 || acks != 1 {
		t.Errorf("%v messages and %v acks were queued, want 30 and the other one's", messages, acks)
	}
	if got := testutil.ToFloat64(p.g.metrics.behind); got != 1 {
		t.Errorf("%v fell behind, want 1", got)
	}
}

// attachedAfterWaiting is nextAttached for one who is told to wait, for a reason.
func (p *player) attachedAfterWaiting(why wire.Code) wire.Attached {
	p.t.Helper()
	for {
		msg, err := p.read()
		if err != nil {
			p.t.Fatal(err)
		}
		switch wire.TypeOf(msg) {
		case wire.TypeWaiting:
			if f, err := wire.DecodeWaiting(msg); err != nil || f.Code != why {
				p.t.Fatalf("waiting: %+v, %v, want %v", f, err, why)
			}
		case wire.TypeAttached:
			f, err := wire.DecodeAttached(msg)
			if err != nil {
				p.t.Fatal(err)
			}
			return f
		default:
			p.t.Fatalf("frame %#x, want attached", wire.TypeOf(msg))
		}
	}
}
