package directory

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// claims stands for the store: who holds which room, and whose lease runs.
type claims struct {
	mu     sync.Mutex
	epoch  wire.Epoch
	rooms  map[wire.RoomID]claim
	ended  map[NodeID]bool
	taken  int // claims that were granted anew
	asked  int
	delays atomic.Int64 // nanoseconds
}

type claim struct {
	loc    Location
	joined int

	made     Made
	born     time.Time
	rev      uint64
	reserved map[wire.MemberID]int
}

func newClaims() *claims {
	return &claims{epoch: 1000, rooms: map[wire.RoomID]claim{}, ended: map[NodeID]bool{}}
}

func (c *claims) claim(room wire.RoomID, mode wire.Mode, floor wire.Epoch, node NodeID, addr string) (Location, error) {
	time.Sleep(time.Duration(c.delays.Load())) // a store's round trip
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	old, ok := c.rooms[room]
	switch {
	case ok && old.loc.Node != node && !c.ended[old.loc.Node]:
		return Location{}, &HeldElsewhere{Node: old.loc.Node, Epoch: old.loc.Epoch}
	case ok && mode == wire.ModeCreate:
		return Location{}, wire.Refuse(wire.CodeRoomExists, "room exists")
	case ok && old.loc.Node == node && !c.ended[node]:
		return old.loc, nil // lives here
	case !ok && mode == wire.ModeJoin:
		return Location{}, wire.Refuse(wire.CodeNoRoom, "no such room")
	}
	c.taken++
	c.epoch = max(c.epoch, floor) + 1
	loc := Location{Room: room, Node: node, Addr: addr, Epoch: c.epoch, Incarnation: wire.Incarnation(c.epoch)}
	if ok {
		loc.Incarnation = old.loc.Incarnation
	}
	c.rooms[room] = claim{loc: loc, joined: old.joined, made: old.made, born: time.Now()}
	return loc, nil
}

func (c *claims) endLease(_ context.Context, id NodeID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[id] = true
	return nil
}

func (c *claims) hasEnded(id NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended[id]
}

func (c *claims) timesAsked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *claims) counts() (rooms []int, taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rooms {
		rooms = append(rooms, r.joined)
	}
	return rooms, c.taken
}

const seats = 50

// fakeHost runs rooms in claims only.
type fakeHost struct {
	id         NodeID
	addr       string
	claims     *claims
	refuse     atomic.Pointer[wire.Error]
	refused    atomic.Int32
	superseded atomic.Pointer[Location]
}

func (h *fakeHost) Activate(_ context.Context, room wire.RoomID, mode wire.Mode, floor wire.Epoch) (Location, error) {
	if e := h.refuse.Load(); e != nil {
		h.refused.Add(1)
		return Location{}, e
	}
	return h.claims.claim(room, mode, floor, h.id, h.addr)
}

func (h *fakeHost) each(yield func(claim) bool) {
	h.claims.mu.Lock()
	var mine []claim
	for _, r := range h.claims.rooms {
		if r.loc.Node == h.id {
			mine = append(mine, r)
		}
	}
	h.claims.mu.Unlock()
	for _, r := range mine {
		if !yield(r) {
			return
		}
	}
}

func (h *fakeHost) Superseded(newer Location) { h.superseded.Store(&newer) }

func (h *fakeHost) Live(yield func(Location) bool) {
	h.each(func(r claim) bool { return yield(r.loc) })
}

// testNode is one process of a cluster: real gossip and links on loopback.
type testNode struct {
	*Members
	mesh     *link.Mesh
	coroner  *Coroner
	service  *Service // nil on gateways
	resolver *Resolver
	host     *fakeHost
	addr     string

	cutLinks func() // closes the mesh: its address refuses
	stop     func() // all of it; idempotent
}

type cluster struct {
	t      *testing.T
	claims *claims
	boots  uint64
	seeds  []string // nodes that run elsewhere
	nodes  []*testNode
	before func(*testNode) // a node runs; may be nil
}

func newCluster(t *testing.T, hosts, gateways int) *cluster {
	c := &cluster{t: t, claims: newClaims()}
	for i := range hosts {
		c.start(fmt.Sprint("h", i), RoleHost, "chat", "arena")
	}
	for i := range gateways {
		c.start(fmt.Sprint("g", i), RoleGateway)
	}
	c.agree()
	return c
}

func (c *cluster) start(name string, role Role, kinds ...string) *testNode {
	c.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	return c.startOn(ln, name, role, kinds...)
}

func (c *cluster) startOn(ln net.Listener, name string, role Role, kinds ...string) *testNode {
	c.t.Helper()
	c.boots++
	cfg := MembersConfig{
		Name: name, Boot: c.boots, Role: role, LinkAddr: ln.Addr().String(), Kinds: kinds,
		Cluster: c.t.Name(), Keys: [][]byte{[]byte("0123456789abcdef")}, Profile: ProfileLocal, Rejoin: time.Second,
		Log: zerolog.New(newTestLog(c.t)).Level(zerolog.WarnLevel), Seeds: slices.Clone(c.seeds),
	}
	for _, n := range c.nodes {
		cfg.Seeds = append(cfg.Seeds, n.Addr())
	}
	members, err := NewMembers(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &testNode{Members: members, addr: ln.Addr().String()}
	n.mesh = link.New(link.Config{Self: string(members.Self()), Cluster: cfg.Cluster, Log: cfg.Log})
	co := CoronerConfig{Members: members, Mesh: n.mesh, Log: cfg.Log}
	if role == RoleHost {
		co.EndLease = c.claims.endLease
	}
	n.coroner = NewCoroner(co)
	if role == RoleHost {
		n.host = &fakeHost{id: members.Self(), addr: n.addr, claims: c.claims}
		n.service = NewService(ServiceConfig{Members: members, Mesh: n.mesh, Host: n.host, Coroner: n.coroner, Seed: c.boots, Log: cfg.Log})
	}
	n.resolver = NewResolver(ResolverConfig{Members: members, Mesh: n.mesh, Local: n.service, Coroner: n.coroner, Log: cfg.Log})
	if c.before != nil {
		c.before(n)
	}
	c.run(n, ln)
	c.nodes = append(c.nodes, n)
	return n
}

// startMembers runs gossip alone.
func (c *cluster) startMembers(cfg MembersConfig, change ...func(*Members)) *Members {
	c.t.Helper()
	c.boots++
	cfg.Boot, cfg.Role, cfg.Profile = c.boots, RoleHost, ProfileLocal
	m, err := NewMembers(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range change {
		f(m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
	<-m.Ready()
	return m
}

func (c *cluster) run(n *testNode, ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	links, cut := context.WithCancel(ctx)
	unlinked := make(chan struct{})
	n.cutLinks = func() { cut(); <-unlinked }
	var all sync.WaitGroup
	start := func(what string, run func(context.Context) error, ctx context.Context) {
		all.Go(func() {
			if err := run(ctx); err != nil {
				c.t.Errorf("%s of %s: %v", what, n.Self(), err)
			}
		})
	}
	start("members", n.Members.Run, ctx)
	start("mesh", func(ctx context.Context) error { defer close(unlinked); return n.mesh.Run(ctx, ln) }, links)
	start("coroner", n.coroner.Run, ctx)
	if n.service != nil {
		start("service", n.service.Run, ctx)
	}
	start("resolver", n.resolver.Run, ctx)
	n.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	c.t.Cleanup(n.stop)
	<-n.Ready()
}

// agree waits until all nodes that run see each other.
func (c *cluster) agree() {
	c.t.Helper()
	c.until("all nodes see each other", func() bool {
		for _, n := range c.nodes {
			if len(n.View().Nodes) != len(c.nodes) {
				return false
			}
		}
		return true
	})
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	until(c.t, what, ok)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", d, what)
		}
	}
}

// remove takes a node out of those that agree waits for.
func (c *cluster) remove(n *testNode) {
	c.nodes = slices.DeleteFunc(c.nodes, func(x *testNode) bool { return x == n })
}

func (c *cluster) hosts() (all []*testNode) {
	for _, n := range c.nodes {
		if n.service != nil {
			all = append(all, n)
		}
	}
	return all
}

func (c *cluster) gateways() (all []*testNode) {
	for _, n := range c.nodes {
		if n.service == nil {
			all = append(all, n)
		}
	}
	return all
}

func (c *cluster) node(id NodeID) *testNode {
	for _, n := range c.nodes {
		if n.Self() == id {
			return n
		}
	}
	c.t.Fatalf("no node %s", id)
	return nil
}

// resolve is Resolve with a deadline, and fails the test on an error.
func (c *cluster) resolve(n *testNode, req Request) Location {
	c.t.Helper()
	loc, err := resolve(n, req)
	if err != nil {
		c.t.Fatalf("resolve %+v at %s: %v", req, n.Self(), err)
	}
	return loc
}

func resolve(n *testNode, req Request) (Location, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.resolver.Resolve(ctx, req)
}

// roomOn finds a room's name whose primary owner is the node.
func (c *cluster) roomOn(n *testNode, kind string) wire.RoomID {
	c.t.Helper()
	for i := range 10_000 {
		room := wire.Room(kind, fmt.Sprint("r", i))
		if n.View().Ring.Primary(room).ID == n.Self() {
			return room
		}
	}
	c.t.Fatal("no room is owned by ", n.Self())
	return ""
}

// testLog writes to the test's log until the test has ended, which memberlist's
// last probe may outlive.
type testLog struct {
	t     *testing.T
	mu    sync.Mutex
	ended bool // guarded by mu
}

func newTestLog(t *testing.T) *testLog {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true
	})
	return l
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.t.Logf("%s", p)
	}
	return len(p), nil
}
