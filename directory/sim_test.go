package directory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// A simulation is a cluster of directory nodes in one synctest bubble: real
// gossip, links and directory, a network and a store in memory, and clients
// that look rooms up. Faults come from a seed; what must hold is checked all
// the time, and that everything is well again after each lull.
type simulation struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand // of the schedule; owned by the one who runs it
	net   *simNet
	store *simStore
	rooms int

	mu      sync.Mutex
	nodes   []*simNode // that run; guarded by mu, as all below
	ever    []*simNode
	boots   uint64
	history []string
	failed  bool
	most    int // nodes
	lookups int
	answers int
	slowest time.Duration
	healed  time.Duration // the longest way to one membership
	mended  time.Duration // and from there to right entries
	spare   int           // the next IP
}

// simNode is one process.
type simNode struct {
	*Members
	name     string
	role     Role
	proc     *simProc
	mesh     *link.Mesh
	coroner  *Coroner
	service  *Service
	resolver *Resolver
	host     *simHost
	stop     context.CancelFunc // a word to the others first
	ended    chan struct{}
	died     time.Time // zero while it runs
}

// Bounds on what a simulation waits for.
const (
	simLookupWithin = 5 * time.Second
	simHealWithin   = 15 * time.Second // to one membership, after the last fault
	simSettleWithin = 60 * time.Second // to right entries everywhere: an anti-entropy round
)

func newSimulation(t *testing.T, seed uint64, rooms int) *simulation {
	s := &simulation{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), rooms: rooms, most: 5}
	s.net = newSimNet(rand.New(rand.NewPCG(seed, 2)))
	s.store = newSimStore(s.net, s.violation, s.lives)
	return s
}

func (s *simulation) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	if len(s.history) > 60 {
		s.history = s.history[1:]
	}
}

// violation fails the test and tells what led to it.
func (s *simulation) violation(format string, args ...any) {
	s.note("VIOLATION: "+format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return
	}
	s.failed = true
	s.t.Errorf("seed %d: %s\nwhat happened:\n%s", s.seed, fmt.Sprintf(format, args...), strings.Join(s.history, "\n"))
}

func (s *simulation) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *simulation) lives(id NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.nodes, func(n *simNode) bool { return n.Self() == id })
}

func (s *simulation) running() []*simNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.nodes)
}

func (s *simulation) hosts() []*simNode {
	return slices.DeleteFunc(s.running(), func(n *simNode) bool { return n.role != RoleHost })
}

func (s *simulation) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare++
	return simIP(s.spare)
}

// start runs a process at an address. clock is how far its clock is off.
func (s *simulation) start(name string, role Role, ip string, clock time.Duration) *simNode {
	s.mu.Lock()
	s.boots++
	boot := s.boots
	s.mu.Unlock()
	p := s.net.process(ip)
	n := &simNode{name: name, role: role, proc: p, ended: make(chan struct{})}
	m, err := NewMembers(MembersConfig{
		Name: name, Boot: boot, Role: role, Kinds: []string{"chat"}, LinkAddr: net.JoinHostPort(ip, simLinks),
		Seeds:     []string{net.JoinHostPort(simIP(1), simGossip), net.JoinHostPort(simIP(2), simGossip)},
		Transport: p, Log: zerolog.Nop(), partitions: 256, clock: func() time.Time { return time.Now().Add(clock) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	n.Members = m
	n.mesh = link.New(link.Config{Self: string(m.Self()), Dial: p.dial})
	co := CoronerConfig{Members: m, Mesh: n.mesh}
	if role == RoleHost {
		co.EndLease = func(ctx context.Context, id NodeID) error { return s.store.end(ctx, ip, id) }
	}
	n.coroner = NewCoroner(co)
	if role == RoleHost {
		n.host = newSimHost(m.Self(), p, s.store)
		n.service = NewService(ServiceConfig{Members: m, Mesh: n.mesh, Host: n.host, Coroner: n.coroner, Seed: boot})
		n.host.service = n.service
	}
	n.resolver = NewResolver(ResolverConfig{Members: m, Mesh: n.mesh, Local: n.service, Coroner: n.coroner})
	m.OnBury(func(id NodeID) {
		if s.lives(id) {
			s.violation("%s buried %s, which lives", m.Self(), id)
		}
	})
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.ever = append(s.ever, n)
	s.mu.Unlock()
	s.run(n)
	s.note("start %s at %s, clock %s", m.Self(), ip, clock)
	return n
}

func (s *simulation) run(n *simNode) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	var all sync.WaitGroup
	part := func(run func(context.Context) error) {
		all.Go(func() {
			if err := run(ctx); err != nil {
				s.violation("%s: %v", n.Self(), err)
			}
		})
	}
	part(n.Members.Run)
	part(func(ctx context.Context) error { return n.mesh.Run(ctx, n.proc.listen()) })
	part(n.coroner.Run)
	if n.service != nil {
		part(n.service.Run)
		part(func(ctx context.Context) error { n.host.run(ctx); return nil })
	}
	part(n.resolver.Run)
	part(func(ctx context.Context) error { s.client(ctx, n); return nil })
	go func() { all.Wait(); n.proc.kill(false); close(n.ended) }()
	<-n.Ready()
}

// remove takes a node out of those that run.
func (s *simulation) remove(n *simNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.died = time.Now()
	s.nodes = slices.DeleteFunc(s.nodes, func(x *simNode) bool { return x == n })
}

// kill ends a process without a word; with its machine, nothing answers there.
func (s *simulation) kill(n *simNode, machine bool) {
	s.note("kill %s, with its machine: %v", n.Self(), machine)
	s.remove(n)
	if machine {
		s.net.set(func() { s.net.paused[n.proc.ip] = true })
	}
	n.proc.kill(machine)
	n.host.die()
	n.stop()
}

// leave ends a process that is told to.
func (s *simulation) leave(n *simNode) {
	s.note("%s leaves", n.Self())
	s.remove(n)
	n.stop()
	<-n.ended
	if n.host != nil {
		s.store.mu.Lock()
		for h := range s.store.leases {
			if strings.HasPrefix(h, string(n.Self())) {
				delete(s.store.leases, h)
			}
		}
		s.store.mu.Unlock()
	}
}

// end stops everything and lets what is left run out.
func (s *simulation) end() {
	for _, n := range s.running() {
		s.remove(n)
		n.stop()
	}
	s.net.set(func() { s.net.cut, s.net.loss, s.net.delay = nil, 0, 0; clear(s.net.paused) })
	s.mu.Lock()
	ever := s.ever
	s.mu.Unlock()
	for _, n := range ever {
		<-n.ended
	}
	time.Sleep(time.Minute) // memberlist's last probes and dials
}

// client looks rooms up at a node, as gateways and hosts do, and holds the
// answers against what it knew: epochs only rise.
func (s *simulation) client(ctx context.Context, n *simNode) {
	s.mu.Lock()
	r := rand.New(rand.NewPCG(s.seed, s.boots+100))
	s.mu.Unlock()
	known := map[wire.RoomID]Location{}
	if s.rooms == 0 {
		return
	}
	for sleep(ctx, time.Duration(1+r.IntN(4000))*time.Millisecond) {
		room := wire.Room("chat", fmt.Sprint(r.IntN(s.rooms)))
		req := Request{Room: room, Mode: wire.ModeJoinOrCreate}
		if last, ok := known[room]; ok && r.IntN(2) == 0 {
			req.After = last.Epoch - 1 // a member's: not below where it was
			if r.IntN(8) == 0 {
				req.Not = last.Node
			}
		}
		loc, ok := s.look(ctx, n, req)
		if !ok {
			continue
		}
		if last := known[room]; req.After > 0 && loc.Epoch < last.Epoch {
			s.violation("%s was answered epoch %d of %s after %d", n.Self(), loc.Epoch, room, last.Epoch)
		}
		if loc.Epoch >= known[room].Epoch {
			known[room] = loc
		}
		if !s.attach(n, loc) {
			n.resolver.Forget(room, loc.Epoch)
		}
	}
}

func (s *simulation) look(ctx context.Context, n *simNode, req Request) (Location, bool) {
	ctx, cancel := context.WithTimeout(ctx, simLookupWithin)
	defer cancel()
	start := time.Now()
	loc, err := n.resolver.Resolve(ctx, req)
	took := time.Since(start)
	s.mu.Lock()
	s.lookups++
	if err == nil {
		s.answers++
		s.slowest = max(s.slowest, took)
	}
	s.mu.Unlock()
	var e *wire.Error
	switch {
	case took > simLookupWithin+time.Second:
		s.violation("a lookup at %s took %s: %v", n.Self(), took, err)
	case err == nil && (loc.Epoch <= req.After || loc.Room != req.Room):
		s.violation("%s asked %+v and was answered %+v", n.Self(), req, loc)
	case err != nil && !errors.As(err, &e):
		s.violation("a lookup at %s: %v is no answer", n.Self(), err)
	case e != nil && (e.Code == wire.CodeBadRequest):
		s.violation("a lookup at %s: %v", n.Self(), err)
	}
	return loc, err == nil
}

// attach asks a room's host whether it has that copy, as a gateway does by
// attaching a member.
func (s *simulation) attach(n *simNode, loc Location) bool {
	if !n.mesh.Up(string(loc.Node)) && loc.Node != n.Self() {
		return false
	}
	for _, h := range s.hosts() {
		if h.Self() == loc.Node {
			h.host.mu.Lock()
			defer h.host.mu.Unlock()
			return h.host.live[loc.Room].loc.Epoch == loc.Epoch
		}
	}
	return false
}

// heal ends all faults and waits until the cluster is as it should be.
func (s *simulation) heal() {
	s.note("heal")
	s.net.set(func() { s.net.cut, s.net.loss, s.net.delay = nil, 0, 0 })
	s.net.set(func() {
		for ip := range s.net.paused {
			if slices.ContainsFunc(s.running(), func(n *simNode) bool { return n.proc.ip == ip }) {
				delete(s.net.paused, ip)
			}
		}
	})
	took, last := s.await(simHealWithin, s.oneMembership)
	if s.healed = max(s.healed, took); last != "" {
		s.violation("no single membership %s after the last fault: %s", took, last)
		return
	}
	took, last = s.await(simSettleWithin, s.settled)
	if s.mended = max(s.mended, took); last != "" {
		s.violation("not settled %s after the last fault: %s", took, last)
	}
}

func (s *simulation) await(within time.Duration, wrong func() string) (time.Duration, string) {
	start := time.Now()
	for {
		last := wrong()
		if took := time.Since(start); last == "" || took > within || s.over() {
			return took, last
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// oneMembership says what of the views is wrong: each has exactly the
// processes that run.
func (s *simulation) oneMembership() string {
	nodes := s.running()
	for _, n := range nodes {
		v := n.View()
		for _, o := range nodes {
			if v.Node(o.Self()) == nil {
				return fmt.Sprintf("%s does not see %s", n.Self(), o.Self())
			}
		}
		for _, o := range v.Nodes {
			if !s.lives(o.ID) {
				return fmt.Sprintf("%s sees %s, which is gone", n.Self(), o.ID)
			}
		}
	}
	return ""
}

// settled says what of rooms, copies and entries is wrong: each room has at
// most one copy, the store's, and its owners know it; no entry or cached place
// names a process that is gone.
func (s *simulation) settled() string {
	copies := map[wire.RoomID]Location{}
	for _, h := range s.hosts() {
		for _, c := range h.host.copies() {
			if other, ok := copies[c.loc.Room]; ok {
				return fmt.Sprintf("%s has two copies: %+v and %+v", c.loc.Room, other, c.loc)
			}
			copies[c.loc.Room] = c.loc
			if at, _ := s.store.truth(c.loc.Room); at != c.loc {
				return fmt.Sprintf("copy %+v, the store says %+v", c.loc, at)
			}
		}
	}
	for _, n := range s.hosts() {
		for room, loc := range copies {
			if !n.View().Ring.owns(PartitionOf(room), n.Self()) {
				continue
			}
			if got, ok := n.service.table.get(room); !ok || got != loc {
				return fmt.Sprintf("owner %s has %+v for %+v", n.Self(), got, loc)
			}
		}
	}
	for _, n := range s.hosts() {
		if bad := n.service.strays(s.lives); bad != "" {
			return fmt.Sprintf("%s: %s", n.Self(), bad)
		}
	}
	return ""
}

// strays is an entry of a process that is gone, "" where there is none.
func (s *Service) strays(lives func(NodeID) bool) string {
	s.table.mu.RLock()
	defer s.table.mu.RUnlock()
	for room, e := range s.table.m {
		loc := e.location(room)
		if !lives(loc.Node) {
			return fmt.Sprintf("entry %+v names a process that is gone", loc)
		}
	}
	return ""
}

// die is what a killed process does with its rooms.
func (h *simHost) die() {
	if h != nil {
		h.end()
	}
}
