package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/wire"
)

// A thousand joiners of any room with fifty seats fill twenty rooms: no seat
// is given twice, and no room is made before the last is full.
func TestAnyFillsRooms(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.claims.delays.Store(int64(time.Millisecond))
	var all sync.WaitGroup
	start := time.Now()
	for i := range 1000 {
		n, who := c.nodes[i%len(c.nodes)], wire.MemberID(i+1)
		all.Go(func() {
			loc, err := resolve(n, Request{Room: "arena/", Mode: wire.ModeAny, Member: who})
			if err != nil {
				t.Errorf("joiner %d: %v", i, err)
				return
			}
			time.Sleep(time.Duration(i%20) * 10 * time.Millisecond) // attaches take their time
			if !c.claims.join(loc.Room, who) {
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
		for m := range members {
			c.claims.join(room, wire.MemberID(1000+m))
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

// Pools are searched apart, labels and seats are kept to, and a room that is
// made is what was asked for.
func TestAnyKeepsToTheFilter(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	find := func(f wire.Filter, not ...wire.RoomID) wire.RoomID {
		return c.resolve(g, Request{Room: "arena/", Mode: wire.ModeAny, Filter: f, NotRooms: not}).Room
	}
	desert := wire.Filter{Labels: map[string]string{"map": "desert"}}
	first := find(desert)
	if again := find(desert); again != first {
		t.Errorf("a second search for the same went to %s, not %s", again, first)
	}
	if plain := find(wire.Filter{}); plain != first {
		t.Errorf("a search for anything went to %s, not %s", plain, first)
	}
	if reef := find(wire.Filter{Labels: map[string]string{"map": "reef"}}); reef == first {
		t.Error("a search for another map went to the same room")
	}
	gold := find(wire.Filter{Pool: "gold"})
	if again := find(wire.Filter{Labels: map[string]string{"pool": "gold"}}); gold == first || again != gold {
		t.Errorf("pool gold: %s and %s, others %s", gold, again, first)
	}
	if got := find(desert, first); got == first {
		t.Error("sent to a room that was to be passed over")
	}
	many := wire.Filter{Pool: "gold", Seats: seats - 1}
	party := find(many)
	if party == gold {
		t.Error("a party was sent to a room without the seats")
	}
	if next := find(wire.Filter{Pool: "gold", Seats: 3}); next == party {
		t.Error("the party's seats were given away")
	}
	c.claims.mu.Lock()
	made := c.claims.rooms[party].made
	c.claims.mu.Unlock()
	if made.Labels["pool"] != "gold" || made.By == "" {
		t.Errorf("the room was made with %+v", made)
	}
	_, err := resolve(g, Request{Room: "arena/", Mode: wire.ModeAny, Filter: wire.Filter{Build: "v99"}})
	if e := wire.CodeOf(err); err == nil || e.Code != wire.CodeUnavailable {
		t.Errorf("a build that nobody runs: %v", err)
	}
}

// A room that has changed since its host listed it is not given: its host says
// no, and the search goes on.
func TestAnyHeedsTheHostsWord(t *testing.T) {
	c := newCluster(t, 2, 1)
	g := c.gateways()[0]
	find := func() wire.RoomID {
		return c.resolve(g, Request{Room: "arena/", Mode: wire.ModeAny, Filter: wire.Filter{Labels: map[string]string{"map": "reef"}}}).Room
	}
	first := find()
	c.claims.change(first, func(r *claim) { r.made.Labels = map[string]string{"map": "desert"} })
	second := find()
	if second == first {
		t.Fatal("sent to a room that has other labels by now")
	}
	c.claims.change(second, func(r *claim) { r.joined = seats })
	if third := find(); third == second || third == first {
		t.Errorf("sent to %s, which is full", third)
	}
}

// More rooms than one list holds, of which the one that is wanted is not among
// the fullest.
func TestAnySearchesBeyondAList(t *testing.T) {
	c := newCluster(t, 1, 1)
	g, h := c.gateways()[0], c.hosts()[0]
	for i := range maxOpen + 20 {
		room := wire.RoomID(fmt.Sprintf("chat/r%04d", i))
		if _, err := h.host.Activate(context.Background(), room, wire.ModeCreate, 0); err != nil {
			t.Fatal(err)
		}
		c.claims.change(room, func(r *claim) { r.joined = 2 })
	}
	c.claims.change("chat/r0007", func(r *claim) { r.joined, r.made.Labels = 1, map[string]string{"map": "reef"} })
	got := c.resolve(g, Request{Room: "chat/", Mode: wire.ModeAny, Filter: wire.Filter{Labels: map[string]string{"map": "reef"}}})
	if got.Room != "chat/r0007" {
		t.Errorf("sent to %s: one room has the label", got.Room)
	}
}

// A room made by a node whose view differs is counted by the key's owner.
func TestSurplusRoomsAreCounted(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	first := c.resolve(g, Request{Room: "arena/", Mode: wire.ModeAny})
	var owner, other *testNode
	for _, h := range c.hosts() {
		if h.Self() == g.View().Ring.Primary("arena/").ID {
			owner = h
		} else {
			other = h
		}
	}
	time.Sleep(2 * time.Millisecond) // ages are whole milliseconds
	// other takes itself for the owner and does not see the room.
	k, err := other.service.open.enter(&Request{Room: "arena/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.service.open.create(context.Background(), k, &Request{Room: "arena/", Member: 7}); err != nil {
		t.Fatal(err)
	}
	c.until("the surplus room is counted", func() bool {
		if at := c.resolve(g, Request{Room: "arena/", Mode: wire.ModeAny}); at.Room != first.Room {
			t.Errorf("sent to %s, not to the fullest", at.Room)
		}
		return testutil.ToFloat64(owner.service.metrics.openSurplus) == 1
	})
	c.resolve(g, Request{Room: "arena/", Mode: wire.ModeAny})
	if n := testutil.ToFloat64(owner.service.metrics.openSurplus); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// Searches above the bounds are turned away, and counted.
func TestSearchesAreBounded(t *testing.T) {
	c := newCluster(t, 1, 0)
	x := c.hosts()[0].service.open
	busy := func(want float64) {
		t.Helper()
		k, err := x.enter(&Request{Room: "arena/"})
		if k != nil || wire.CodeOf(err).Code != wire.CodeBusy || testutil.ToFloat64(x.s.metrics.openBusy) != want {
			t.Errorf("%v, %v turned away, want %v", err, testutil.ToFloat64(x.s.metrics.openBusy), want)
		}
	}
	x.keys["arena/"] = &openKey{waiting: maxOpenWait}
	busy(1)
	delete(x.keys, "arena/")
	for i := range maxOpenKeys {
		x.keys[wire.RoomID(fmt.Sprint("k", i))] = &openKey{waiting: 1}
	}
	busy(2)
}

// Reports that come late, or in the wrong order, change nothing.
func TestReportsAreOrdered(t *testing.T) {
	k := &openKey{kind: "chat", rooms: map[wire.RoomID]*seating{}, surplus: newRecent[wire.RoomID, time.Time](8), hidden: newRecent[wire.RoomID, hidden](8)}
	report := func(node NodeID, epoch wire.Epoch, rev uint64, members int) {
		k.takeLocked(list{node: &Node{ID: node}, rooms: []OpenRoom{{Room: "chat/a", Members: members, Max: 50, Epoch: epoch, Rev: rev}}}, "h9", true)
	}
	check := func(members int, node NodeID) {
		t.Helper()
		if r := k.rooms["chat/a"]; r.last.Members != members || r.node != node {
			t.Errorf("%d members on %s, want %d on %s", r.last.Members, r.node, members, node)
		}
	}
	report("h1", 7, 3, 10)
	report("h1", 7, 2, 5)
	check(10, "h1")
	report("h2", 9, 1, 12)
	report("h1", 7, 4, 30)
	check(12, "h2")
	k.takeLocked(list{node: &Node{ID: "h1"}}, "h9", true)
	check(12, "h2")
	k.rooms["chat/a"].pending = 1
	k.takeLocked(list{node: &Node{ID: "h2"}}, "h9", true)
	check(12, "h2")
	k.rooms["chat/a"].pending = 0
	k.takeLocked(list{node: &Node{ID: "h2"}}, "h9", true)
	if len(k.rooms) != 0 {
		t.Error("a room that its host lists no more is kept")
	}
}

// A host's word may count seats whose own words are still under way: then a search
// waits for those, and does not have a room made that nobody needs.
func TestSeatsCountedTwiceAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := someHosts(1)[0]
		v, req := viewOf(host), &Request{Room: "chat/", Mode: wire.ModeAny}
		r := &seating{node: host.ID, last: OpenRoom{Room: "chat/a", Members: 1, Max: 4, Epoch: 7, Rev: 1}}
		k := &openKey{kind: "chat", rooms: map[wire.RoomID]*seating{"chat/a": r}, word: make(chan struct{})}
		word := func(reserved int, rev uint64) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.wordLocked(r, 1, &OpenRoom{Room: "chat/a", Members: 1, Reserved: reserved, Max: 4, Epoch: 7, Rev: rev})
		}
		search := func(want wire.RoomID, took time.Duration) {
			t.Helper()
			start := time.Now()
			if got := k.settled(t.Context(), v, req); got != want || time.Since(start) != took {
				t.Errorf("%q after %s, want %q after %s", got, time.Since(start), want, took)
			}
		}
		search("chat/a", 0)
		search("chat/a", 0)
		word(2, 3) // both seats: the second word is on its way
		go func() {
			time.Sleep(time.Millisecond)
			word(2, 2)
		}()
		search("chat/a", time.Millisecond) // the fourth of four
		search("", 0)                      // no word of a host has these three
		word(3, 4)
		search("", 0) // full
		search("", 0)
		k.mu.Lock()
		r.last.Max, r.last.Rev, r.pending, r.counted = 5, 5, 1, true
		k.mu.Unlock()
		search("", reserveWithin) // the host keeps silent
	})
}

func TestListSaysHowComplete(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	for i := range 9 {
		c.resolve(g, Request{Room: wire.RoomID(fmt.Sprint("chat/r", i)), Mode: wire.ModeJoinOrCreate})
	}
	for _, n := range []*testNode{g, c.hosts()[0]} {
		l, err := n.resolver.List(context.Background(), Query{Kind: "chat", Most: 100})
		if err != nil || l.Asked != 3 || l.Answered != 3 || len(l.Rooms) != 9 || l.More {
			t.Errorf("at %s: %+v, %v", n.Self(), l, err)
		}
		var names []string
		for after := ""; ; {
			l, err := n.resolver.List(context.Background(), Query{Kind: "chat", Most: 4, After: after})
			if err != nil || len(l.Rooms) > 4 {
				t.Fatalf("a page of four: %d, %v", len(l.Rooms), err)
			}
			for _, o := range l.Rooms {
				names = append(names, o.Room.Name())
			}
			if !l.More {
				break
			}
			after = names[len(names)-1]
		}
		if got := fmt.Sprint(names); got != "[r0 r1 r2 r3 r4 r5 r6 r7 r8]" {
			t.Errorf("pages hold %s", got)
		}
	}
	var e *wire.Error
	if _, err := g.resolver.List(context.Background(), Query{Kind: "chess", Most: 4}); !errors.As(err, &e) || e.Code != wire.CodeUnknownKind {
		t.Errorf("a kind that nobody serves: %v", err)
	}
	if _, err := g.resolver.List(context.Background(), Query{Kind: "chat", Filter: wire.Filter{Build: "v99"}}); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("a build that nobody runs: %v", err)
	}
	if _, err := g.resolver.List(context.Background(), Query{Kind: "chat", Filter: wire.Filter{Seats: -1}}); !errors.As(err, &e) || e.Code != wire.CodeBadRequest {
		t.Errorf("a filter that is none: %v", err)
	}
}

// Hosts beyond what one list asks count as not answered.
func TestListOfTooManyHosts(t *testing.T) {
	hosts := someHosts(maxListHost + 2)
	for _, h := range hosts {
		h.Load.Rooms = 1
	}
	l := compose(askSome(hosts, func(some []*Node) []list {
		return lists(some, func(*Node) (openReply, error) { return openReply{Has: 1}, nil })
	}), 1)
	if want := float64(maxListHost) / float64(len(hosts)); l.Asked != len(hosts) || l.Answered != maxListHost || l.Share != want {
		t.Errorf("of %d hosts, %d asked, %d answered, share %v, want %v", len(hosts), l.Asked, l.Answered, l.Share, want)
	}
}
