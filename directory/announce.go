package directory

import (
	"context"
	"time"

	"github.com/hashicorp/memberlist"
)

// Update changes what this node says of itself. Draining is told at once, load
// at most every 2 s.
func (m *Members) Update(draining bool, load Load) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if draining != m.local.Draining {
		m.local.Draining, m.local.Load = draining, load
		m.announceLocked()
		poke(m.now)
	} else if load != m.local.Load {
		m.local.Load = load
		poke(m.soon)
	}
}

const loadEvery = 2 * time.Second

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
				due = time.After(time.Until(next))
			}
			continue
		case <-m.now:
		case <-due:
			m.mu.Lock()
			m.announceLocked()
			m.mu.Unlock()
		}
		due, next = nil, time.Now().Add(loadEvery)
		if err := g.UpdateNode(time.Second); err != nil {
			m.cfg.Log.Debug().Err(err).Msg("metadata waits for gossip")
		}
	}
}
