package directory

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

// Bounds of what Members remembers. The oldest goes first.
const (
	maxNodes  = 4096 // live nodes; more are not let into the view
	maxBuried = 4096
	maxGone   = 256
	maxSeen   = 1024 // kinds
)

// Members keeps the view of who seems alive. What it says is a hint: a node in
// the view may be gone, and one that is not may live.
type Members struct {
	// Static.
	cfg     MembersConfig
	self    NodeID
	metrics memberMetrics
	ready   chan struct{}
	onBury  []func(NodeID)
	rare    zerolog.Logger      // for what strangers can cause
	keys    *memberlist.Keyring // nil: gossip is in the clear

	view    atomic.Pointer[View]
	meta    atomic.Pointer[[]byte]                // what gossip says of this node
	gossip  atomic.Pointer[memberlist.Memberlist] // nil before Run
	mailbox *mailbox
	soon    chan struct{} // capacity 1: the load changed
	now     chan struct{} // capacity 1: draining or the start time changed
	doubt   chan struct{} // capacity 1: there is a new doubt
	lingers atomic.Bool

	mu      sync.Mutex
	nodes   map[NodeID]*Node      // guarded by mu, as all below
	local   Node                  // this node as it should be announced
	buried  recent[NodeID, *Node] // nil: never seen
	gone    recent[NodeID, *Node] // left the view and not buried
	lost    recent[NodeID, Lost]  // of those, who did not say that they go
	doubted recent[NodeID, time.Time]
	kinds   map[string]bool // copied on write: views share it
	changed chan struct{}
	dirty   bool      // nodes is newer than the view
	met     time.Time // when this process first saw another
}

// NewMembers checks cfg and makes a view of this process alone.
func NewMembers(cfg MembersConfig) (*Members, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Members{
		cfg: cfg, self: MakeNodeID(cfg.Name, cfg.Boot),
		ready: make(chan struct{}), soon: make(chan struct{}, 1), now: make(chan struct{}, 1), doubt: make(chan struct{}, 1),
		mailbox: newMailbox(),
		nodes:   map[NodeID]*Node{},
		buried:  newRecent[NodeID, *Node](maxBuried),
		gone:    newRecent[NodeID, *Node](maxGone),
		lost:    newRecent[NodeID, Lost](maxGone),
		doubted: newRecent[NodeID, time.Time](maxGone),
		changed: make(chan struct{}),
	}
	m.rare = sampled(cfg.Log)
	if len(cfg.Keys) > 0 {
		var err error
		if m.keys, err = memberlist.NewKeyring(cfg.Keys, cfg.Keys[0]); err != nil {
			return nil, fmt.Errorf("gossip keys: %w", err)
		}
	}
	m.local = Node{
		ID: m.self, Role: cfg.Role, Link: cfg.LinkAddr, Ops: cfg.OpsAddr,
		Kinds: cfg.Kinds, Build: cfg.Build, Placements: cfg.Placements, Labels: cfg.Labels, started: uint64(cfg.clock().UnixMilli()),
	}
	if err := checkMeta(&m.local); err != nil {
		return nil, err
	}
	m.metrics = newMemberMetrics(cfg.Metrics, m)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announceLocked()
	return m, nil
}

// Self is this process.
func (m *Members) Self() NodeID { return m.self }

// View is the newest view.
func (m *Members) View() *View { return m.view.Load() }

// Changed is closed when the view is replaced. Take it before the View that it
// is to be newer than.
func (m *Members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Ready is closed when Run has bound its gossip address.
func (m *Members) Ready() <-chan struct{} { return m.ready }

// Addr is this node's gossip address, "" before Ready.
func (m *Members) Addr() string { return m.View().Node(m.self).Gossip }

// OnBury registers a function that is called once for every node that is
// buried, after it has left the view, on the goroutine that buries. Register
// before Run.
func (m *Members) OnBury(f func(NodeID)) { m.onBury = append(m.onBury, f) }

// Find is a node of the view, or one that left it lately: a node that gossip
// has lost may still answer.
func (m *Members) Find(id NodeID) *Node {
	if n := m.View().Node(id); n != nil {
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, _ := m.gone.get(id)
	return n
}

// Lost is a node that gossip no longer hears, and of which nobody knows that its
// process is gone: it hangs, or cannot be reached.
type Lost struct {
	*Node
	Since time.Time // it left the view
}

// lostFor is how long such a node is told of.
const lostFor = 10 * time.Minute

// Lost are those of the last ten minutes, the longest lost first.
func (m *Members) Lost() (all []Lost) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.lost.order {
		if l := m.lost.m[id]; time.Since(l.Since) < lostFor {
			all = append(all, l)
		}
	}
	return all
}

// record is what was last known of a node, dead or alive; nil if nothing is.
func (m *Members) record(id NodeID) *Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recordLocked(id)
}

func (m *Members) recordLocked(id NodeID) *Node {
	if n := m.nodes[id]; n != nil {
		return n
	}
	if n, ok := m.gone.get(id); ok {
		return n
	}
	n, _ := m.buried.get(id)
	return n
}

// Buried reports whether the node is known to be gone for good.
func (m *Members) Buried(id NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.buried.get(id)
	return ok
}

// Bury removes a node from the view at once and for ever: its process is known
// to be gone. Burying this process itself does nothing but say so in the log.
func (m *Members) Bury(id NodeID) {
	if id == m.self {
		m.metrics.selfBuried.Inc()
		m.cfg.Log.Error().Msg("another node says that this process is gone; " +
			"its link address refused connections or runs another process")
		return
	}
	m.mu.Lock()
	fresh := m.buryLocked(id)
	m.mu.Unlock()
	if fresh {
		m.tellBuried(id)
	}
}

func (m *Members) buryLocked(id NodeID) (fresh bool) {
	if _, old := m.buried.get(id); old {
		return false
	}
	m.buried.put(id, m.recordLocked(id))
	m.gone.remove(id)
	m.lost.remove(id)
	m.metrics.buried.Inc()
	if _, ok := m.nodes[id]; ok {
		delete(m.nodes, id)
		m.publishLocked()
	}
	return true
}

func (m *Members) tellBuried(id NodeID) {
	m.cfg.Log.Info().Str("node", string(id)).Msg("node buried")
	for _, f := range m.onBury {
		f(id)
	}
}

// announceLocked makes gossip and the view say what local says.
func (m *Members) announceLocked() {
	n := m.local
	if old := m.nodes[m.self]; old != nil {
		n.Gossip, n.Reports = old.Gossip, old.Reports+1
	}
	meta := appendMeta(nil, &n)
	m.meta.Store(&meta)
	m.nodes[m.self] = &n
	m.seeKindsLocked(&n)
	m.publishLocked()
}

// publishLocked replaces the view by one made from nodes.
func (m *Members) publishLocked() {
	old := m.view.Load()
	m.view.Store(newView(old, m.cfg.partitions, m.nodes, m.kinds, time.Now()))
	m.dirty = false
	close(m.changed)
	m.changed = make(chan struct{})
	m.metrics.changes.Inc()
}

func (m *Members) seeKindsLocked(n *Node) {
	fresh := slices.DeleteFunc(slices.Clone(n.Kinds), func(k string) bool { return m.kinds[k] })
	if n.Role != RoleHost || len(fresh) == 0 || len(m.kinds)+len(fresh) > maxSeen {
		return
	}
	next := maps.Clone(m.kinds)
	if next == nil {
		next = map[string]bool{}
	}
	for _, k := range fresh {
		next[k] = true
	}
	m.kinds = next
}

// Linger has the end of Run not be told: others are to expect this node back.
func (m *Members) Linger() { m.lingers.Store(true) }

// Run gossips until ctx is done, then leaves the cluster. It returns an error
// if the gossip address can't be bound.
func (m *Members) Run(ctx context.Context) error {
	cfg := m.cfg.gossip(m.self)
	cfg.Keyring, cfg.LogOutput = m.keys, newGossipLog(m.cfg.Log, m.metrics.stranger)
	cfg.Delegate, cfg.Events = delegate{m}, delegate{m}
	g, err := memberlist.Create(cfg)
	if err != nil {
		return fmt.Errorf("gossip on %s: %w", net.JoinHostPort(m.cfg.BindAddr, strconv.Itoa(m.cfg.BindPort)), err)
	}
	m.bound(g)
	var loops sync.WaitGroup
	loops.Go(func() { m.takeMail(ctx) })
	loops.Go(func() { m.announce(ctx, g) })
	loops.Go(func() { m.rejoin(ctx, g) })
	<-ctx.Done()
	if !m.lingers.Load() {
		if err := g.Leave(500 * time.Millisecond); err != nil {
			m.cfg.Log.Debug().Err(err).Msg("leave told to nobody")
		}
	}
	err = g.Shutdown()
	loops.Wait()
	if err != nil {
		return fmt.Errorf("shut gossip: %w", err)
	}
	return nil
}

// bound takes in this node's own address, which Create has put in the mailbox.
func (m *Members) bound(g *memberlist.Memberlist) {
	m.gossip.Store(g)
	m.readMail()
	close(m.ready)
	m.cfg.Log.Info().Str("node", string(m.self)).Str("gossip", m.Addr()).Msg("gossip runs")
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
