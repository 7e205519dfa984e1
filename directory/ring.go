package directory

import (
	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/wire"
)

// Partitions is how many parts the rooms are hashed into. It is the same in
// every build: owners are a function of a partition and the live hosts.
const Partitions = 16384

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
func newRing(hosts []*Node) *Ring {
	r := &Ring{hosts: hosts, owners: make([][Replicas]int16, Partitions)}
	seeds := make([]uint64, len(hosts))
	for i, h := range hosts {
		seeds[i] = xxhash.Sum64String(h.ID.Name())
	}
	for p := range r.owners {
		r.owners[p] = highest(seeds, mix(uint64(p)))
	}
	return r
}

// highest picks the hosts with the highest scores for one partition. Equal
// scores, of two boots of one name, go to the lower id.
func highest(seeds []uint64, p uint64) (top [Replicas]int16) {
	var score [Replicas]uint64
	for i := range top {
		top[i] = noOwner
	}
	for i, seed := range seeds {
		s := mix(seed ^ p)
		if top[Replicas-1] != noOwner && s <= score[Replicas-1] {
			continue
		}
		at := Replicas - 1
		for at > 0 && (top[at-1] == noOwner || s > score[at-1]) {
			top[at], score[at] = top[at-1], score[at-1]
			at--
		}
		top[at], score[at] = int16(i), s
	}
	return top
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
		for _, i := range r.owners[partition] {
			if i == noOwner || !yield(r.hosts[i]) {
				return
			}
		}
	}
}

// Primary is a room's first owner, nil where there is no host.
func (r *Ring) Primary(room wire.RoomID) *Node {
	if i := r.owners[PartitionOf(room)][0]; i != noOwner {
		return r.hosts[i]
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
