package directory

import (
	"sync"
	"unique"

	"github.com/limpet-games/limpet/wire"
)

// table keeps the entries of the partitions that this host owns. An entry is
// a hint: the highest epoch wins, and a removal names what it removes, so that
// news may come late, twice or out of order.
type table struct {
	most    int
	evicted func()

	mu sync.RWMutex
	m  map[wire.RoomID]entry // guarded by mu
}

// entry is a location as a table of millions keeps it: the few nodes there are
// share one abode each.
type entry struct {
	abode       unique.Handle[abode]
	epoch       wire.Epoch
	incarnation wire.Incarnation
}

type abode struct {
	node NodeID
	addr string
}

func entryOf(loc Location) entry {
	return entry{unique.Make(abode{loc.Node, loc.Addr}), loc.Epoch, loc.Incarnation}
}

func (e entry) location(room wire.RoomID) Location {
	h := e.abode.Value()
	return Location{Room: room, Node: h.node, Addr: h.addr, Epoch: e.epoch, Incarnation: e.incarnation}
}

func newTable(most int, evicted func()) *table {
	return &table{most: most, evicted: evicted, m: map[wire.RoomID]entry{}}
}

func (t *table) get(room wire.RoomID) (Location, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.m[room]
	if !ok {
		return Location{}, false
	}
	return e.location(room), true
}

// put takes a location in unless the entry's epoch is higher, and returns the
// two of them, the newer and the older: ok if they are different copies. A full
// table gives up any other entry: its room is found again by its claim.
func (t *table) put(loc Location) (newer, older Location, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, had := t.m[loc.Room]
	if had && old.epoch >= loc.Epoch {
		return old.location(loc.Room), loc, old.epoch > loc.Epoch
	}
	if !had && len(t.m) >= t.most {
		for room := range t.m {
			delete(t.m, room)
			t.evicted()
			break
		}
	}
	t.m[loc.Room] = entryOf(loc)
	if !had {
		return loc, Location{}, false
	}
	return loc, old.location(loc.Room), true
}

// remove forgets a room as it was at an epoch; a later one stays.
func (t *table) remove(room wire.RoomID, epoch wire.Epoch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.m[room]; !ok || old.epoch > epoch {
		return false
	}
	delete(t.m, room)
	return true
}

// drop forgets every entry for which f says so, and returns how many.
func (t *table) drop(f func(Location) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for room, e := range t.m {
		if f(e.location(room)) {
			delete(t.m, room)
			n++
		}
	}
	return n
}

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.m)
}
