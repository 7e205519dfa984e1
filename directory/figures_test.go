package directory

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// The figures of docs/benchmarks.md:
//
//	LIMPET_FIGURES=1 go test -v -count=1 -run '^TestFigure' ./directory
//
// Without the variable they are taken from little work, and only show that they
// can be.
var figures = os.Getenv("LIMPET_FIGURES") != ""

// of is much where figures are asked for, else little.
func of[T any](much, little T) T {
	if figures {
		return much
	}
	return little
}

// What an entry takes in a table of a million, its room's name and all.
func TestFigureEntries(t *testing.T) {
	n := of(1_000_000, 10_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab := newTable(n, func() {})
	for i := range n {
		tab.put(decodedEntry(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	t.Logf("%d registered rooms: %.0f bytes each per replica", tab.len(), per)
	if per > 200 && raceFactor == 1 {
		t.Errorf("an entry takes %.0f bytes, want at most 200", per)
	}
	runtime.KeepAlive(tab)
}

// decodedEntry is an entry as a message brings it: no two share memory.
func decodedEntry(i int) Location {
	at := place{Room: wire.Room("arena", fmt.Sprintf("room-%09d", i)), Node: MakeNodeID(fmt.Sprintf("host-%02d", i%30), 7),
		Addr: "10.0.0.10:7401", Epoch: wire.Epoch(1795738774911 + i), Incarnation: wire.Incarnation(1795738774911 + i)}
	got, err := decode[place](encode(at))
	if err != nil {
		panic(err)
	}
	return Location(got)
}

// A host of 30 dies with its machine: by gossip alone.
func TestFigureDetectionByGossip(t *testing.T) {
	rounds := of(5, 1)
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, uint64(round), 0)
			defer s.end()
			s.cluster(of(29, 9))
			if took, last := s.await(simHealWithin, s.oneMembership); last != "" {
				t.Fatalf("after %s: %s", took, last)
			}
			time.Sleep(10 * time.Second)
			s.kill(s.hosts()[3], true)
			took, last := s.await(20*time.Second, s.oneMembership)
			t.Logf("gossip alone, %d nodes: all know of a lost machine after %s (to 0.25 s)", len(s.running())+1, took)
			if last != "" {
				t.Error(last)
			}
		})
	}
}

// A process is killed: its links break, and two nodes are refused.
func TestFigureDetectionByLinks(t *testing.T) {
	c := newCluster(t, 5, 1)
	victim := c.hosts()[2]
	room := c.roomOn(c.hosts()[0], "chat")
	if _, err := victim.host.Activate(context.Background(), room, wire.ModeJoinOrCreate, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes { // links to it stand, as with rooms on it
		if n != victim {
			if _, err := n.mesh.Link(context.Background(), string(victim.Self()), victim.addr); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	victim.cutLinks()
	c.remove(victim)
	c.until("all have buried it", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *testNode) bool { return !n.Buried(victim.Self()) })
	})
	t.Logf("by its links: all know of a killed host after %s", time.Since(start))
}

// Five hosts hold rooms; one owner dies: how long until each of its entries is
// answered again, by the owners that are left, from their own tables.
func TestFigureOwnersLoss(t *testing.T) {
	c := newCluster(t, 5, 1)
	n := of(200_000, 2_000)
	holder := c.hosts()[1]
	var locs []Location
	for i := range n {
		loc, err := holder.host.Activate(context.Background(), wire.Room("chat", fmt.Sprint(i)), wire.ModeJoinOrCreate, 0)
		if err != nil {
			t.Fatal(err)
		}
		locs = append(locs, loc)
	}
	holder.service.Register(locs...)
	known := func() bool {
		for _, h := range c.hosts() {
			for _, loc := range locs {
				if h.View().Ring.owns(PartitionOf(loc.Room), h.Self()) {
					if _, ok := h.service.table.get(loc.Room); !ok {
						return false
					}
				}
			}
		}
		return true
	}
	c.until("all owners have all entries", known)
	victim := c.hosts()[3]
	start := time.Now()
	victim.cutLinks()
	c.remove(victim)
	c.until("it is buried", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *testNode) bool { return !n.Buried(victim.Self()) })
	})
	detected := time.Now()
	first := func() bool { // the owner that a gateway would ask has the entry
		ring := c.gateways()[0].View().Ring
		for _, loc := range locs {
			if _, ok := c.node(ring.Primary(loc.Room).ID).service.table.get(loc.Room); !ok {
				return false
			}
		}
		return true
	}
	c.until("new owners answer", first)
	answered := time.Since(detected)
	// What a queue on the way had no room for comes with the next comparison.
	within(t, time.Minute, "all owners have all entries again", known)
	t.Logf("%d rooms, an owner's loss: known after %s; all its entries answered %s later, replicated anew after %s",
		n, detected.Sub(start), answered, time.Since(detected))
}

// A split of two minutes, and one membership again.
func TestFigureSplit(t *testing.T) {
	var worst time.Duration
	for seed := range uint64(of(20, 2)) {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, seed, 0)
			defer s.end()
			s.cluster(5)
			left := map[string]bool{simIP(1): true, simIP(3): true}
			s.cut("two minutes", func(a, b string) bool { return left[a] != left[b] })
			time.Sleep(2 * time.Minute)
			s.net.split(nil)
			took, last := s.await(simHealWithin, s.oneMembership)
			if worst = max(worst, took); last != "" {
				t.Errorf("seed %d, after %s: %s", seed, took, last)
			}
		})
	}
	t.Logf("a two-minute split: one membership again within %s", worst)
}

// Thirty nodes at a loss of one packet in five.
func TestFigureLoss(t *testing.T) {
	nodes, long := of(30, 8), of(time.Hour, time.Minute)
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, 3, 0)
		defer s.end()
		s.cluster(nodes - 1)
		if took, last := s.await(simHealWithin, s.oneMembership); last != "" {
			t.Fatalf("after %s: %s", took, last)
		}
		s.net.set(func() { s.net.loss = 0.2 })
		s.net.mu.Lock()
		bytes, packets := s.net.gossiped, s.net.packets
		s.net.mu.Unlock()
		deaths, start := 0, time.Now()
		for time.Since(start) < long {
			time.Sleep(time.Second)
			if s.oneMembership() != "" {
				deaths++
			}
		}
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		per := func(n int) float64 { return float64(n) / long.Seconds() / float64(nodes) }
		t.Logf("%d nodes, 20 %% loss, %s: %d seconds in which somebody missed somebody; %.0f bytes and %.1f packets a second a node",
			nodes, long, deaths, per(s.net.gossiped-bytes), per(s.net.packets-packets))
		if deaths > of(0, 5) { // in a minute one chance in hundreds is no news
			t.Errorf("%d false deaths", deaths)
		}
	})
}

// A thousand hosts and ten million rooms, by formula and from a ring of that
// size.
func TestFigureThousandHosts(t *testing.T) {
	hosts := of(1000, 100)
	const rooms = 10_000_000
	all := someHosts(hosts + 1)
	before, after := newRing(all), newRing(slices.Delete(slices.Clone(all), 7, 8))
	s := spreadOf(before)
	t.Logf("%d hosts: primaries max/mean %.2f, copies %.2f; one host's loss moves %.4f of the primaries",
		hosts+1, s.primaries, s.copies, movement(after, before))
	perHost := float64(rooms) * Replicas / float64(hosts)
	t.Logf("%d rooms: entries a host = rooms * %d / hosts = %.0f on average, %.0f at most", rooms, Replicas, perHost, perHost*s.copies)
	lost := perHost
	t.Logf("one host's loss: its %.0f entries are sent anew by %d hosts, in %.0f batches of %d each", lost, hosts-1, lost/float64(hosts-1)/maxBatch+0.5, maxBatch)
}
