package check

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// owner is who has a room in an epoch, and when that was first told to anyone.
type owner struct {
	host   string
	client string // to whom it was told
	first  time.Duration
}

// oneWriter checks that each epoch has one owner, and that nobody takes anything
// from a host that went on after it had been stopped and has lost the room.
func (c *checker) oneWriter(r *room, wakes []Wake) {
	for _, rec := range r.records {
		for _, e := range rec.Events {
			if e.Kind != Joined && e.Kind != Resumed && e.Kind != Attached {
				continue
			}
			before, known := r.owners[e.Epoch]
			switch {
			case known && before.host != e.Host:
				c.report("one writer", r.Name, rec.Client, "epoch %d is of %s here, of %s for %s", e.Epoch, e.Host, before.host, before.client)
			case !known || e.At < before.first:
				r.owners[e.Epoch] = owner{e.Host, rec.Client, e.At}
			}
		}
	}
	for _, w := range wakes {
		if old, lost := r.lostBy(w); lost {
			c.woken(r, w, old)
		}
	}
}

// Woken returns whoever took a message or an ack from a host that went on after it
// had been stopped, of a room that it had lost.
func Woken(h History, w Wake) []Problem {
	c := &checker{rooms: map[string]*room{}}
	for i := range h.Records {
		rec := &h.Records[i]
		if c.rooms[rec.Room] == nil {
			c.addRoom(&Room{Name: rec.Room, Lost: true})
		}
		c.addRecord(rec)
	}
	for _, r := range c.order {
		c.oneWriter(r, []Wake{w})
	}
	return c.problems
}

// lostBy is the last epoch in which the woken host had the room, where another
// was known to be over it when it woke.
func (r *room) lostBy(w Wake) (old uint64, lost bool) {
	epochs := slices.SortedFunc(maps.Keys(r.owners), func(a, b uint64) int { return cmp.Compare(b, a) })
	for _, e := range epochs {
		switch o := r.owners[e]; {
		case o.first >= w.At: // later than the wake
		case o.host == w.Host:
			return e, lost
		default:
			lost = true
		}
	}
	return 0, false
}

// woken checks that no client took a message or an ack of the epoch, or an older
// one, after the wake.
func (c *checker) woken(r *room, w Wake, old uint64) {
	for _, rec := range r.records {
		var epoch uint64
		for _, e := range rec.Events {
			if e.Epoch > 0 {
				epoch = e.Epoch
			}
			if e.At > w.At && epoch <= old && epoch > 0 && (e.Kind == Message || e.Kind == Acked) {
				c.report("one writer", r.Name, rec.Client, "took a message or an ack of epoch %d, %s after %s woke, which had lost the room",
					epoch, e.At-w.At, w.Host)
				return
			}
		}
	}
}
