package host

import (
	"errors"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// maxTenures is how many copies of rooms a host remembers; the oldest goes.
const maxTenures = 8192

// Tenure is the time for which one copy of a room lived on this host.
type Tenure struct {
	Room        wire.RoomID      `json:"room"`
	Host        string           `json:"host"`
	Epoch       wire.Epoch       `json:"epoch"`
	Incarnation wire.Incarnation `json:"incarnation"`
	Began       time.Time        `json:"began"`
	How         string           `json:"how"`            // created, restored, moved, reclaimed
	Age         float64          `json:"age,omitempty"`  // restored: seconds that the checkpoint was old
	Ended       time.Time        `json:"ended,omitzero"` // zero: it lives
	Why         string           `json:"why,omitempty"`  // it ended, as in limpet_room_endings_total
}

func newTenure(r *room, from copyOf) *Tenure {
	t := &Tenure{Room: r.id, Host: r.host.cfg.Node.Name(), Epoch: r.claim.Epoch, Incarnation: r.claim.Incarnation, Began: r.began, How: "created"}
	if from.body != nil || len(from.journal.Entries) > 0 {
		t.How, t.Age = "restored", from.age.Seconds()
	}
	return t
}

// chronicle remembers which rooms lived here, and when.
type chronicle struct {
	mu   sync.Mutex
	ring []*Tenure // guarded by mu
	next int       // where the next one goes when full; guarded by mu
}

func (c *chronicle) add(t *Tenure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ring) < maxTenures {
		c.ring = append(c.ring, t)
		return
	}
	c.ring[c.next] = t
	c.next = (c.next + 1) % maxTenures
}

func (c *chronicle) end(t *Tenure, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Ended, t.Why = time.Now(), endReason(why)
}

// of are the tenures of one room.
func (c *chronicle) of(id wire.RoomID) []Tenure {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := []Tenure{}
	for _, t := range c.ring {
		if t.Room == id {
			found = append(found, *t)
		}
	}
	return found
}

// endReason names why a copy is over.
func endReason(why error) string {
	switch why.(type) {
	case *failure:
		return "failed"
	case *succession:
		return "reclaimed"
	case *over:
		return "closed"
	}
	switch {
	case errors.Is(why, errIdle):
		return "idle"
	case errors.Is(why, errShutdown):
		return "shutdown"
	case errors.Is(why, errMoved):
		return "moved"
	case errors.Is(why, errHanded), errors.Is(why, errLeft):
		return "restart"
	}
	return "fenced"
}
