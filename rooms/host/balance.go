package host

import (
	"cmp"
	"slices"

	"github.com/limpet-games/limpet/directory"
)

// Rebalancing moves rooms from hosts that carry clearly more than the mean to
// hosts that carry less. Every host decides for itself, from what gossip says of
// the others, which is as old as reports are apart: 2 s in small clusters, 105 s
// at 1,000 nodes. So that hosts don't act twice on one difference, nor rooms swing:
//
//   - Each of several hot hosts moves what it has above the mean, and gives each
//     host below it a share of what that one lacks: its own excess out of all
//     excess. Together they fill nobody above the mean.
//   - It begins at a difference (balanceStart) that is well above the one at which
//     it ends (balanceEnd), and by itself only if the difference stays.
//   - A host waits after its moves until the others' reports can have them
//     (balanceEvery); in clusters of more than some 60 nodes they come later.
//   - A room that has just come stays (balanceStays).
const (
	balanceStart = 25 // percent of the mean: a host begins by itself
	balanceEnd   = 5  // it goes on, or does what it is told to, above this
	balanceLeast = 8  // rooms and members: less is not worth a pause
)

// weighed is a room that may move.
type weighed struct {
	directory.Want
	weight int // as in directory.Load: itself and its members
}

// transfer is one move of a plan.
type transfer struct {
	directory.Want
	to *directory.Node
}

// standing is how a host compares with the others.
type standing struct {
	load, mean int // scores
	lack       int // of the mean, at the host that lacks most of it and takes rooms
	hosts      int // that are compared, this one included
}

// above reports whether the host carries more than the mean, and it or the host
// that lacks most differs from that by more than some percent. One that joins many
// lacks all, while each of those is little above the mean.
func (s standing) above(percent int) bool {
	gap := max(s.load-s.mean, s.lack)
	return s.load > s.mean && s.lack > 0 && gap >= balanceLeast && gap*100 > s.mean*percent
}

// balance is what gossip says of the hosts that could share this one's rooms.
type balance struct {
	standing
	pressure int // of this host, in percent
	shares   []share
}

// share is how much of this host's excess another one may be given.
type share struct {
	node *directory.Node
	left int // in its own score
}

// weigh compares a host, whose load it knows better than gossip, with the others
// that serve some kind of its.
func weigh(self directory.NodeID, own directory.Load, hosts []*directory.Node, kinds func(string) bool) balance {
	b := balance{standing: standing{load: own.Score(), hosts: 1}, pressure: own.Pressure()}
	var others []*directory.Node
	total := b.load
	for _, n := range hosts {
		if n.ID == self || n.Draining || !slices.ContainsFunc(n.Kinds, kinds) {
			continue
		}
		others = append(others, n)
		total += n.Load.Score()
	}
	b.hosts += len(others)
	b.mean = (total + b.hosts/2) / b.hosts
	mine := b.load - b.mean
	excess := mine
	for _, n := range others {
		excess += max(0, n.Load.Score()-b.mean)
	}
	if mine <= 0 {
		return b
	}
	for _, n := range others {
		if lacks := b.mean - n.Load.Score(); lacks > 0 && !n.Load.Full {
			b.lack = max(b.lack, lacks)
			b.shares = append(b.shares, share{n, (lacks*mine + excess/2) / excess})
		}
	}
	return b
}

// plan says which rooms go where: few and big rather than many and small, each to
// the host that lacks most, as long as neither crosses the mean.
func (b balance) plan(rooms []weighed) (plan []transfer) {
	budget := b.load - b.mean
	rooms = slices.Clone(rooms)
	slices.SortFunc(rooms, func(x, y weighed) int {
		return cmp.Or(cmp.Compare(y.weight, x.weight), cmp.Compare(x.Room, y.Room))
	})
	shares := slices.Clone(b.shares)
	for _, r := range rooms {
		cost := r.weight * b.pressure / 100
		if cost > budget {
			continue
		}
		var best *share
		for i := range shares {
			s := &shares[i]
			if s.left >= r.weight*s.node.Load.Pressure()/100 && s.node.Takes(r.Want) && (best == nil || s.left > best.left) {
				best = s
			}
		}
		if best == nil {
			continue
		}
		best.left -= r.weight * best.node.Load.Pressure() / 100
		budget -= cost
		plan = append(plan, transfer{r.Want, best.node})
	}
	return plan
}

// allows reports whether a move that was planned is still right: this host is
// above the mean, and the other one below it and willing.
func (b balance) allows(s transfer, w directory.Want) bool {
	return b.load > b.mean && slices.ContainsFunc(b.shares, func(x share) bool { return x.node.ID == s.to.ID && x.node.Takes(w) })
}
