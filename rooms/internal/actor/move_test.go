package actor

import (
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// moves takes the room live to another copy.
func (st *stage) moves(s *script) *stage {
	st.t.Helper()
	baggage, err := st.Pack(st.now)
	if err != nil {
		st.t.Fatal(err)
	}
	cfg := st.cfg
	cfg.Kind.New = func() rooms.Handler { return s }
	cfg.Epoch, cfg.Saved, cfg.Baggage = st.cfg.Epoch+10, st.saves(), baggage
	next := &stage{t: st.t, s: s, cfg: cfg, now: st.now, a: &fakePort{handle: 1}, b: &fakePort{handle: 2}}
	if next.Room, err = New(cfg, st.now); err != nil {
		st.t.Fatal(err)
	}
	s.calls = nil
	return next
}

func TestMovedMembersResumeWithoutAGap(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	st.All().Send([]byte("one"))
	st.All().Send([]byte("two"))
	next := st.moves(&script{})
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5, Seq: 1})
	m := next.members[1]
	if m.port == nil || m.port.out != Port(next.a) {
		t.Fatalf("member did not follow: %s", next.a.took())
	}
	// What it missed before the move comes from the log that travelled.
	next.want(next.a, "resumed:1.1@1#1(0,0)[0..0] tell:1.1=2:two")
	next.attach(next.b, 2, 1, peer.WhyReattach, wire.Position{Epoch: 5, Seq: 2})
	next.want(next.b, "resumed:2.1@2#2(0,0)[0..0]")
	next.called("")
	next.sleep(2 * quietFor)
	next.called("")
}

func TestMovedTwiceStillResumes(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.All().Send([]byte("one"))
	second := st.moves(&script{})
	second.All().Send([]byte("two"))
	third := second.moves(&script{})
	third.attach(third.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5, Seq: 1})
	third.want(third.a, "resumed:1.1@1#1(0,0)[0..0] tell:1.1=2:two")
	// A position beyond where its epoch ended is of another history.
	if third.descends(wire.Position{Epoch: 5, Seq: 2}) {
		t.Error("a position that its epoch never had goes on")
	}
}

func TestMembersWhoDoNotFollowAMoveAreDropped(t *testing.T) {
	st := open(t, &script{}, func(c *Config) { c.Kind.Grace = 10 * time.Second })
	st.joins(st.a, 1, 2, 3)
	st.Detach(st.now, st.a, peer.Who{Handle: 1, Member: 3, Generation: 1})
	st.sleep(6 * time.Second)
	next := st.moves(&script{})
	if !next.Member(1).Connected() || next.Member(3).Connected() {
		t.Error("a move changed who is connected")
	}
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.sleep(quietFor)
	next.called("dropped:2")
	next.sleep(time.Second) // 10 s after member 3 was dropped
	next.called("leave:3:1")
	next.attach(next.a, 2, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.called("back:2")
}

func TestMoveTellsTheHandler(t *testing.T) {
	s := &script{}
	open(t, &script{}, nil).moves(s)
	var got rooms.Start
	st := open(t, &script{}, nil)
	body := st.saves()
	baggage, err := st.Pack(st.now)
	if err != nil {
		t.Fatal(err)
	}
	n := &starting{}
	cfg := st.cfg
	cfg.Kind.New = func() rooms.Handler { return n }
	cfg.Saved, cfg.Baggage = body, baggage
	r, err := Prepare(cfg, st.now)
	if err != nil {
		t.Fatal(err)
	}
	if n.calls != 0 {
		t.Error("a prepared room's handler was called")
	}
	if err := r.Begin(77, st.now); err != nil {
		t.Fatal(err)
	}
	got = n.why
	if n.calls != 1 || got.Why != rooms.Moved || r.cfg.Epoch != 77 {
		t.Errorf("started %d times, %+v, in epoch %d", n.calls, got, r.cfg.Epoch)
	}
}

// starting keeps why it was started.
type starting struct {
	script
	calls int
	why   rooms.Start
}

func (s *starting) Start(_ rooms.Room, why rooms.Start) { s.calls++; s.why = why }

func TestBadBaggage(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.All().Send([]byte("one"))
	body := st.saves()
	good, err := st.Pack(st.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b *baggage){
		"format":        func(b *baggage) { b.Format = 99 },
		"log too short": func(b *baggage) { b.Log = nil },
		"log too long":  func(b *baggage) { b.Floor = 9 },
		"audience":      func(b *baggage) { b.Log[0].Audience = 9 },
		"listed":        func(b *baggage) { b.Log[0].Listed = 1 << 40 },
		"negative":      func(b *baggage) { b.Log[0].Listed = -1 },
	} {
		var b baggage
		if err := decMode.Unmarshal(good, &b); err != nil {
			t.Fatal(err)
		}
		spoil(&b)
		cfg := st.cfg
		cfg.Saved = body
		if cfg.Baggage, err = encMode.Marshal(b); err != nil {
			t.Fatal(err)
		}
		if _, err := Prepare(cfg, st.now); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for n := range good {
		cfg := st.cfg
		cfg.Saved, cfg.Baggage = body, good[:n]
		if _, err := Prepare(cfg, st.now); err == nil {
			t.Errorf("baggage cut to %d bytes was taken", n)
		}
	}
}

// patient is ready to move when its round is over.
type patient struct {
	script
	left []time.Duration
	over bool
}

func (p *patient) Drain(_ rooms.Room, left time.Duration) bool {
	p.left = append(p.left, left)
	return p.over
}

func TestHandlerMayPutAMoveOff(t *testing.T) {
	p := &patient{}
	st := open(t, &script{}, func(c *Config) { c.Kind.New = func() rooms.Handler { return p } })
	if st.ReadyToMove(st.now, time.Second) {
		t.Error("ready in the middle of a round")
	}
	p.over = true
	if !st.ReadyToMove(st.now, 0) || len(p.left) != 2 || p.left[0] != time.Second {
		t.Errorf("not ready after the round; asked with %v", p.left)
	}
	if !open(t, &script{}, nil).ReadyToMove(st.now, time.Second) {
		t.Error("a handler that can't be asked is not ready")
	}
}

func TestLatestMessagesWaitForThoseWhoFollowAMove(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	next := st.moves(&script{})
	next.All().Latest(7, []byte("all"))
	next.AllBut(next.Member(1)).Latest(8, []byte("not one"))
	next.Member(1).Latest(9, []byte("one"))
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.want(next.a, "resumed:1.1@0#0(0,0)[0..0] tell:1.1=key7:all tell:1.1=key9:one")
	next.attach(next.b, 2, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.want(next.b, "resumed:2.1@0#0(0,0)[0..0] tell:2.1=key7:all tell:2.1=key8:not one")
	if next.unseen.list != nil || !next.quiet.IsZero() {
		t.Errorf("kept when all had followed: %+v", next.unseen)
	}
}

func TestLatestMessagesKeptForAMoveAreBounded(t *testing.T) {
	var u unseen
	for range 3 * maxUnseen {
		u.add(1, peer.ToAll, nil, make([]byte, 1))
	}
	if len(u.list) != maxUnseen {
		t.Errorf("%d are kept", len(u.list))
	}
	for range 10 {
		u.add(1, peer.ToAll, nil, make([]byte, maxUnseenBytes/4))
	}
	if u.bytes > maxUnseenBytes {
		t.Errorf("%d bytes are kept", u.bytes)
	}
}
