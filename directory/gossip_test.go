package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

// network is gossip's network in memory. Ends that are cut off from each other
// lose packets and can't connect.
type network struct {
	mu   sync.Mutex
	ends map[string]*end
	cut  func(a, b string) bool // nil: whole
}

// end is one node's transport.
type end struct {
	net     *network
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
}

func newNetwork() *network { return &network{ends: map[string]*end{}} }

func (n *network) end(i int) *end {
	e := &end{net: n, addr: fmt.Sprintf("10.0.0.%d:7946", i), packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 64)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[e.addr] = e
	return e
}

// settle lets memberlist's last probes and dials time out: a bubble's clock
// stops with its test.
func (n *network) settle() { time.Sleep(time.Minute) }

// split cuts the network; nil heals it.
func (n *network) split(cut func(a, b string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

func (n *network) reach(from, to string) *end {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut != nil && n.cut(from, to) {
		return nil
	}
	return n.ends[to]
}

func (e *end) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, _, _ := net.SplitHostPort(e.addr)
	return net.ParseIP(host), 7946, nil
}

func (e *end) WriteTo(b []byte, addr string) (time.Time, error) {
	if to := e.net.reach(e.addr, addr); to != nil {
		from, _ := net.ResolveUDPAddr("udp", e.addr)
		select {
		case to.packets <- &memberlist.Packet{Buf: slices.Clone(b), From: from, Timestamp: time.Now()}:
		default: // lost, as packets may be
		}
	}
	return time.Now(), nil
}

func (e *end) PacketCh() <-chan *memberlist.Packet { return e.packets }
func (e *end) StreamCh() <-chan net.Conn           { return e.streams }

func (e *end) DialTimeout(addr string, d time.Duration) (net.Conn, error) {
	to := e.net.reach(e.addr, addr)
	if to == nil {
		time.Sleep(d)
		return nil, errors.New("no route")
	}
	here, there := net.Pipe()
	select {
	case to.streams <- there:
		return here, nil
	default:
		return nil, errors.New("backlog is full")
	}
}

func (e *end) Shutdown() error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	delete(e.net.ends, e.addr)
	return nil
}

// gossiper starts a node on the network and returns what stops it.
func gossiper(t *testing.T, n *network, i int, name string, boot uint64, log zerolog.Logger) (*Members, context.CancelFunc) {
	t.Helper()
	m, err := NewMembers(MembersConfig{
		Name: name, Boot: boot, Role: RoleHost, Kinds: []string{"chat"}, LinkAddr: fmt.Sprintf("10.0.0.%d:1", i),
		Seeds: []string{"10.0.0.1:7946", "10.0.0.99:7946"}, Transport: n.end(i), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	<-m.Ready()
	return m, func() { cancel(); <-done }
}

// waitFor lets virtual time pass until ok, and returns how much did.
func waitFor(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

func sees(m *Members, n int) bool { return len(m.View().Nodes) == n }

func all(ms []*Members, ok func(*Members) bool) func() bool {
	return func() bool { return !slices.ContainsFunc(ms, func(m *Members) bool { return !ok(m) }) }
}

func TestSplitHeals(t *testing.T) {
	for _, long := range []time.Duration{10 * time.Second, 2 * time.Minute} {
		t.Run(long.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				defer n.settle()
				var ms []*Members
				for i := 1; i <= 6; i++ {
					m, stop := gossiper(t, n, i, fmt.Sprint("h", i), uint64(i), zerolog.Nop())
					defer stop()
					ms = append(ms, m)
				}
				t.Logf("all see all after %s", waitFor(t, time.Minute, "all see all", all(ms, func(m *Members) bool { return sees(m, 6) })))
				left := func(addr string) bool { return addr < "10.0.0.4" }
				n.split(func(a, b string) bool { return left(a) != left(b) })
				took := waitFor(t, 10*time.Second, "each side sees itself", all(ms, func(m *Members) bool { return sees(m, 3) }))
				t.Logf("the split was seen after %s", took)
				time.Sleep(long)
				n.split(nil)
				took = waitFor(t, 15*time.Second, "all see all again", all(ms, func(m *Members) bool { return sees(m, 6) }))
				t.Logf("healed after %s", took)
				for _, m := range ms {
					if !slices.Equal(m.View().Ring.owners, ms[0].View().Ring.owners) {
						t.Error("rings differ after the split")
					}
				}
			})
		})
	}
}

// A process dies without a word and its successor starts under the same name
// elsewhere: the boot before is buried as soon as the new one is seen, and
// never comes back, also for a node that hears of both at once.
func TestSuccessorBuriesItsPredecessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer n.settle()
		a, stopA := gossiper(t, n, 1, "a", 1, zerolog.Nop())
		defer stopA()
		old, stopOld := gossiper(t, n, 2, "b", 2, zerolog.Nop())
		defer stopOld()
		waitFor(t, 10*time.Second, "a sees b", func() bool { return sees(a, 2) })
		time.Sleep(raiseWithin)
		n.split(func(x, y string) bool { return x == "10.0.0.2:7946" || y == "10.0.0.2:7946" })
		fresh, stopFresh := gossiper(t, n, 3, "b", 3, zerolog.Nop())
		defer stopFresh()
		took := waitFor(t, 10*time.Second, "a buries the boot before", func() bool { return a.Buried(old.Self()) })
		t.Logf("buried after %s", took)
		third, stopThird := gossiper(t, n, 4, "c", 4, zerolog.Nop())
		defer stopThird()
		waitFor(t, 30*time.Second, "a newcomer sees the new boot alone", func() bool {
			return third.View().Node(fresh.Self()) != nil && third.View().Node(old.Self()) == nil && sees(third, 3)
		})
		n.split(nil)
		time.Sleep(30 * time.Second)
		for _, m := range []*Members{a, third} {
			if m.View().Node(old.Self()) != nil || m.View().Node(fresh.Self()) == nil {
				t.Errorf("%s sees %d nodes, the buried one among them", m.Self(), len(m.View().Nodes))
			}
		}
	})
}

// The clock was set back between two boots: the new one outdoes the old one's
// start time and is not buried in its stead.
func TestSuccessorWithAnEarlierClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer n.settle()
		a, stopA := gossiper(t, n, 1, "a", 1, zerolog.Nop())
		defer stopA()
		old, stopOld := gossiper(t, n, 2, "b", 2, zerolog.Nop())
		defer stopOld()
		old.mu.Lock()
		old.local.started += uint64(time.Hour.Milliseconds())
		old.announceLocked()
		old.mu.Unlock()
		poke(old.now)
		waitFor(t, 10*time.Second, "a knows b's start", func() bool {
			b := a.View().Node(old.Self())
			return b != nil && b.started == old.View().Node(old.Self()).started
		})
		n.split(func(x, y string) bool { return x == "10.0.0.2:7946" || y == "10.0.0.2:7946" })
		fresh, stopFresh := gossiper(t, n, 3, "b", 3, zerolog.Nop())
		defer stopFresh()
		waitFor(t, 10*time.Second, "a has the new boot alone", func() bool {
			return a.View().Node(fresh.Self()) != nil && a.View().Node(old.Self()) == nil
		})
		time.Sleep(3 * outdoneFor) // one that stayed outdone would be buried by now
		if a.Buried(fresh.Self()) || a.View().Node(fresh.Self()) == nil {
			t.Error("the new boot was buried")
		}
		if fresh.View().Node(fresh.Self()).started <= old.View().Node(old.Self()).started {
			t.Error("the new boot did not raise its start time")
		}
	})
}

func TestUpdatesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer n.settle()
		a, stopA := gossiper(t, n, 1, "a", 1, zerolog.Nop())
		defer stopA()
		b, stopB := gossiper(t, n, 2, "b", 2, zerolog.Nop())
		defer stopB()
		waitFor(t, 10*time.Second, "a sees b", func() bool { return sees(a, 2) })
		reports := func() uint64 { return a.View().Node(b.Self()).Reports }
		before := reports()
		for i := range 200 { // 20 s
			b.Update(false, Load{Rooms: uint16(i + 1)})
			time.Sleep(100 * time.Millisecond)
		}
		if got := reports() - before; got < 8 || got > 11 {
			t.Errorf("%d load reports in 20 s, want one each 2 s", got)
		}
		b.Update(true, Load{Rooms: 200})
		took := waitFor(t, 10*time.Second, "a knows that b drains", func() bool { return a.View().Node(b.Self()).Draining })
		if took > 500*time.Millisecond {
			t.Errorf("draining was known after %s", took)
		}
		if a.View().Node(b.Self()).Load.Rooms != 200 {
			t.Errorf("load %+v", a.View().Node(b.Self()).Load)
		}
	})
}

func TestViewsAndChanges(t *testing.T) {
	m, err := NewMembers(MembersConfig{Name: "a", Boot: 1, Role: RoleHost, Kinds: []string{"chat"}})
	if err != nil {
		t.Fatal(err)
	}
	var buried []NodeID
	m.OnBury(func(id NodeID) { buried = append(buried, id) })
	hear := func(name string, alive bool, meta []byte) {
		m.mu.Lock()
		m.hearLocked(&heard{id: NodeID(name), addr: "10.0.0.2:1", meta: meta, alive: alive})
		m.publishLocked()
		m.mu.Unlock()
	}
	other := someNode()
	id := MakeNodeID("b", 2)
	changed, before := m.Changed(), m.View()
	hear(string(id), true, appendMeta(nil, &other))
	select {
	case <-changed:
	default:
		t.Error("a change was not told")
	}
	if before.Node(id) != nil || m.View().Node(id) == nil || !m.View().Known("arena") {
		t.Error("the old view changed, or the new one did not")
	}
	ring := m.View().Ring
	hear(string(id), true, appendMeta(nil, &other))
	if &ring.owners[0] != &m.View().Ring.owners[0] {
		t.Error("a load report made a new ring")
	}
	for _, bad := range []string{"nonsense", "b#12", ""} {
		hear(bad, true, appendMeta(nil, &other))
	}
	hear(string(MakeNodeID("c", 3)), true, []byte("nonsense"))
	if !sees(m, 2) {
		t.Errorf("%d nodes, want 2: gossip that can't be read was taken in", len(m.View().Nodes))
	}
	hear(string(id), false, nil)
	if n := m.Find(id); m.View().Node(id) != nil || n == nil || n.Link != other.Link {
		t.Error("a node that left is in the view, or its address is forgotten")
	}
	if !m.View().Known("arena") {
		t.Error("a kind is forgotten with its last host")
	}
	hear(string(id), true, appendMeta(nil, &other))
	m.Bury(id)
	m.Bury(id)
	m.Bury(m.Self())
	hear(string(id), true, appendMeta(nil, &other))
	if !sees(m, 1) || !slices.Equal(buried, []NodeID{id}) || m.Find(id) != nil {
		t.Errorf("after the burial: %d nodes, told of %v", len(m.View().Nodes), buried)
	}
}

func TestLostNodesAreTold(t *testing.T) {
	m, err := NewMembers(MembersConfig{Name: "a", Boot: 1, Role: RoleHost, Kinds: []string{"arena"}})
	if err != nil {
		t.Fatal(err)
	}
	other := someNode()
	hear := func(id NodeID, alive, left bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.hearLocked(&heard{id: id, addr: "10.0.0.2:1", meta: appendMeta(nil, &other), alive: alive, left: left})
	}
	silent, ended := MakeNodeID("b", 2), MakeNodeID("c", 3)
	hear(silent, true, false)
	hear(ended, true, false)
	hear(silent, false, false)
	hear(ended, false, true)
	if lost := m.Lost(); len(lost) != 1 || lost[0].ID != silent || time.Since(lost[0].Since) > time.Minute {
		t.Errorf("lost %v, want %s only", lost, silent)
	}
	hear(silent, true, false)
	if lost := m.Lost(); len(lost) != 0 {
		t.Errorf("back, and still lost: %v", lost)
	}
	hear(silent, false, false)
	m.Bury(silent)
	if lost := m.Lost(); len(lost) != 0 {
		t.Errorf("buried, and still lost: %v", lost)
	}
}

func TestGossipLog(t *testing.T) {
	var out bytes.Buffer
	log := newGossipLog(zerolog.New(&out).Level(zerolog.InfoLevel), func(string) {})
	fmt.Fprintf(log, "2026/01/02 03:04:05 [ERR] memberlist: Push/Pull with x failed: EOF\n")
	fmt.Fprintf(log, "2026/01/02 03:04:05 [DEBUG] memberlist: detail\n")
	if got := out.String(); !strings.Contains(got, `"level":"warn"`) || !strings.Contains(got, `"text":"Push/Pull with x failed: EOF"`) || strings.Contains(got, "detail") {
		t.Errorf("logged %s", got)
	}
	out.Reset()
	for range 1000 {
		fmt.Fprintf(log, "2026/01/02 03:04:05 [ERR] memberlist: Decrypt packet failed\n")
	}
	if n := strings.Count(out.String(), "\n"); n > 20 {
		t.Errorf("a flood of packets gave %d lines", n)
	}
}
