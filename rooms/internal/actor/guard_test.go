package actor

import (
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestPanicsEndTheRoom(t *testing.T) {
	who := peer.Who{Member: 1, Generation: 1}
	for _, tc := range []struct {
		name   string
		set    func(s *script)
		do     func(st *stage)
		poison *Poison
	}{
		{"input", func(s *script) { s.input = func(rooms.Room, rooms.Member, []byte) { panic("boom") } },
			func(st *stage) { st.input(st.a, 1, 1, 1, "x") }, &Poison{1, wire.Instance{1}, 1}},
		{"leave", func(s *script) { s.leave = func(rooms.Room, rooms.Member, rooms.Reason) { panic("boom") } },
			func(st *stage) { st.Leave(st.now, st.a, who, 1) }, &Poison{1, wire.Instance{1}, 1}},
		{"leave by a kick", func(s *script) {
			s.leave = func(rooms.Room, rooms.Member, rooms.Reason) { panic("boom") }
			s.input = func(r rooms.Room, _ rooms.Member, _ []byte) { r.Kick(r.Member(2), "") }
		}, func(st *stage) { st.input(st.a, 1, 1, 1, "x") }, &Poison{1, wire.Instance{1}, 1}},
		{"join", func(s *script) { s.join = func(rooms.Room, rooms.Member, []byte) error { panic("boom") } },
			func(st *stage) { st.attach(st.a, 7, 1, peer.WhyJoin, wire.Position{}) }, &Poison{Member: 7}},
		{"sync of a new member", func(s *script) { s.sync = func(rooms.Room, rooms.Member) { panic("boom") } },
			func(st *stage) { st.attach(st.a, 7, 1, peer.WhyJoin, wire.Position{}) }, &Poison{Member: 7}},
		{"sync of an old member", func(s *script) { s.sync = func(rooms.Room, rooms.Member) { panic("boom") } },
			func(st *stage) { st.attach(st.a, 1, 1, peer.WhyJoin, wire.Position{}) }, nil},
		{"timer", func(s *script) { s.timer = func(rooms.Room, string) { panic("boom") } },
			func(st *stage) { st.SetTimer("x", 0); st.Tick(st.now) }, nil},
		{"grace", func(s *script) { s.leave = func(rooms.Room, rooms.Member, rooms.Reason) { panic("boom") } },
			func(st *stage) { st.Detach(st.now, st.a, who); st.Tick(st.now.Add(time.Hour)) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &script{}
			st := open(t, s, nil)
			st.joins(st.a, 1, 2)
			tc.set(s)
			tc.do(st)
			err := st.Failure()
			if err == nil || err.Error() != "handler panicked: boom" {
				t.Fatalf("failure is %v", err)
			}
			if stack := string(err.(*Panic).Stack); !strings.Contains(stack, "guard_test.go") {
				t.Errorf("the stack does not lead to the handler:\n%s", stack)
			}
			if at := err.(*Panic).At(); !strings.Contains(at, "TestPanicsEndTheRoom") || !strings.Contains(at, "/guard_test.go:") {
				t.Errorf("panicked at %q", at)
			}
			got, ok := st.Poisoned()
			if ok != (tc.poison != nil) || ok && got != *tc.poison {
				t.Errorf("poisoned %+v %v, want %+v", got, ok, tc.poison)
			}
			s.took()
			st.a.took()
			st.input(st.a, 2, 1, 1, "x")
			st.sleep(time.Hour)
			if calls, sent := s.took(), st.a.took(); calls+sent != "" || !st.Next().IsZero() {
				t.Errorf("the failed room went on: %s %s", calls, sent)
			}
			if _, _, err := st.Encode(); err == nil {
				t.Errorf("the failed room gave a checkpoint")
			}
		})
	}
}

func TestPoisonedInputIsPassedOver(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	body := st.saves()
	poisoned := func(c *Config) {
		c.Poisoned = []Poison{{1, wire.Instance{1}, 2}, {Member: 7}, {2, wire.Instance{2}, 1}}
	}
	next := st.again(body, &script{}, poisoned)
	if !next.Urgent() {
		t.Errorf("nothing asks for a checkpoint")
	}
	// A crash after that checkpoint must not bring the input back.
	next = next.again(next.saves(), &script{}, nil)
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.a.took()
	next.input(next.a, 1, 1, 1, "good")
	next.input(next.a, 1, 1, 2, "bad")
	next.input(next.a, 1, 1, 3, "good")
	next.want(next.a, "tell:1.1=failed2:input_failed")
	next.called("back:1 sync:1 input:1:good input:1:good")
	next.attach(next.a, 7, 1, peer.WhyJoin, wire.Position{})
	next.want(next.a, "refused:7.1:input_failed:the room's code failed on this join")
	next.attach(next.b, 2, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.b.took()
	next.s.took()
	next.Leave(next.now, next.b, peer.Who{Member: 2, Generation: 1}, 1)
	next.want(next.b, "left:2.1:left:")
	next.called("")
}

func TestPoisonIsBounded(t *testing.T) {
	st := open(t, &script{}, func(c *Config) {
		for i := range maxPoison + 10 {
			c.Poisoned = append(c.Poisoned, Poison{Member: wire.MemberID(i + 1)})
		}
	})
	if n := len(st.poison); n != maxPoison || st.poison[0].Member != 11 {
		t.Errorf("%d inputs remembered, from %+v", n, st.poison[0])
	}
}

func TestStartThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		h    func() rooms.Handler
		want string
	}{
		"New panics":   {func() rooms.Handler { panic("boom") }, "boom"},
		"no handler":   {func() rooms.Handler { return nil }, "no handler"},
		"Start panics": {func() rooms.Handler { return &script{starts: func(rooms.Room, rooms.Start) { panic("boom") }} }, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			kind, err := rooms.Kind{Name: "k", New: tc.h}.Checked()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := New(Config{Kind: kind, Room: "k/x"}, start); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
