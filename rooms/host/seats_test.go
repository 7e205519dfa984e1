package host

import (
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestSeatsAreReserved(t *testing.T) {
	t.Parallel()
	k := tallyKind()
	k.MaxMembers = 2
	h := startLinked(t, newMemStore(), "a#1", k)
	made := directory.Made{Labels: map[string]string{"map": "reef", "pool": "gold"}, By: "a#1"}
	if _, err := h.Create(t.Context(), "tally/one", 0, made); err != nil {
		t.Fatal(err)
	}
	gold := wire.Filter{Pool: "gold", Labels: map[string]string{"map": "reef"}}
	reserve := func(who wire.MemberID, f wire.Filter) (directory.OpenRoom, wire.Code) {
		o, err := h.Reserve(t.Context(), directory.Reservation{Room: "tally/one", Member: who, Filter: f})
		if err != nil {
			return o, wire.CodeOf(err).Code
		}
		return o, 0
	}
	if o, code := reserve(100, gold); code != 0 || o.Reserved != 1 || o.By != "a#1" || o.Labels["pool"] != "gold" {
		t.Fatalf("reserve: %v %+v", code, o)
	}
	if _, code := reserve(101, wire.Filter{}); code != wire.CodeRoomLocked {
		t.Errorf("a search of another pool: %v", code)
	}
	if o, code := reserve(100, gold); code != 0 || o.Reserved != 1 {
		t.Errorf("the same member again: %v %+v", code, o)
	}
	if o, code := reserve(101, gold); code != 0 || o.Reserved != 2 {
		t.Errorf("a second member: %v %+v", code, o)
	}
	if o, code := reserve(102, gold); code != wire.CodeRoomFull || o.Reserved != 2 {
		t.Errorf("a third member of two: %v %+v", code, o)
	}
	g := dialGateway(t, "g#1", "a#1", h.addr)
	stranger := newPlayer(g, g.ear, "tally/one", 7, 200)
	if a := stranger.attach(t, peer.WhyJoin, wire.Attach{}); a.kind != peer.KindRefused || a.code != wire.CodeRoomFull {
		t.Errorf("one who was not sent: %v", a)
	}
	sent := newPlayer(g, g.ear, "tally/one", 7, 100)
	if a := sent.attach(t, peer.WhyJoin, wire.Attach{}); a.kind != peer.KindAttached {
		t.Errorf("one who was sent: %v", a)
	}
	if rooms, _ := h.Open("tally", gold, 10); len(rooms) != 0 {
		t.Errorf("open: %+v", rooms)
	}
	until(t, "the seat that nobody came for is given back", func() bool {
		rooms, _ := h.Open("tally", gold, 10)
		return len(rooms) == 1 && rooms[0].Members == 1 && rooms[0].Reserved == 0
	})
	if _, err := h.Reserve(t.Context(), directory.Reservation{Room: "tally/none", Member: 1}); wire.CodeOf(err).Code != wire.CodeNoRoom {
		t.Errorf("a room that is not here: %v", err)
	}
}

func TestGroupSeatsAreForWhoJoinsByName(t *testing.T) {
	now := time.Now()
	var s seats
	s.keep(now, 1, 2)
	if s.taken() != 3 || s.own != 1 {
		t.Fatalf("%+v", s)
	}
	s.useGroup()
	s.keep(now.Add(time.Second), 2, 0)
	if s.taken() != 3 || !s.next.Equal(now.Add(directory.ReservedFor)) {
		t.Errorf("%+v", s)
	}
	s.expire(now.Add(directory.ReservedFor))
	if s.taken() != 1 || s.next.IsZero() {
		t.Errorf("after the first ended: %+v", s)
	}
	s.expire(now.Add(time.Hour))
	if s.taken() != 0 || len(s.held) != 0 || !s.next.IsZero() {
		t.Errorf("after all: %+v", s)
	}
}
