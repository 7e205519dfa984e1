package directory

import (
	"cmp"
	"slices"
	"time"
)

// View is who seems alive, as one process sees it. It never changes; Members
// replaces it.
type View struct {
	Nodes []*Node // sorted by id
	Hosts []*Node // those of RoleHost
	Ring  *Ring   // of Hosts

	serial  uint64 // of this process's views, from 1
	byID    map[NodeID]*Node
	kinds   map[string]bool // kinds that some host served since this process started
	settled time.Time       // when Hosts last changed
}

// Node finds a live node, or nil.
func (v *View) Node(id NodeID) *Node { return v.byID[id] }

// Known reports whether any host has served the kind since this process
// started.
func (v *View) Known(kind string) bool { return v.kinds[kind] }

// newView makes the view that follows old. The ring is made again only when
// hosts came or went, not for a load report.
func newView(old *View, partitions int, nodes map[NodeID]*Node, kinds map[string]bool, now time.Time) *View {
	v := &View{byID: make(map[NodeID]*Node, len(nodes)), kinds: kinds, settled: now}
	if v.serial = 1; old != nil {
		v.serial = old.serial + 1
	}
	for id, n := range nodes {
		v.byID[id] = n
		v.Nodes = append(v.Nodes, n)
	}
	slices.SortFunc(v.Nodes, func(a, b *Node) int { return cmp.Compare(a.ID, b.ID) })
	for _, n := range v.Nodes {
		if n.Role == RoleHost {
			v.Hosts = append(v.Hosts, n)
		}
	}
	if old != nil && sameOwners(old.Hosts, v.Hosts) {
		v.settled = old.settled
		v.Ring = &Ring{hosts: v.Hosts, owners: old.Ring.owners}
		return v
	}
	if old != nil {
		v.Ring = old.Ring.next(v.Hosts)
	} else {
		v.Ring = ringOf(v.Hosts, partitions)
	}
	return v
}

func sameOwners(a, b []*Node) bool {
	return slices.EqualFunc(a, b, func(x, y *Node) bool { return x.ID == y.ID })
}
