package directory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// someHosts are n hosts named h000, h001 and so on, sorted by id.
func someHosts(n int) []*Node { return hostsNamed("h", n) }

func hostsNamed(prefix string, n int) []*Node {
	var all []*Node
	for i := range n {
		all = append(all, &Node{ID: MakeNodeID(fmt.Sprintf("%s%03d", prefix, i), uint64(i)+1), Role: RoleHost, Kinds: []string{"chat"}})
	}
	return all
}

// spread is how evenly a ring deals its partitions out.
type spread struct{ primaries, copies float64 } // most / mean

func spreadOf(r *Ring) spread {
	primaries, copies := make([]int, len(r.hosts)), make([]int, len(r.hosts))
	for _, owners := range r.owners {
		primaries[owners[0]]++
		for _, i := range owners {
			if i != noOwner {
				copies[i]++
			}
		}
	}
	ratio := func(count []int) float64 {
		total := 0
		for _, c := range count {
			total += c
		}
		return float64(slices.Max(count)) * float64(len(count)) / float64(total)
	}
	return spread{ratio(primaries), ratio(copies)}
}

// The table from which Partitions was chosen: for each count, the worst of
// several sets of names.
func TestRingTable(t *testing.T) {
	sets, counts := 5, []int{1024, 4096, 16384, Partitions, 65536}
	if raceFactor > 1 {
		sets, counts = 1, []int{Partitions}
	}
	for _, partitions := range counts {
		for _, n := range []int{3, 5, 10, 30, 200} {
			var worst spread
			moves := 0.0
			start := time.Now()
			for set := range sets {
				hosts := hostsNamed(fmt.Sprint("set", set, "-"), n+1)
				less, more := ringOf(hosts[:n], partitions), ringOf(hosts, partitions)
				s := spreadOf(less)
				worst.primaries, worst.copies = max(worst.primaries, s.primaries), max(worst.copies, s.copies)
				moves = max(moves, movement(less, more)*float64(n+1))
			}
			t.Logf("%6d partitions, %3d hosts: primaries max/mean %.3f, copies %.3f, one more host moves %.3f of its share, %s a ring",
				partitions, n, worst.primaries, worst.copies, moves, (time.Since(start) / time.Duration(2*sets)).Round(10*time.Microsecond))
			most := 1.15
			if n > 30 {
				most = 1.35
			}
			if partitions == Partitions && (worst.primaries > most || worst.copies > most) {
				t.Errorf("%d hosts: max/mean %.3f and %.3f, want at most %.2f", n, worst.primaries, worst.copies, most)
			}
		}
	}
}

// movement is the part of the primaries that two rings give to different hosts.
func movement(a, b *Ring) float64 {
	moved := 0
	for p := range a.owners {
		if a.hosts[a.owners[p][0]].ID != b.hosts[b.owners[p][0]].ID {
			moved++
		}
	}
	return float64(moved) / float64(len(a.owners))
}

// A host that comes or goes moves what it must own, and no more.
func TestRingMovement(t *testing.T) {
	for _, n := range []int{3, 5, 10, 29, 199} {
		more := someHosts(n + 1)
		gone := n / 2
		less := slices.Delete(slices.Clone(more), gone, gone+1)
		a, b := newRing(less), newRing(more)
		for p := range Partitions {
			got := b.hosts[b.owners[p][0]]
			if a.hosts[a.owners[p][0]].ID != got.ID && got != more[gone] {
				t.Fatalf("partition %d moved to %s, which was there before", p, got.ID)
			}
		}
		// What must move is the share of the host that came. Names decide how
		// big that is: at 200 hosts a share is 164 partitions, give or take 13.
		f, most := movement(a, b)*float64(n+1), 1.10
		if n > 30 {
			most = 1.25
		}
		t.Logf("%d <-> %d hosts: %.3f of a mean share moves, and nothing else", n, n+1, f)
		if f > most {
			t.Errorf("%d <-> %d hosts: %.2f of a mean share moved, want at most %.2f", n, n+1, f, most)
		}
	}
}

// Made from the ring before it, a ring is the same as made anew.
func TestRingFollowsRing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pool := append(someHosts(20), &Node{ID: MakeNodeID("h003", 99), Role: RoleHost}) // another boot of one
	have := map[*Node]bool{}
	ring := ringOf(nil, 512)
	for step := range 300 {
		for range 1 + r.IntN(3) {
			n := pool[r.IntN(len(pool))]
			have[n] = !have[n]
		}
		var hosts []*Node
		for _, n := range pool {
			if have[n] {
				hosts = append(hosts, n)
			}
		}
		slices.SortFunc(hosts, func(a, b *Node) int { return strings.Compare(string(a.ID), string(b.ID)) })
		ring = ring.next(hosts)
		if !slices.Equal(ring.owners, ringOf(hosts, 512).owners) {
			t.Fatalf("step %d, %d hosts: owners differ", step, len(hosts))
		}
	}
}

func TestRingOwnersAreTheHighest(t *testing.T) {
	for n := range 8 {
		r := newRing(someHosts(n))
		for p := range 500 {
			var got []NodeID
			for o := range r.Owners(p) {
				got = append(got, o.ID)
			}
			if len(got) != min(n, Replicas) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
				t.Fatalf("%d hosts, partition %d: owners %v", n, p, got)
			}
			for _, id := range got {
				if !r.owns(p, id) {
					t.Fatalf("owner %s does not own partition %d", id, p)
				}
			}
		}
	}
	if newRing(nil).Primary("chat/x") != nil {
		t.Error("a ring without hosts has a primary")
	}
}

// A restart under the same name takes the same partitions.
func TestRingKeepsPartitionsOverRestart(t *testing.T) {
	hosts := someHosts(5)
	again := slices.Clone(hosts)
	again[2] = &Node{ID: MakeNodeID("h002", 99), Role: RoleHost}
	a, b := newRing(hosts), newRing(again)
	if !slices.Equal(a.owners, b.owners) {
		t.Error("owners changed with the boot")
	}
}

func TestPartitionsAreEven(t *testing.T) {
	const rooms = 200_000
	var count [64]int
	for i := range rooms {
		count[PartitionOf(wire.Room("arena", fmt.Sprint("room-", i)))*64/Partitions]++
	}
	for i, c := range count {
		if c < rooms/64*9/10 || c > rooms/64*11/10 {
			t.Errorf("slice %d of the partitions has %d rooms of %d", i, c, rooms)
		}
	}
}

func viewOf(all ...*Node) *View {
	nodes, kinds := map[NodeID]*Node{}, map[string]bool{}
	for _, n := range all {
		nodes[n.ID] = n
		for _, k := range n.Kinds {
			kinds[k] = true
		}
	}
	return newView(nil, Partitions, nodes, kinds, time.Now())
}

func BenchmarkRing(b *testing.B) {
	for _, n := range []int{3, 30, 200, 1000} {
		hosts := someHosts(n + 1)
		less := newRing(hosts[:n])
		b.Run(fmt.Sprint("anew-", n), func(b *testing.B) {
			for b.Loop() {
				newRing(hosts[:n])
			}
		})
		b.Run(fmt.Sprint("one-more-than-", n), func(b *testing.B) {
			for b.Loop() {
				less.next(hosts)
			}
		})
	}
}
