package host

import (
	"maps"
	"slices"
	"time"

	"github.com/limpet-games/limpet/directory"
)

// actedOn remembers on which reports of other hosts rooms have moved there. Reports
// are seconds old, in large clusters minutes, and do not show what came since: who
// acts on one twice sends twice what is lacking.
type actedOn map[directory.NodeID]gift

// gift is the last move to a host.
type gift struct {
	reports uint64 // of the host, when the room was there
	until   time.Time
}

// gave notes that a room has moved to a host, as it is known now. It is left alone
// until it has reported, or for quiet: one whose load is what it was says nothing.
func (a *actedOn) gave(to *directory.Node, now time.Time, quiet time.Duration) {
	if *a == nil {
		*a = actedOn{}
	}
	(*a)[to.ID] = gift{to.Reports, now.Add(quiet)}
}

// quietFor is longer than reports take in a cluster of so many hosts, and as many
// gateways.
func quietFor(hosts int) time.Duration { return balanceEvery + 2*directory.LoadPace(2*hosts) }

// unknown is a balance that gives nothing to hosts whose report was acted on.
func (a actedOn) unknown(b balance, now time.Time) balance {
	maps.DeleteFunc(a, func(_ directory.NodeID, g gift) bool { return !now.Before(g.until) })
	b.shares = slices.DeleteFunc(slices.Clone(b.shares), func(s share) bool {
		g, any := a[s.node.ID]
		return any && s.node.Reports <= g.reports
	})
	return b
}
