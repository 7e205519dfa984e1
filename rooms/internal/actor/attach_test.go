package actor

import (
	"errors"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestJoinComesBeforeItsOutput(t *testing.T) {
	s := &script{}
	s.join = func(r rooms.Room, m rooms.Member, _ []byte) error {
		r.All().Send([]byte("hello"))
		m.Latest(4, []byte("you"))
		r.AllBut(m).Ephemeral([]byte("not you"))
		return nil
	}
	s.sync = func(r rooms.Room, m rooms.Member) { m.Send([]byte("full")) }
	st := open(t, s, nil)
	st.attach(st.a, 1, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "joined:1.1@0#0(0,0)[0..0] all=1:hello all=key4:you all=2:full")
	st.attach(st.a, 2, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "all=3:hello all=~not you joined:2.1@2#0(0,0)[0..0] only+2=3:hello only+2=key4:you only+2=4:full")
	st.called("join:1:d sync:1 join:2:d sync:2")
}

func TestRefusals(t *testing.T) {
	s := &script{}
	s.join = func(r rooms.Room, m rooms.Member, data []byte) error {
		switch m.ID() {
		case 101:
			return rooms.Refuse("too late")
		case 102:
			return errors.New("database password is hunter2")
		case 103:
			r.Kick(m, "no")
		}
		return nil
	}
	st := open(t, s, func(c *Config) { c.Kind.MaxMembers = 2 })
	st.joins(st.a, 1)
	for _, tc := range []struct {
		name   string
		change func(*peer.Attach)
		want   string
	}{
		{"handler refuses", func(a *peer.Attach) { a.Member = 101 }, "refused:101.1:refused:too late"},
		{"handler fails", func(a *peer.Attach) { a.Member = 102 }, "refused:102.1:refused:the room did not take the join"},
		{"handler kicks", func(a *peer.Attach) { a.Member = 103 }, "refused:103.1:kicked:removed by the room"},
		{"member 0", func(a *peer.Attach) { a.Member = 0 }, "refused:0.1:bad_request:attach is out of range"},
		{"unknown reason", func(a *peer.Attach) { a.Why = 9 }, "refused:50.1:bad_request:attach is out of range"},
		{"generation", func(a *peer.Attach) { a.Generation = 1<<32 - 1 }, "refused:50.4294967295:bad_request:attach is out of range"},
		{"incarnation", func(a *peer.Attach) { a.Why = peer.WhyResume; a.Incarnation = 2 }, "refused:50.1:ended:that room is over"},
		{"newer epoch", func(a *peer.Attach) { a.Why = peer.WhyResume; a.Incarnation = 3; a.At.Epoch = 6 }, "refused:50.1:none:the room has a newer owner"},
		{"unknown in this epoch", func(a *peer.Attach) { a.Why = peer.WhyResume; a.Incarnation = 3; a.At.Epoch = 5 }, "refused:50.1:grace_over:the membership is over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := peer.Attach{Handle: 1, Member: 50, Generation: 1}
			tc.change(&a)
			st.Attach(st.now, st.a, a)
			st.want(st.a, tc.want)
			if st.Len() != 1 || len(st.a.took()) > 0 {
				t.Errorf("%d members", st.Len())
			}
		})
	}
	st.joins(st.a, 2)
	st.attach(st.a, 3, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "refused:3.1:room_full:no open seat")
	st.SetLocked(true)
	st.attach(st.a, 3, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "refused:3.1:room_locked:the room takes no new members now")
	// It had its seat before the room was restored, locked and filled.
	st.attach(st.a, 4, 6, peer.WhyReattach, wire.Position{Epoch: 4, Seq: 9})
	st.want(st.a, "rewound:4.6@0#0(0,0)[0..0]")
}

func TestJoinIsIdempotent(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	st.joins(st.a, 1)
	st.All().Send([]byte("x"))
	st.want(st.a, "all=1:x")
	st.attach(st.b, 1, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "left:1.1:replaced:a newer connection holds the membership")
	st.want(st.b, "joined:1.1@1#1(0,0)[0..0]")
	st.called("sync:1")
	if st.Len() != 1 || st.Connected() != 1 {
		t.Errorf("%d members, %d connected", st.Len(), st.Connected())
	}
}

func TestResume(t *testing.T) {
	s := &script{}
	st := open(t, s, func(c *Config) { c.Kind.ResumeMessages = 4 })
	st.joins(st.a, 1, 2)
	w := peer.Who{Handle: 1, Member: 1, Generation: 1}
	st.Detach(st.now, st.a, w)
	st.called("dropped:1")
	one, two := st.Member(1), st.Member(2)
	st.All().Send([]byte("p"))
	st.Only(two).Send([]byte("q"))
	st.Only(one).Send([]byte("r"))
	st.AllBut(one).Send([]byte("s"))
	st.a.took()

	st.attach(st.b, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
	st.want(st.b, "resumed:1.2@0#0(0,0)[0..0] tell:1.2=1:p tell:1.2=3:r")
	st.called("back:1")

	st.attach(st.a, 1, 2, peer.WhyResume, wire.Position{Epoch: 5, Seq: 1})
	st.want(st.b, "left:1.2:replaced:a newer connection holds the membership")
	st.want(st.a, "resumed:1.3@1#1(0,0)[0..0] tell:1.3=3:r")
	st.called("")

	st.All().Send([]byte("t"))
	st.a.took()
	st.attach(st.b, 1, 3, peer.WhyResume, wire.Position{Epoch: 5})
	st.want(st.b, "gap:1.4@5#3(0,0)[1..5]")
	st.called("sync:1")
	st.attach(st.b, 1, 4, peer.WhyResume, wire.Position{Epoch: 5, Seq: 99})
	st.want(st.b, "left:1.4:replaced:a newer connection holds the membership gap:1.5@5#3(0,0)[0..0]")
}

// A client that read too slowly gets full state for what it missed, although the
// room still has all of it, and where it may have missed what is latest only.
func TestBehind(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	one := st.Member(1)
	st.Only(one).Send([]byte("p"))
	st.a.took()
	st.attach(st.a, 1, 1, peer.WhyBehind, wire.Position{Epoch: 5, Seq: 1})
	st.want(st.a, "gap:1.1@1#1(0,0)[0..0]")
	st.called("sync:1")
	st.All().Send([]byte("q"))
	st.Only(one).Send([]byte("r"))
	st.a.took()
	st.attach(st.a, 1, 1, peer.WhyBehind, wire.Position{Epoch: 5, Seq: 1})
	st.want(st.a, "gap:1.1@3#3(0,0)[2..3]")
	st.called("sync:1")
}

func TestGenerations(t *testing.T) {
	replaced := "refused:1.%:replaced:a newer connection holds the membership"
	for _, tc := range []struct {
		name   string
		why    peer.Why
		gen    wire.Generation
		proved bool // the client was heard as generation 5
		want   string
	}{
		{"its own token", peer.WhyResume, 5, true, "resumed:1.6"},
		{"the one before", peer.WhyResume, 4, true, "resumed:1.6"},
		{"an old one", peer.WhyResume, 3, true, replaced},
		{"an old one, its answers lost", peer.WhyResume, 1, false, "resumed:1.6"},
		{"a newer one than the record", peer.WhyResume, 9, true, "resumed:1.10"},
		{"reattach", peer.WhyReattach, 5, true, "resumed:1.5"},
		{"reattach of a newer one", peer.WhyReattach, 7, true, "resumed:1.7"},
		{"reattach of an old one", peer.WhyReattach, 4, true, replaced},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := open(t, &script{}, nil)
			st.joins(st.a, 1)
			for range 4 {
				st.attach(st.a, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
			}
			if tc.proved {
				st.input(st.a, 1, 5, 1, "x")
			}
			st.attach(st.b, 1, tc.gen, tc.why, wire.Position{Epoch: 5})
			got := st.b.took()
			if len(got) < len(tc.want) || tc.want != replaced && got[:len(tc.want)] != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if refused := got[:7] == "refused"; refused != (tc.want == replaced) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestOtherInstanceNumbersAnew(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.input(st.a, 1, 1, 1, "x")
	_, cut, _ := st.Encode()
	a := peer.Attach{Member: 1, Generation: 1, Why: peer.WhyResume, Incarnation: 3, At: wire.Position{Epoch: 5}}
	a.Instance[0] = 77
	st.Attach(st.now, st.b, a)
	st.want(st.b, "resumed:1.2@0#0(0,0)[0..0]")
	st.input(st.b, 1, 2, 1, "y")
	st.Saved(st.now, cut) // covers the other instance's input 1, not this one's
	st.sleep(time.Second)
	st.want(st.b, "acks:1(1,0)#0")
	st.called("input:1:x input:1:y")
}

func TestRestoredRoom(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	st.joins(st.a, 1, 2)
	st.input(st.a, 1, 1, 1, "x")
	st.All().Send([]byte("kept"))
	body := st.saves()
	st.input(st.a, 1, 1, 2, "undone")
	st.All().Send([]byte("undone"))
	st.All().Send([]byte("undone"))
	st.now = st.now.Add(10 * time.Second)

	next := st.again(body, &script{}, func(c *Config) { c.Age = 10 * time.Second })
	if next.Len() != 2 || next.Connected() != 0 {
		t.Fatalf("%d members, %d connected", next.Len(), next.Connected())
	}
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5, Seq: 3})
	next.want(next.a, "rewound:1.1@1#1(1,1)[2..3]")
	next.called("back:1 sync:1")
	next.attach(next.a, 9, 1, peer.WhyReattach, wire.Position{Epoch: 5, Seq: 3}) // joined after the checkpoint
	next.want(next.a, "rewound:9.1@1#0(0,0)[2..3]")
	next.called("join:9:d sync:9")
	next.sleep(30 * time.Second)
	next.called("leave:2:1")
	next.attach(next.a, 2, 1, peer.WhyResume, wire.Position{Epoch: 5, Seq: 3})
	next.want(next.a, "refused:2.1:grace_over:the membership is over")
}
