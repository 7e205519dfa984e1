package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestJoinAndPlay(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	p.send(wire.Join{Ref: 5, Mode: wire.ModeJoinOrCreate, Kind: "chat", Name: "r1", Data: []byte("hi")})
	a := h.nextAttach()
	if a.Why != peer.WhyJoin || a.Room != room || string(a.Data) != "hi" || a.Instance != (wire.Instance{1}) || a.Member == 0 {
		t.Fatalf("attach: %+v", a.Attach)
	}
	who := a.accept(1, 10, wire.HowJoined, 3)
	a.say(10, 4, "welcome")
	j := p.nextJoined()
	if j.Ref != 5 || j.Member != a.Member || j.Kind != "chat" || j.Name != "r1" || j.Epoch != 10 || j.Handle != a.Handle {
		t.Fatalf("joined: %+v", j)
	}
	if m := p.nextMessage(4); string(m.Payload) != "welcome" || m.Handle != j.Handle {
		t.Fatalf("message: %+v", m)
	}
	p.send(input{Handle: j.Handle, N: 1, Payload: []byte("move")})
	w, num, payload, err := peer.DecodeInput(h.next(peer.KindInput).body)
	if err != nil || w != who || num != 1 || string(payload) != "move" {
		t.Fatalf("input: %+v %d %q, %v", w, num, payload, err)
	}
	p.send(wire.Skip{Handle: j.Handle, From: 2, To: 4})
	if w, from, to, err := peer.DecodeSkip(h.next(peer.KindSkip).body); err != nil || w != who || from != 2 || to != 4 {
		t.Fatalf("skip: %+v %d %d, %v", w, from, to, err)
	}
	p.send(wire.Leave{Handle: j.Handle, N: 5})
	if w, num, err := peer.DecodeLeave(h.next(peer.KindLeave).body); err != nil || w != who || num != 5 {
		t.Fatalf("leave: %+v %d, %v", w, num, err)
	}
	a.link.Send(peer.KindLeft, peer.AppendLeft(nil, who, wire.CodeLeft, ""), nil)
	p.nextLeft(wire.CodeLeft)
	if got := u32(h.next(peer.KindRelease).body); got != uint32(j.Handle) {
		t.Errorf("released handle %d, want %d", got, j.Handle)
	}
	p.send(input{Handle: j.Handle, N: 6})
	if e := p.nextError(wire.CodeNotMember); e.Handle != j.Handle {
		t.Errorf("error for handle %d", e.Handle)
	}
	until(t, "route retired", func() bool { n.mu.RLock(); defer n.mu.RUnlock(); return len(n.rooms)+len(n.handles) == 0 })
}

// Attached comes ahead of a member's output; what a room says to others before
// is not for it.
func TestNothingBeforeJoined(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	p.join(h, 10)
	q.send(wire.Join{Ref: 1, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
	b := h.nextAttach()
	b.say(10, 1, "for the first alone")
	b.accept(1, 10, wire.HowJoined, 1)
	b.say(10, 2, "for both")
	p.nextMessage(1)
	p.nextMessage(2)
	q.nextJoined()
	q.nextMessage(2)
}

func TestAudiences(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	var players []*player
	var members []wire.MemberID
	var a attachment
	for range 3 {
		p := n.connect()
		j, x := p.join(h, 10)
		players, members, a = append(players, p), append(members, j.Member), x
	}
	text := bytes.Repeat([]byte("x"), 300)
	a.output(10, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: 1, Payload: text})
	a.output(10, peer.ToOnly, members[1:2], wire.Message{Type: wire.TypeMessage, Seq: 2, Payload: text})
	a.output(10, peer.ToAllBut, members[1:2], wire.Message{Type: wire.TypeMessage, Seq: 3, Payload: text})
	var first []byte
	for i, p := range players {
		msg := append([]byte(nil), p.next(wire.TypeMessage)...)
		if i == 0 {
			first = msg
		} else if !bytes.Equal(first, msg) {
			t.Errorf("member %d got other bytes than the first", i)
		}
		if i == 1 {
			p.nextMessage(2)
		} else {
			p.nextMessage(3)
		}
		p.nothingMore()
	}
}

func TestAcksComeInOrder(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	j, a := p.join(h, 10)
	for i := range uint64(50) {
		b := peer.AppendAcksHead(nil, a.Handle, 10)
		b = peer.MemberAck{Member: j.Member, Applied: wire.Input(i + 1), Durable: wire.Input(i), Count: i}.Append(b)
		b = peer.MemberAck{Member: 12345, Applied: 1}.Append(b) // nobody here
		a.link.Send(peer.KindAcks, b, nil)
	}
	for last := wire.Input(0); last < 50; {
		f, err := wire.DecodeAck(p.next(wire.TypeAck))
		if err != nil || f.Applied <= last || f.Durable != f.Applied-1 || f.Handle != j.Handle {
			t.Fatalf("ack %+v after %d, %v", f, last, err)
		}
		last = f.Applied
	}
}

func TestJoinRefusals(t *testing.T) {
	full := &wire.Error{Code: wire.CodeRoomFull, RetryMS: 1234, Text: "no seat"}
	t.Run("by the room", func(t *testing.T) {
		n, h := start(t), startHost(t, "h#1")
		n.dir.put(h.at(room, 10))
		p := n.connect()
		p.send(wire.Join{Ref: 9, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		h.nextAttach().refuse(full)
		if e := p.nextError(wire.CodeRoomFull); e.Ref != 9 || e.RetryMS != 1234 || e.Text != "no seat" {
			t.Errorf("error: %+v", e)
		}
		h.next(peer.KindRelease)
	})
	t.Run("by the directory", func(t *testing.T) {
		n := start(t)
		p := n.connect()
		p.send(wire.Join{Ref: 9, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		p.nextError(wire.CodeNoRoom)
		n.dir.mu.Lock()
		n.dir.refusal = wire.Refuse(wire.CodeUnknownKind, "no host serves it")
		n.dir.mu.Unlock()
		p.send(wire.Join{Ref: 10, Mode: wire.ModeAny, Kind: "nope"})
		if e := p.nextError(wire.CodeUnknownKind); e.Ref != 10 {
			t.Errorf("ref %d", e.Ref)
		}
	})
	t.Run("any room, first one full", func(t *testing.T) {
		n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
		n.dir.put(h1.at(room, 10))
		p := n.connect()
		p.send(wire.Find{Ref: 3, Kind: "chat", Filter: wire.Filter{Pool: "gold", Seats: 2}, Data: []byte("hi")})
		a := h1.nextAttach()
		n.dir.put(h2.at("chat/r2", 11))
		a.refuse(full)
		b := h2.nextAttach()
		b.accept(1, 11, wire.HowJoined, 0)
		if j := p.nextJoined(); j.Ref != 3 || j.Epoch != 11 || j.Name != "r2" {
			t.Errorf("joined %+v", j)
		}
		if a.Member != b.Member || string(b.Data) != "hi" {
			t.Errorf("attached as %d with %q, before as %d", b.Member, b.Data, a.Member)
		}
		q := n.dir.requests()
		last := q[len(q)-1]
		if last.Member != b.Member || !slices.Contains(last.NotRooms, room) || last.Filter.Pool != "gold" || last.Filter.Seats != 2 {
			t.Errorf("the directory was asked %+v", last)
		}
	})
	t.Run("not there any more", func(t *testing.T) {
		n, h1, h2 := start(t), startHost(t, "h1#1"), startHost(t, "h2#1")
		n.dir.put(h1.at(room, 10))
		n.dir.put(h2.at(room, 11))
		p := n.connect()
		p.send(wire.Join{Ref: 3, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		h1.nextAttach().refuse(wire.Refuse(wire.CodeNone, ""))
		h2.nextAttach().accept(1, 11, wire.HowJoined, 0)
		p.nextJoined()
		if q := n.dir.requests(); len(q) != 2 || q[1].After != 10 || q[1].Not != "h1#1" {
			t.Errorf("requests: %+v", q)
		}
	})
	t.Run("not there, over and over", func(t *testing.T) {
		dir := newDirectory()
		n, h := start(t, func(c *Config) { c.Directory = insist{dir} }), startHost(t, "h1#1")
		for i := range wire.Epoch(5) {
			dir.put(h.at(room, 10+i))
		}
		p := n.connect()
		p.send(wire.Join{Ref: 3, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		for range maxTries {
			h.nextAttach().refuse(wire.Refuse(wire.CodeNone, ""))
		}
		p.nextError(wire.CodeUnavailable)
	})
	t.Run("link breaks", func(t *testing.T) {
		n, h := start(t), startHost(t, "h#1")
		n.dir.put(h.at(room, 10))
		p := n.connect()
		p.send(wire.Join{Ref: 3, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		a := h.nextAttach()
		a.link.Close(nil)
		b := h.nextAttach()
		if b.Member != a.Member || b.Why != peer.WhyJoin {
			t.Errorf("attached as %+v, then as %+v", a.Attach, b.Attach)
		}
		b.accept(1, 10, wire.HowJoined, 0)
		p.nextJoined()
		if q := n.dir.requests(); len(q) != 2 || q[1].After != 0 {
			t.Errorf("requests %+v: a broken link proves nothing", q)
		}
	})
	t.Run("host does not answer", func(t *testing.T) {
		n, h := start(t, limits(func(l *Limits) { l.JoinWithin = 500 * time.Millisecond })), startHost(t, "h#1")
		n.dir.put(h.at(room, 10))
		p := n.connect()
		p.send(wire.Join{Ref: 3, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
		a := h.nextAttach()
		p.nextError(wire.CodeTimeout)
		a.accept(1, 10, wire.HowJoined, 0) // too late: nobody is here for it
		if w, err := peer.DecodeDetach(h.next(peer.KindDetach).body); err != nil || w != a.who(1) {
			t.Errorf("detach of %+v, %v", w, err)
		}
		p.nothingMore()
	})
}

// insist is a directory that answers with the node that the asker came from.
type insist struct{ *fakeDirectory }

func (d insist) Resolve(ctx context.Context, q directory.Request) (directory.Location, error) {
	q.Not = ""
	return d.fakeDirectory.Resolve(ctx, q)
}

func TestBoundsOnRooms(t *testing.T) {
	n, h := start(t, limits(func(l *Limits) { l.Rooms = 2 })), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	p.join(h, 10)
	p.send(wire.Join{Ref: 6, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
	if e := p.nextError(wire.CodeAlreadyMember); e.Ref != 6 {
		t.Errorf("ref %d", e.Ref)
	}
	n.dir.put(h.at("chat/r2", 10))
	p.send(wire.Join{Ref: 7, Mode: wire.ModeJoin, Kind: "chat", Name: "r2"})
	h.nextAttach().accept(1, 10, wire.HowJoined, 0)
	p.nextJoined()
	p.send(wire.Join{Ref: 8, Mode: wire.ModeJoin, Kind: "chat", Name: "r3"})
	p.nextError(wire.CodeTooManyRooms)

	few := start(t, limits(func(l *Limits) { l.Routes = 1 }))
	few.dir.put(h.at(room, 10))
	few.dir.put(h.at("chat/r2", 10))
	q := few.connect()
	q.join(h, 10)
	q.send(wire.Join{Ref: 8, Mode: wire.ModeJoin, Kind: "chat", Name: "r2"})
	q.nextError(wire.CodeBusy)
}

// A connection that ends while its join is under way leaves nothing behind.
func TestConnectionEndsDuringJoin(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	p.send(wire.Join{Ref: 5, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
	a := h.nextAttach()
	p.ws.Close()
	until(t, "connection gone", func() bool { return n.Connections() == 0 })
	a.accept(1, 10, wire.HowJoined, 0)
	if w, _ := peer.DecodeDetach(h.next(peer.KindDetach).body); w != a.who(1) {
		t.Errorf("detach of %+v", w)
	}
	h.next(peer.KindRelease)
}

func TestDisconnectDetaches(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	_, a := p.join(h, 10)
	q.join(h, 10)
	p.ws.Close()
	if w, _ := peer.DecodeDetach(h.next(peer.KindDetach).body); w != a.who(1) {
		t.Errorf("detach of %+v", w)
	}
	a.say(10, 1, "still here")
	q.nextMessage(1)
}

func TestGone(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	_, a := p.join(h, 10)
	a.link.Send(peer.KindGone, peer.Gone{Handle: a.Handle, Epoch: 9, Code: wire.CodeRoomClosed}.Append(nil), nil)
	p.nothingMore() // of an epoch before
	a.link.Send(peer.KindGone, peer.Gone{Handle: a.Handle, Epoch: 10, Code: wire.CodeRoomClosed, Text: "bye"}.Append(nil), nil)
	p.nextLeft(wire.CodeRoomClosed)
}

func TestMemberIDsFit(t *testing.T) {
	seen := map[wire.MemberID]bool{}
	for range 10_000 {
		m := newMember()
		if m == 0 || m > wire.MaxMemberID || seen[m] {
			t.Fatalf("member id %d", m)
		}
		seen[m] = true
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	n := start(t)
	for name, cfg := range map[string]Config{
		"no mesh":    {Directory: n.dir},
		"short key":  {Mesh: n.mesh, Directory: n.dir, Keys: [][]byte{[]byte("short")}},
		"bad origin": {Mesh: n.mesh, Directory: n.dir, Origins: []string{"example.org"}},
	} {
		if _, err := New(cfg); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
