package directory

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/wire"
)

func at(room string, node string, epoch wire.Epoch) Location {
	return Location{Room: wire.RoomID(room), Node: MakeNodeID(node, 1), Addr: "127.0.0.1:1", Epoch: epoch}
}

// News in any order, with repeats, leaves every room at its highest epoch, or
// gone if that is what ended.
func TestTableConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable(1000, func() { t.Fatal("evicted") })
		highest, ended := map[wire.RoomID]wire.Epoch{}, map[wire.RoomID]wire.Epoch{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			room := wire.RoomID(fmt.Sprint("chat/", rapid.IntRange(0, 3).Draw(t, "room")))
			e := wire.Epoch(rapid.IntRange(1, 6).Draw(t, "epoch"))
			if rapid.Bool().Draw(t, "gone") {
				removed := tab.remove(room, e)
				if removed != (highest[room] > 0 && highest[room] <= e) {
					t.Fatalf("remove %s at %d: %v, it was at %d", room, e, removed, highest[room])
				}
				if removed {
					ended[room] = max(ended[room], highest[room])
					delete(highest, room)
				}
				continue
			}
			newer, older, two := tab.put(at(string(room), "h1", e))
			if two != (highest[room] > 0 && e != highest[room]) || two && (newer.Epoch != max(e, highest[room]) || older.Epoch != min(e, highest[room])) {
				t.Fatalf("put %s at %d: newer %d, older %d, two copies %v; it was at %d", room, e, newer.Epoch, older.Epoch, two, highest[room])
			}
			highest[room] = max(highest[room], e)
		}
		got := map[wire.RoomID]wire.Epoch{}
		for room, loc := range tab.m {
			got[room] = loc.epoch
		}
		if !maps.Equal(got, highest) {
			t.Fatalf("table %v, want %v", got, highest)
		}
	})
}

func TestTableIsBounded(t *testing.T) {
	evicted := 0
	tab := newTable(10, func() { evicted++ })
	for i := range 25 {
		tab.put(at(fmt.Sprint("chat/", i), "h1", 1))
		if _, ok := tab.get(wire.RoomID(fmt.Sprint("chat/", i))); !ok {
			t.Fatalf("entry %d is not there after its put", i)
		}
	}
	if tab.len() != 10 || evicted != 15 {
		t.Errorf("%d entries, %d evicted", tab.len(), evicted)
	}
	if n := tab.drop(func(l Location) bool { return l.Node == MakeNodeID("h1", 1) }); n != 10 || tab.len() != 0 {
		t.Errorf("dropped %d, %d left", n, tab.len())
	}
}

func TestCacheNeverGoesBack(t *testing.T) {
	c := newCache(10, func() {})
	c.put(at("chat/a", "h1", 5))
	c.put(at("chat/a", "h2", 4))
	if loc, ok := c.get("chat/a"); !ok || loc.Epoch != 5 {
		t.Errorf("got %+v, want epoch 5", loc)
	}
	c.remove("chat/a", 4)
	if _, ok := c.get("chat/a"); !ok {
		t.Error("forgotten by a lower epoch")
	}
	c.put(at("chat/a", "h3", 6))
	c.remove("chat/a", 6)
	if _, ok := c.get("chat/a"); ok {
		t.Error("not forgotten")
	}
}

func TestCacheIsBounded(t *testing.T) {
	evicted := 0
	c := newCache(100, func() { evicted++ })
	c.put(at("chat/hot", "h1", 1))
	c.put(at("chat/watched", "h2", 1))
	for i := range 1000 {
		c.put(at(fmt.Sprint("chat/", i), "h2", 1))
		c.live("chat/hot", &View{})
		c.get("chat/watched")
	}
	if c.len() != 100 || evicted != 902 {
		t.Errorf("%d cached, %d evicted", c.len(), evicted)
	}
	if _, ok := c.get("chat/hot"); !ok {
		t.Error("the room that is asked for all the time was evicted")
	}
	if _, ok := c.get("chat/watched"); ok {
		t.Error("a room stays because somebody looks at its place")
	}
	c.removeNode(MakeNodeID("h2", 1))
	if c.len() != 1 {
		t.Errorf("%d left after their node was forgotten, want 1", c.len())
	}
	for i := range 50 {
		c.put(at(fmt.Sprint("chat/n", i), "h3", 1))
	}
	if c.len() != 51 || len(c.slots) != 100 {
		t.Errorf("%d cached in %d slots", c.len(), len(c.slots))
	}
}

func TestRecentKeepsTheNewest(t *testing.T) {
	r := newRecent[int, string](3)
	for i := range 5 {
		r.put(i, fmt.Sprint(i))
	}
	r.put(3, "again")
	r.put(5, "5")
	if v, ok := r.get(3); !ok || v != "again" {
		t.Errorf("3 is %q, %v", v, ok)
	}
	if _, ok := r.get(2); ok || len(r.m) != 3 || len(r.order) != 3 {
		t.Errorf("kept %v in order %v", r.m, r.order)
	}
	r.remove(3)
	if len(r.m) != 2 || len(r.order) != 2 {
		t.Errorf("kept %v in order %v", r.m, r.order)
	}
}

func TestCachedPlacesNeedTheirNodeInTheView(t *testing.T) {
	id := MakeNodeID("h1", 1)
	nodes := map[NodeID]*Node{id: {ID: id, Role: RoleHost}}
	with := newView(nil, 16, nodes, nil, time.Now())
	without := newView(with, 16, nil, nil, time.Now())
	again := newView(without, 16, nodes, nil, time.Now())
	c := newCache(10, func() {})
	c.put(at("chat/a", "h1", 5))
	for i, v := range []*View{with, with, without, without, again, again} {
		if _, ok := c.live("chat/a", v); ok != (v != without) {
			t.Errorf("%d: found %t", i, ok)
		}
	}
	c.put(at("chat/a", "h2", 6))
	if _, ok := c.live("chat/a", again); ok {
		t.Error("a place is found at a node that no view has had")
	}
}
