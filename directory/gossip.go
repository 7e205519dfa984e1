package directory

import (
	"bytes"
	"context"
	"errors"
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
	left  bool // it said so itself
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
	e := &heard{id: NodeID(n.Name), addr: n.Address(), meta: slices.Clone(n.Meta), alive: alive, left: n.State == memberlist.StateLeft}
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

func (m *Members) takeMail(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.mailbox.wake:
			m.readMail()
		}
	}
}

// readMail brings the view up to what gossip said.
func (m *Members) readMail() {
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

// hearLocked takes in one event and returns the boots that it superseded.
func (m *Members) hearLocked(e *heard) []NodeID {
	if e.id == m.self { // all but the address this process knows better
		if n := *m.nodes[m.self]; n.Gossip != e.addr {
			n.Gossip = e.addr
			m.nodes[m.self], m.dirty = &n, true
		}
		return nil
	}
	id, err := ParseNodeID(string(e.id))
	if err != nil {
		m.metrics.badMeta.Inc()
		m.rare.Warn().Err(err).Str("from", e.addr).Msg("node refused: its name can't be read")
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
			if !e.left {
				m.lost.put(id, Lost{n, time.Now()})
			}
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
		if errors.Is(err, errMetaVersion) {
			m.metrics.stranger("version")
		}
		m.rare.Warn().Err(err).Str("node", string(id)).Msg("node refused: its gossip can't be read")
		return nil
	}
	old := m.nodes[id]
	if old == nil && len(m.nodes) >= maxNodes {
		m.metrics.tooMany.Inc()
		return nil
	}
	if old != nil {
		n.Reports, n.since = old.Reports+1, old.since
	} else {
		n.since = time.Now()
		if m.met.IsZero() {
			m.met = n.since
		}
		m.cfg.Log.Info().Str("node", string(id)).Stringer("role", n.Role).Str("link", n.Link).Msg("node joined the view")
	}
	m.nodes[id] = n
	m.dirty = true
	m.gone.remove(id)
	m.lost.remove(id)
	m.seeKindsLocked(n)
	return m.supersedeLocked(n, old == nil)
}

const (
	// raiseWithin is how long after it first met another node a process takes
	// another boot of its name for its predecessor, whatever the clocks say.
	raiseWithin = 2 * time.Second
	// outdoneFor is how long a boot may stand beside one with a later start.
	outdoneFor = 10 * time.Second
)

// supersedeLocked buries the earlier boots of n's name: that a process runs
// under the name proves that they are gone. Which came later is told by the
// start times that nodes announce. A newcomer with the earlier time is left
// alone for a while: it is old news that reached this process late, or its
// clock was set back, and then it raises its time (see below).
func (m *Members) supersedeLocked(n *Node, newcomer bool) (buried []NodeID) {
	if n.ID.Name() == m.cfg.Name {
		return m.meetNamesakeLocked(n)
	}
	for _, o := range m.bootsLocked(n.ID.Name()) {
		switch {
		case n.started > o.started && m.buryLocked(o.ID):
			buried = append(buried, o.ID)
		case n.started < o.started && !newcomer && m.nodes[o.ID] != nil && m.buryLocked(n.ID):
			buried = append(buried, n.ID)
		}
	}
	return buried
}

// buryOutdone buries boots that another of their name has outdone for so long
// that they would have raised their start times.
func (m *Members) buryOutdone() {
	var buried []NodeID
	m.mu.Lock()
	for id, n := range m.nodes {
		outdone := slices.ContainsFunc(m.bootsLocked(id.Name()), func(o *Node) bool {
			return o.started > n.started && m.nodes[o.ID] != nil
		})
		if outdone && id != m.self && time.Since(n.since) > outdoneFor && m.buryLocked(id) {
			buried = append(buried, id)
		}
	}
	m.mu.Unlock()
	for _, id := range buried {
		m.tellBuried(id)
	}
}

// bootsLocked are the known boots of a name, those that left the view too.
func (m *Members) bootsLocked(name string) (all []*Node) {
	for _, known := range []map[NodeID]*Node{m.nodes, m.gone.m} {
		for id, n := range known {
			if id.Name() == name {
				all = append(all, n)
			}
		}
	}
	return all
}

// meetNamesakeLocked deals with another boot of this process's own name. One
// that is met soon after the first other node is this process's predecessor.
func (m *Members) meetNamesakeLocked(n *Node) (buried []NodeID) {
	if time.Since(m.met) < raiseWithin {
		if n.started >= m.local.started {
			m.local.started = n.started + 1
			m.announceLocked()
			poke(m.now)
		}
		if m.buryLocked(n.ID) {
			buried = append(buried, n.ID)
		}
		return buried
	}
	if n.started >= m.local.started {
		m.metrics.namesakes.Inc()
		m.cfg.Log.Error().Str("node", string(n.ID)).Msg("another process has started under this node's name; give each its own")
	}
	return nil
}

// gossipLog turns memberlist's lines into log events, at most ten a second:
// most tell of single packets, and anyone can send packets.
type gossipLog struct {
	log       zerolog.Logger
	strangers func(reason string)
}

func newGossipLog(log zerolog.Logger, strangers func(reason string)) gossipLog {
	return gossipLog{sampled(log).With().Str("area", "gossip").Logger(), strangers}
}

// sampled lets ten lines a second through: anyone can send packets.
func sampled(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})
}

// strangers are the marks of lines that tell of a peer which does not belong
// here, and why.
var strangers = []struct{ mark, reason string }{
	{"unacceptable label", "label"},
	{"label header", "label"},
	{"no installed keys could decrypt", "key"},
	{"Decrypt packet failed", "key"},
	{"not encrypted", "key"},
	{"protocol version", "version"},
	{"protocol or delegate", "version"},
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
	for _, s := range strangers {
		if bytes.Contains(text, []byte(s.mark)) {
			g.strangers(s.reason)
			g.log.Warn().Str("reason", s.reason).Bytes("text", text).Msg("peer refused: not of this cluster")
			return len(line), nil
		}
	}
	g.log.WithLevel(level).Bytes("text", text).Msg("gossip")
	return len(line), nil
}
