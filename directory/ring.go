package directory

import (
	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/wire"
)

// Partitions is how many parts the rooms are hashed into. It is the same in
// every build: owners are a function of a partition and the live hosts. With
// half as many, one set of 200 names in five would give some host more than
// 1.35 of the mean (TestRingTable prints the choice).
const Partitions = 32768

// Replicas is how many hosts keep a partition's entries, the primary included.
const Replicas = 3

// PartitionOf is a room's partition.
func PartitionOf(room wire.RoomID) int {
	return int(xxhash.Sum64String(string(room)) % Partitions)
}

// Ring says which hosts own each partition: those with the highest rendezvous
// hashes. A host that leaves gives up its own partitions and moves no others.
// Hosts are hashed by name, so that a restarted one gets its partitions back.
// A Ring never changes.
type Ring struct {
	hosts  []*Node // sorted by id
	owners [][Replicas]int16
}

const noOwner = -1

// newRing makes the ring of hosts, which are sorted by id.
func newRing(hosts []*Node) *Ring { return ringOf(hosts, Partitions) }

func ringOf(hosts []*Node, partitions int) *Ring {
	r := &Ring{hosts: hosts, owners: make([][Replicas]int16, partitions)}
	seeds := seedsOf(hosts)
	for p := range r.owners {
		r.owners[p] = highest(seeds, mix(uint64(p)))
	}
	return r
}

// next is the ring of other hosts. Where few came or went it costs the same
// for any number of them: a newcomer is held against a partition's owners, and
// only where an owner left are all hosts.
func (r *Ring) next(hosts []*Node) *Ring {
	moved, came := r.compare(hosts)
	if len(came) > len(hosts)/8+1 {
		return ringOf(hosts, len(r.owners))
	}
	n := &Ring{hosts: hosts, owners: make([][Replicas]int16, len(r.owners))}
	seeds := seedsOf(hosts)
	for p := range n.owners {
		mixed := mix(uint64(p))
		t := noTop()
		left := false
		for _, i := range r.owners[p] {
			if i == noOwner {
				break
			}
			if left = moved[i] == noOwner; left {
				break
			}
			t.add(moved[i], mix(seeds[moved[i]]^mixed))
		}
		if left {
			n.owners[p] = highest(seeds, mixed)
			continue
		}
		for _, i := range came {
			t.add(i, mix(seeds[i]^mixed))
		}
		n.owners[p] = t.hosts
	}
	return n
}

// compare says where each host of r is among hosts, and which of them r does
// not have.
func (r *Ring) compare(hosts []*Node) (moved, came []int16) {
	at := make(map[NodeID]int16, len(hosts))
	for i, h := range hosts {
		at[h.ID] = int16(i)
	}
	for _, h := range r.hosts {
		i, ok := at[h.ID]
		if !ok {
			i = noOwner
		}
		moved = append(moved, i)
		delete(at, h.ID)
	}
	for _, i := range at {
		came = append(came, i)
	}
	return moved, came
}

func seedsOf(hosts []*Node) []uint64 {
	seeds := make([]uint64, len(hosts))
	for i, h := range hosts {
		seeds[i] = xxhash.Sum64String(h.ID.Name())
	}
	return seeds
}

// top are the hosts with the highest scores for one partition, the highest
// first. Equal scores, of two boots of one name, go to the lower id.
type top struct {
	hosts [Replicas]int16
	score [Replicas]uint64
}

func noTop() (t top) {
	for i := range t.hosts {
		t.hosts[i] = noOwner
	}
	return t
}

func (t *top) add(host int16, score uint64) {
	at := Replicas
	for at > 0 && t.below(at-1, host, score) {
		if at < Replicas {
			t.hosts[at], t.score[at] = t.hosts[at-1], t.score[at-1]
		}
		at--
	}
	if at < Replicas {
		t.hosts[at], t.score[at] = host, score
	}
}

// below reports whether place i is free or held by less than a score.
func (t *top) below(i int, host int16, score uint64) bool {
	return t.hosts[i] == noOwner || score > t.score[i] || score == t.score[i] && host < t.hosts[i]
}

func highest(seeds []uint64, p uint64) [Replicas]int16 {
	t := noTop()
	for i, seed := range seeds {
		if s := mix(seed ^ p); s >= t.score[Replicas-1] {
			t.add(int16(i), s)
		}
	}
	return t.hosts
}

// mix is the finalizer of splitmix64: every input bit moves every output bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Owners calls yield for a partition's owners, the primary first. There are
// fewer than Replicas where there are fewer hosts.
func (r *Ring) Owners(partition int) func(yield func(*Node) bool) {
	return func(yield func(*Node) bool) {
		if len(r.owners) == 0 {
			return
		}
		for _, i := range r.owners[partition%len(r.owners)] {
			if i == noOwner || !yield(r.hosts[i]) {
				return
			}
		}
	}
}

// Primary is a room's first owner, nil where there is no host.
func (r *Ring) Primary(room wire.RoomID) *Node {
	for o := range r.Owners(PartitionOf(room)) {
		return o
	}
	return nil
}

// owns reports whether a node is among a partition's owners.
func (r *Ring) owns(partition int, id NodeID) bool {
	for o := range r.Owners(partition) {
		if o.ID == id {
			return true
		}
	}
	return false
}
