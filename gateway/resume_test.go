package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestResumeThroughAnotherGateway(t *testing.T) {
	n1, n2, h := start(t), start(t), startHost(t, "h#1")
	n1.dir.put(h.at(room, 10))
	n2.dir.put(h.at(room, 10))
	p := n1.connect()
	j, _ := p.join(h, 10)
	n1.stop()

	q := n2.connect()
	q.send(wire.Resume{Ref: 8, Token: j.Token, At: wire.Position{Epoch: 10, Seq: 4}, Data: []byte("hi")})
	a := h.nextAttach()
	if a.Why != peer.WhyResume || a.Member != j.Member || a.Generation != 1 || a.Incarnation != 7 ||
		a.At != (wire.Position{Epoch: 10, Seq: 4}) || string(a.Data) != "hi" {
		t.Fatalf("attach: %+v", a.Attach)
	}
	w := a.accept(2, 10, wire.HowResumed, 4)
	a.link.Send(peer.KindTell, peer.AppendTell(nil, w), wire.Message{Type: wire.TypeMessage, Handle: a.Handle, Seq: 5, Payload: []byte("missed")}.Append(nil))
	a.say(10, 6, "new")
	back := q.nextJoined()
	if back.Ref != 8 || back.Member != j.Member || back.How != wire.HowResumed || string(back.Token) == string(j.Token) {
		t.Fatalf("joined: %+v", back)
	}
	q.nextMessage(5)
	q.nextMessage(6)
	if v, err := n1.tokens.verify(back.Token, time.Now()); err != nil || v.generation != 2 {
		t.Errorf("new token: %+v, %v", v, err)
	}
	q.send(input{Handle: back.Handle, N: 1})
	if got, _, _, _ := peer.DecodeInput(h.next(peer.KindInput).body); got != w {
		t.Errorf("input in the name of %+v, want %+v", got, w)
	}
}

func TestResumeReplacesAtTheSameGateway(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	j, old := p.join(h, 10)
	q.send(wire.Resume{Ref: 1, Token: j.Token, Data: []byte("hi")})
	a := h.nextAttach()
	a.link.Send(peer.KindLeft, peer.AppendLeft(nil, old.who(1), wire.CodeReplaced, ""), nil)
	w := a.accept(2, 10, wire.HowResumed, 0)
	p.nextLeft(wire.CodeReplaced)
	q.nextJoined()
	// What is still on its way for the old connection does not reach the new one.
	a.link.Send(peer.KindLeft, peer.AppendLeft(nil, old.who(1), wire.CodeKicked, ""), nil)
	a.link.Send(peer.KindTell, peer.AppendTell(nil, old.who(1)), wire.Expect{Handle: a.Handle, Next: 9}.Append(nil))
	q.nothingMore()
	// And the old connection's end does not touch the new one.
	p.ws.Close()
	until(t, "old connection gone", func() bool { return n.Connections() == 1 })
	a.say(10, 1, "still here")
	q.nextMessage(1)
	q.ws.Close()
	if got, _ := peer.DecodeDetach(h.next(peer.KindDetach).body); got != w {
		t.Errorf("detach of %+v, want only %+v", got, w)
	}
}

// A room that forgot to say so is no reason for two holders.
func TestResumeEndsTheOldSessionByItself(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	j, _ := p.join(h, 10)
	q.send(wire.Resume{Ref: 1, Token: j.Token, Data: []byte("hi")})
	h.nextAttach().accept(2, 10, wire.HowResumed, 0)
	p.nextLeft(wire.CodeReplaced)
	q.nextJoined()
}

func TestResumeRefusals(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	j, _ := p.join(h, 10)
	expired := n.tokens
	forged := mustTokens(t, "test", keyB).issue(sampleToken())
	other := sampleToken()
	other.expires = 1 << 40
	gone := other
	gone.user, gone.room = "", "chat/gone"
	old := gone
	old.expires = 1
	for name, tc := range map[string]struct {
		f    wire.Resume
		want wire.Code
	}{
		"garbled":          {wire.Resume{Token: []byte("xx")}, wire.CodeBadToken},
		"empty":            {wire.Resume{}, wire.CodeBadToken},
		"forged":           {wire.Resume{Token: forged}, wire.CodeBadToken},
		"expired":          {wire.Resume{Token: expired.issue(old)}, wire.CodeTokenExpired},
		"other data":       {wire.Resume{Token: j.Token, Data: []byte("ho")}, wire.CodeBadToken},
		"other user":       {wire.Resume{Token: n.tokens.issue(other), Data: []byte("hi")}, wire.CodeUnauthorized},
		"from the future":  {wire.Resume{Token: j.Token, Data: []byte("hi"), At: wire.Position{Epoch: 11}}, wire.CodeBadRequest},
		"already here":     {wire.Resume{Token: j.Token, Data: []byte("hi")}, wire.CodeAlreadyMember},
		"room is not more": {wire.Resume{Token: n.tokens.issue(gone), Data: []byte("hi")}, wire.CodeEnded},
	} {
		tc.f.Ref = 77
		p.send(tc.f)
		msg, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := wire.DecodeError(msg); err != nil || e.Code != tc.want || e.Ref != 77 {
			t.Errorf("%s: %+v, %v, want %v", name, e, err, tc.want)
		}
	}
}

// holdOne is a room that knows generations: it admits anybody and gives the
// member to the newest.
func (h *fakeHost) holdOne(ctx context.Context) {
	gen := map[wire.MemberID]wire.Generation{}
	holder := map[wire.MemberID]attachment{}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-h.got:
			if m.kind != peer.KindAttach {
				continue
			}
			d, err := peer.DecodeAttach(m.body)
			if err != nil {
				h.t.Error(err)
				return
			}
			a := attachment{d, m.from, h}
			now := gen[a.Member]
			switch {
			case a.Why == peer.WhyJoin:
				gen[a.Member] = 1
			case a.Generation+1 < now:
				a.refuse(wire.Refuse(wire.CodeReplaced, "a newer connection holds it"))
				continue
			default:
				old := holder[a.Member]
				old.link.Send(peer.KindLeft, peer.AppendLeft(nil, old.who(now), wire.CodeReplaced, ""), nil)
				gen[a.Member] = now + 1
			}
			holder[a.Member] = a
			a.accept(gen[a.Member], 10, wire.HowResumed, 0)
		}
	}
}

func TestManyRaceWithOneToken(t *testing.T) {
	n1, n2, h := start(t), start(t), startHost(t, "h#1")
	n1.dir.put(h.at(room, 10))
	n2.dir.put(h.at(room, 10))
	stop := runUntil(t, func(ctx context.Context) error { h.holdOne(ctx); return nil })
	defer stop()
	first := n1.connect()
	first.send(wire.Join{Ref: 5, Mode: wire.ModeJoin, Kind: "chat", Name: "r1", Data: []byte("hi")})
	j := first.nextJoined()
	const racers = 8
	var wg sync.WaitGroup
	var hold, out atomic.Int32
	var all []*player
	for i := range racers {
		n := n1
		if i%2 == 1 {
			n = n2
		}
		p := n.connect()
		p.send(wire.Resume{Ref: 1, Token: j.Token, Data: []byte("hi")})
		all = append(all, p)
		wg.Go(func() { p.resumes(&hold, &out) })
	}
	until(t, "one connection holds the member, and all others know that they don't", func() bool {
		return out.Load() == racers-1 && hold.Load() == 1
	})
	first.nextLeft(wire.CodeReplaced)
	for _, p := range all {
		p.ws.Close()
	}
	wg.Wait()
	if n := out.Load(); n != racers-1 {
		t.Errorf("%d of %d are out: nobody holds the member", n, racers)
	}
}

// resumes counts those who hold the member, and those who don't or no longer do.
func (p *player) resumes(hold, out *atomic.Int32) {
	joined := false
	for {
		msg, err := p.read()
		var c *websocket.CloseError
		switch {
		case errors.As(err, &c):
			p.t.Errorf("closed: %v", c)
			return
		case err != nil: // the test closed it
			return
		}
		switch wire.TypeOf(msg) {
		case wire.TypeJoined:
			joined = true
			hold.Add(1)
		case wire.TypeLeft, wire.TypeError:
			if joined {
				hold.Add(-1)
			}
			out.Add(1)
			return
		}
	}
}
