package directory

import (
	"sync"

	"github.com/limpet-games/limpet/wire"
)

// cache keeps the newest known place of rooms. A place is never replaced by
// one with a lower epoch. When it is full, a room that was not asked for since
// the hand last passed gives way (the clock algorithm).
type cache struct {
	most    int
	evicted func()

	mu    sync.Mutex
	index map[wire.RoomID]int // of slots; guarded by mu, as all below
	slots []slot
	free  []int
	hand  int
}

type slot struct {
	loc  Location
	used bool   // asked for since the hand passed
	seen uint64 // the serial of the last view that had the place's node
}

func newCache(most int, evicted func()) *cache {
	return &cache{most: most, evicted: evicted, index: map[wire.RoomID]int{}}
}

// get looks a place up, which does not count as asking for the room.
func (c *cache) get(room wire.RoomID) (Location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[room]
	if !ok {
		return Location{}, false
	}
	return c.slots[i].loc, true
}

// live finds the place of a room whose node is in a view. What one view had is
// not looked up in it again: most of the time of a lookup went there.
func (c *cache) live(room wire.RoomID, v *View) (Location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[room]
	if !ok {
		return Location{}, false
	}
	s := &c.slots[i]
	s.used = true
	if s.seen != v.serial {
		if v.Node(s.loc.Node) == nil {
			return Location{}, false
		}
		s.seen = v.serial
	}
	return s.loc, true
}

func (c *cache) put(loc Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[loc.Room]
	if ok && c.slots[i].loc.Epoch >= loc.Epoch {
		return
	}
	if !ok {
		i = c.slotLocked()
		c.index[loc.Room] = i
	}
	c.slots[i] = slot{loc: loc, used: ok}
}

// slotLocked finds a slot to use.
func (c *cache) slotLocked() int {
	if n := len(c.free); n > 0 {
		i := c.free[n-1]
		c.free = c.free[:n-1]
		return i
	}
	if len(c.slots) < c.most {
		c.slots = append(c.slots, slot{})
		return len(c.slots) - 1
	}
	for {
		i := c.hand
		c.hand = (c.hand + 1) % len(c.slots)
		if !c.slots[i].used {
			delete(c.index, c.slots[i].loc.Room)
			c.evicted()
			return i
		}
		c.slots[i].used = false
	}
}

// remove forgets a room as it was at an epoch; a later one stays.
func (c *cache) remove(room wire.RoomID, epoch wire.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.index[room]; ok && c.slots[i].loc.Epoch <= epoch {
		c.removeLocked(room, i)
	}
}

// removeNode forgets all rooms of a node.
func (c *cache) removeNode(id NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for room, i := range c.index {
		if c.slots[i].loc.Node == id {
			c.removeLocked(room, i)
		}
	}
}

func (c *cache) removeLocked(room wire.RoomID, i int) {
	delete(c.index, room)
	c.slots[i] = slot{}
	c.free = append(c.free, i)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.index)
}
