package actor

import (
	"fmt"
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestKickIsConfirmedWhenDurable(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	_, early, _ := st.Encode()
	st.Kick(st.Member(1), "bye")
	st.called("leave:1:2")
	if !st.Urgent() || !st.Dirty() {
		t.Errorf("nothing asks for a checkpoint")
	}
	st.Saved(st.now, early)
	st.want(st.a, "")
	st.attach(st.b, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
	st.want(st.b, "refused:1.1:busy:the room is saving")
	body := st.saves()
	st.want(st.a, "left:1.1:kicked:bye")
	st.attach(st.b, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
	st.want(st.b, "refused:1.1:kicked:bye")
	next := st.again(body, &script{}, nil)
	next.attach(next.a, 1, 1, peer.WhyResume, wire.Position{Epoch: 5})
	next.want(next.a, "refused:1.1:kicked:bye")
	next.attach(next.a, 1, 1, peer.WhyJoin, wire.Position{})
	next.want(next.a, "refused:1.1:kicked:bye")
}

func TestUnsavedKindConfirmsAtOnce(t *testing.T) {
	st := open(t, &script{}, func(c *Config) { c.Kind.Durability = rooms.None() })
	st.joins(st.a, 1, 2)
	st.input(st.a, 1, 1, 1, "x")
	st.Flush(st.now)
	st.want(st.a, "acks:1(1,1)#0")
	st.Kick(st.Member(1), "bye")
	st.want(st.a, "left:1.1:kicked:bye")
	st.Close("over")
	st.want(st.a, "gone:room_closed:over")
	if st.Dirty() || st.Urgent() {
		t.Errorf("a room that is not saved wants to be")
	}
}

func TestConfirmationsOfLostConnectionsAreForgotten(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.joins(st.b, 2, 3)
	st.Kick(st.Member(1), "bye")
	st.Kick(st.Member(2), "bye")
	st.Detach(st.now, st.b, peer.Who{Member: 2, Generation: 1})
	st.PortDown(st.now, st.a)
	st.saves()
	st.want(st.a, "")
	st.want(st.b, "")
	st.All().Send([]byte("x"))
	st.want(st.b, "all=1:x")
	if len(st.held) != 0 {
		t.Errorf("%d confirmations held", len(st.held))
	}
}

func TestHeldConfirmationsAreBounded(t *testing.T) {
	st := open(t, &script{}, nil)
	for i := range maxHeld {
		id := wire.MemberID(i + 1)
		st.joins(st.a, id)
		st.Kick(st.Member(rooms.MemberID(id)), "bye")
	}
	st.attach(st.a, 5000, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "refused:5000.1:busy:too many removals wait for the store")
	st.saves()
	st.a.took()
	st.joins(st.a, 5000)
	for i := range 40 {
		id := wire.MemberID(6000 + i)
		st.joins(st.a, id)
		st.Kick(st.Member(rooms.MemberID(id)), "bye")
	}
	if n := len(st.kicked.list); n != maxKicked {
		t.Errorf("%d kicked members remembered, want %d", n, maxKicked)
	}
	if ids := st.kicked.inOrder(); ids[0].id != 41 || ids[maxKicked-1].id != 6039 {
		t.Errorf("remembers %d to %d", ids[0].id, ids[maxKicked-1].id)
	}
}

func TestClose(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	st.joins(st.a, 1, 2)
	st.joins(st.b, 3)
	s.input = func(r rooms.Room, m rooms.Member, _ []byte) {
		r.All().Send([]byte("last words"))
		r.Close("over")
		r.Close("twice")
	}
	s.leave = func(r rooms.Room, m rooms.Member, _ rooms.Reason) {
		r.All().Send([]byte("to nobody"))
		r.Kick(m, "gone already")
	}
	st.input(st.b, 3, 1, 1, "x")
	st.called("input:3:x leave:1:3 leave:2:3 leave:3:3")
	st.want(st.a, "all=1:last words")
	if _, text, ended := st.Ended(); !ended || text != "over" || st.Len() != 0 || st.Listing().Open {
		t.Errorf("ended %v %q with %d members", ended, text, st.Len())
	}
	st.attach(st.a, 9, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "refused:9.1:busy:the room is closing")
	st.input(st.b, 3, 1, 2, "y")
	st.Saved(st.now, st.Mark())
	st.want(st.a, "gone:room_closed:over")
	st.attach(st.a, 9, 1, peer.WhyJoin, wire.Position{})
	st.want(st.a, "refused:9.1:room_closed:over")
	st.sleep(1 << 40)
	st.called("")

	next := st.again(st.saves(), &script{}, nil)
	if _, text, ended := next.Ended(); !ended || text != "over" {
		t.Errorf("the restored room is not closed")
	}
	next.attach(next.a, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	next.want(next.a, "refused:1.1:room_closed:over")
}

func TestMembersCanBeKickedWhileIterating(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	for i := range 40 {
		st.joins(st.a, wire.MemberID(i+1))
	}
	seen := 0
	for m := range st.Members {
		seen++
		if m.ID()%2 == 1 {
			st.Kick(st.Member(m.ID()+1), "")
			st.Kick(m, "")
		}
	}
	if seen != 20 || st.Len() != 0 {
		t.Errorf("saw %d members, %d are left", seen, st.Len())
	}
	st.joins(st.a, 100, 101)
	var order []string
	for m := range st.Members {
		order = append(order, fmt.Sprint(m.ID()))
	}
	if fmt.Sprint(order) != "[100 101]" || len(st.order) != 2 {
		t.Errorf("members are %v of %d", order, len(st.order))
	}
}

func TestListing(t *testing.T) {
	st := open(t, &script{}, func(c *Config) { c.Kind.MaxMembers = 1 })
	if l := st.Listing(); !l.Changed || !l.Open || l.Max != 1 {
		t.Errorf("listing %+v", l)
	}
	labels := map[string]string{"map": "reef"}
	st.SetLabels(labels)
	labels["map"] = "changed after"
	if l := st.Listing(); !l.Changed || l.Labels["map"] != "reef" {
		t.Errorf("listing %+v", l)
	}
	st.SetLabels(map[string]string{"map": "reef"})
	if l := st.Listing(); l.Changed {
		t.Errorf("changed by nothing")
	}
	st.joins(st.a, 1)
	if l := st.Listing(); l.Open || l.Members != 1 || !l.Changed {
		t.Errorf("listing %+v", l)
	}
}
