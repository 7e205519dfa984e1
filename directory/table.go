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
	// past are rooms that were here and have left, so that a store that knows
	// nothing of one is known to have lost it; guarded by mu.
	past recent[wire.RoomID, wire.Incarnation]
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

// maxPast bounds the rooms that are remembered when they have left.
const maxPast = 16384

func newTable(most int, evicted func()) *table {
	return &table{most: most, evicted: evicted, m: map[wire.RoomID]entry{},
		past: newRecent[wire.RoomID, wire.Incarnation](maxPast)}
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
	t.leave(room)
	return true
}

// leave forgets where a room is; mu is held.
func (t *table) leave(room wire.RoomID) {
	t.past.put(room, t.m[room].incarnation)
	delete(t.m, room)
}

// seen is an epoch below all of a room that is or was here, 0 where none was.
func (t *table) seen(room wire.RoomID) wire.Epoch {
	t.mu.RLock()
	defer t.mu.RUnlock()
	inc := t.m[room].incarnation
	if inc == 0 {
		inc, _ = t.past.get(room)
	}
	return wire.Epoch(max(inc, 1)) - 1
}

// drop forgets every entry for which f says so, and returns how many.
func (t *table) drop(f func(Location) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for room, e := range t.m {
		if f(e.location(room)) {
			t.leave(room)
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
