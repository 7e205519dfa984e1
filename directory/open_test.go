package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A thousand joiners of any room with fifty seats fill twenty rooms: no seat
// is given twice, and no room is made before the last is full.
func TestAnyFillsRooms(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.claims.delays = time.Millisecond
	var all sync.WaitGroup
	start := time.Now()
	for i := range 1000 {
		n := c.nodes[i%len(c.nodes)]
		all.Go(func() {
			loc, err := resolve(n, Request{Room: "arena/", Mode: wire.ModeAny})
			if err != nil {
				t.Errorf("joiner %d: %v", i, err)
				return
			}
			time.Sleep(time.Duration(i%20) * 10 * time.Millisecond) // attaches take their time
			if !c.claims.join(loc.Room) {
				t.Errorf("joiner %d was sent to room %s, which is full", i, loc.Room)
			}
		})
	}
	all.Wait()
	rooms, _ := c.claims.counts()
	t.Logf("1000 joiners took %s", time.Since(start))
	if len(rooms) != 20 {
		t.Errorf("%d rooms for 1000 joiners of 50 seats each, want 20: %v", len(rooms), rooms)
	}
	for _, n := range rooms {
		if n != seats {
			t.Errorf("rooms hold %v members, want %d each", rooms, seats)
			break
		}
	}
}

// Rooms that exist are used first, the fullest before others.
func TestAnyTakesTheFullest(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	for i, members := range []int{3, 40, 50} {
		room := wire.RoomID(fmt.Sprint("chat/r", i))
		c.resolve(g, Request{Room: room, Mode: wire.ModeJoinOrCreate})
		for range members {
			c.claims.join(room)
		}
	}
	got := map[wire.RoomID]int{}
	for range 12 {
		got[c.resolve(g, Request{Room: "chat/", Mode: wire.ModeAny}).Room]++
	}
	if got["chat/r1"] != 10 || got["chat/r0"] != 2 {
		t.Errorf("sent to %v, want ten to r1, then two to r0", got)
	}
}

func TestSeatsAreGivenBack(t *testing.T) {
	k := &openKind{name: "chat", rooms: map[wire.RoomID]*seating{}}
	now := time.Now()
	report := func(members int) { k.take("h1", []OpenRoom{{Room: "chat/a", Members: members, Max: 50}}, now) }
	report(10)
	r := k.rooms["chat/a"]
	for range 5 {
		r.given = append(r.given, now)
	}
	if r.taken() != 15 {
		t.Fatalf("%d taken", r.taken())
	}
	report(13) // three of the five have come
	if r.taken() != 15 {
		t.Errorf("%d taken after three came, want 15", r.taken())
	}
	report(12) // somebody left
	if r.taken() != 14 {
		t.Errorf("%d taken after one left, want 14", r.taken())
	}
	now = now.Add(seatFor + time.Millisecond)
	report(12)
	if r.taken() != 12 {
		t.Errorf("%d taken after the seats ran out, want 12", r.taken())
	}
	k.take("h1", nil, now)
	if len(k.rooms) != 0 {
		t.Error("a room that its host lists no more is kept")
	}
}

func TestListSaysHowComplete(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	for i := range 9 {
		c.resolve(g, Request{Room: wire.RoomID(fmt.Sprint("chat/r", i)), Mode: wire.ModeJoinOrCreate})
	}
	for _, n := range []*testNode{g, c.hosts()[0]} {
		l, err := n.resolver.List(context.Background(), "chat", 100)
		if err != nil || l.Asked != 3 || l.Answered != 3 || len(l.Rooms) != 9 {
			t.Errorf("at %s: %+v, %v", n.Self(), l, err)
		}
		if l, err := n.resolver.List(context.Background(), "chat", 4); err != nil || len(l.Rooms) != 4 {
			t.Errorf("four at most: %d, %v", len(l.Rooms), err)
		}
	}
	var e *wire.Error
	if _, err := g.resolver.List(context.Background(), "chess", 4); !errors.As(err, &e) || e.Code != wire.CodeUnknownKind {
		t.Errorf("a kind that nobody serves: %v", err)
	}
}
