package directory

import (
	"context"
	"math"
	"time"

	"github.com/hashicorp/memberlist"
)

// Update changes what this node says of itself. Draining is told at once, load
// at most every 2 s, and less often in clusters of more than some 30 nodes; that
// CPU and memory sway by less than 5 points of 100 is not told.
func (m *Members) Update(draining bool, load Load) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if draining != m.local.Draining {
		m.local.Draining, m.local.Load = draining, load
		m.announceLocked()
		poke(m.now)
	} else if load.tells(m.local.Load) {
		m.local.Load = load
		poke(m.soon)
	}
}

// sway is from how many points of 100 on a move of CPU or memory is told.
const sway = 5

// tells reports whether a load is worth a report after another.
func (l Load) tells(was Load) bool {
	return l.Rooms != was.Rooms || l.Members != was.Members || l.Full != was.Full ||
		distance(l.CPU, was.CPU) >= sway || distance(l.Memory, was.Memory) >= sway
}

func distance(a, b uint8) uint8 { return max(a, b) - min(a, b) }

const (
	loadEvery  = 2 * time.Second
	loadSize   = 250       // bytes of a report in gossip, about
	loadBudget = 56 * 1024 // bytes a second a node: half of what gossip can send, so that deaths don't queue behind it
)

// LoadPace is the time between a node's load reports in a cluster of n: each
// node passes each report on as often as memberlist retransmits.
func LoadPace(n int) time.Duration {
	times := gossipRetransmits * math.Ceil(math.Log10(float64(n+1)))
	return max(loadEvery, time.Duration(float64(n)*loadSize*times/loadBudget*float64(time.Second)))
}

// announce broadcasts this node's metadata when it has changed.
func (m *Members) announce(ctx context.Context, g *memberlist.Memberlist) {
	next := time.Now()
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.soon:
			if due == nil {
				due = time.After(max(1, time.Until(next))) // not at once, as in sleep
			}
			continue
		case <-m.now:
		case <-due:
			m.mu.Lock()
			m.announceLocked()
			m.mu.Unlock()
		}
		due, next = nil, time.Now().Add(LoadPace(len(m.View().Nodes)))
		// It would wait until the news was sent to several. What comes next can't.
		_ = g.UpdateNode(1)
	}
}
