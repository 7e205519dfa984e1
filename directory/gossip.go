package directory

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

// delegate is what memberlist calls. It calls under its own locks, so nothing
// here blocks or calls back: nodes are copied into the mailbox.
type delegate struct{ m *Members }

func (d delegate) NodeMeta(int) []byte             { return *d.m.meta.Load() }
func (d delegate) NotifyMsg([]byte)                {}
func (d delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (d delegate) LocalState(bool) []byte          { return nil }
func (d delegate) MergeRemoteState([]byte, bool)   {}
func (d delegate) NotifyJoin(n *memberlist.Node)   { d.m.mailbox.put(n, true) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.m.mailbox.put(n, true) }
func (d delegate) NotifyLeave(n *memberlist.Node)  { d.m.mailbox.put(n, false) }

// heard is the newest that gossip said of one node.
type heard struct {
	id    NodeID
	addr  string
	meta  []byte
	alive bool
}

// mailbox holds the newest event of each node: its size is bounded by the
// nodes that memberlist knows.
type mailbox struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	events map[NodeID]*heard // guarded by mu
	order  []NodeID          // of events, oldest first; guarded by mu
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), events: map[NodeID]*heard{}}
}

func (b *mailbox) put(n *memberlist.Node, alive bool) {
	e := &heard{id: NodeID(n.Name), addr: n.Address(), meta: slices.Clone(n.Meta), alive: alive}
	b.mu.Lock()
	if b.events[e.id] == nil {
		b.order = append(b.order, e.id)
	}
	b.events[e.id] = e
	b.mu.Unlock()
	poke(b.wake)
}

func (b *mailbox) take() []*heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*heard
	for _, id := range b.order {
		all = append(all, b.events[id])
	}
	clear(b.events)
	b.order = nil
	return all
}

// takeMail brings the view up to what gossip said.
func (m *Members) takeMail(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.mailbox.wake:
		}
		var buried []NodeID
		m.mu.Lock()
		for _, e := range m.mailbox.take() {
			buried = append(buried, m.hearLocked(e)...)
		}
		if m.dirty {
			m.publishLocked()
		}
		m.mu.Unlock()
		for _, id := range buried {
			m.tellBuried(id)
		}
	}
}

// hearLocked takes in one event and returns the boots that it superseded.
func (m *Members) hearLocked(e *heard) []NodeID {
	if e.id == m.self {
		return nil // this process knows itself better
	}
	id, err := ParseNodeID(string(e.id))
	if err != nil {
		m.metrics.badMeta.Inc()
		m.cfg.Log.Warn().Err(err).Str("from", e.addr).Msg("gossip of a node ignored")
		return nil
	}
	if _, ok := m.buried.get(id); ok {
		return nil
	}
	if !e.alive {
		if n := m.nodes[id]; n != nil {
			delete(m.nodes, id)
			m.dirty = true
			m.gone.put(id, n)
			m.cfg.Log.Info().Str("node", string(id)).Msg("node left the view")
		}
		return nil
	}
	return m.aliveLocked(id, e)
}

func (m *Members) aliveLocked(id NodeID, e *heard) []NodeID {
	n := &Node{ID: id, Gossip: e.addr}
	if err := decodeMeta(e.meta, n); err != nil {
		m.metrics.badMeta.Inc()
		m.cfg.Log.Warn().Err(err).Str("node", string(id)).Msg("gossip of a node ignored")
		return nil
	}
	old := m.nodes[id]
	if old == nil && len(m.nodes) >= maxNodes {
		m.metrics.tooMany.Inc()
		return nil
	}
	if old != nil {
		n.reports = old.reports + 1
	} else {
		m.cfg.Log.Info().Str("node", string(id)).Stringer("role", n.Role).Str("link", n.Link).Msg("node joined the view")
	}
	m.nodes[id] = n
	m.dirty = true
	m.gone.remove(id)
	m.seeKindsLocked(n)
	return m.supersedeLocked(n, old == nil)
}

// raiseWithin is how long after its start a node still believes that another
// boot of its name with a later start is its predecessor under a clock that
// has been set back.
const raiseWithin = 10 * time.Second

// supersedeLocked buries the earlier boots of n's name: that a process runs
// under the name proves that they are gone. Which came later is told by the
// start times that nodes announce. A newcomer with the earlier time is left
// alone: it is old news that reached this process late, or its clock was set
// back, and then it raises its time (see below).
func (m *Members) supersedeLocked(n *Node, newcomer bool) (buried []NodeID) {
	name := n.ID.Name()
	if name == m.cfg.Name {
		m.meetNamesakeLocked(n)
		return nil
	}
	for id, o := range m.nodes {
		if id == n.ID || id.Name() != name {
			continue
		}
		switch {
		case n.started > o.started && m.buryLocked(id):
			buried = append(buried, id)
		case n.started < o.started && !newcomer && m.buryLocked(n.ID):
			buried = append(buried, n.ID)
		}
	}
	return buried
}

// meetNamesakeLocked deals with another boot of this process's own name.
func (m *Members) meetNamesakeLocked(n *Node) {
	if n.started < m.local.started {
		return // the predecessor: the others bury it, and so does its death
	}
	if time.Since(m.born) < raiseWithin {
		m.local.started = n.started + 1
		m.announceLocked()
		poke(m.now)
		return
	}
	m.metrics.namesakes.Inc()
	m.cfg.Log.Error().Str("node", string(n.ID)).Msg("another process has started under this node's name; give each its own")
}

// gossipLog turns memberlist's lines into log events, at most ten a second:
// most tell of single packets, and anyone can send packets.
type gossipLog struct{ log zerolog.Logger }

func newGossipLog(log zerolog.Logger) gossipLog {
	return gossipLog{log.With().Str("area", "gossip").Logger().
		Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})}
}

// Its errors are a peer's failures, not this process's. Its information is
// what Members logs itself.
var gossipLevels = []struct {
	mark  []byte
	level zerolog.Level
}{
	{[]byte("[DEBUG]"), zerolog.DebugLevel},
	{[]byte("[INFO]"), zerolog.DebugLevel},
	{[]byte("[WARN]"), zerolog.WarnLevel},
	{[]byte("[ERR]"), zerolog.WarnLevel},
}

// Write takes one line, as "date time [LEVEL] memberlist: text".
func (g gossipLog) Write(line []byte) (int, error) {
	level, text := zerolog.InfoLevel, line
	for _, l := range gossipLevels {
		if i := bytes.Index(line, l.mark); i >= 0 {
			level, text = l.level, line[i+len(l.mark):]
			break
		}
	}
	text = bytes.TrimPrefix(bytes.TrimSpace(text), []byte("memberlist: "))
	g.log.WithLevel(level).Bytes("text", text).Msg("gossip")
	return len(line), nil
}
