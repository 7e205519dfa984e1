package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Judge composes nodes' answers about a room and says where they disagree. by is
// the node that asked them.
func Judge(room, by string, all []Belief, missing []Missing) Explanation {
	all, missing = append([]Belief{}, all...), append([]Missing{}, missing...)
	slices.SortFunc(all, func(a, b Belief) int { return cmp.Or(cmp.Compare(b.Role, a.Role), cmp.Compare(a.Node, b.Node)) })
	slices.SortFunc(missing, func(a, b Missing) int { return cmp.Compare(a.Node, b.Node) })
	j := &judge{by: by, all: all, missing: missing}
	j.claim, j.top = j.latestClaim(), j.latestCopy()
	j.views()
	j.store()
	j.copies()
	j.holder()
	j.entries()
	j.gateways()
	e := Explanation{Room: room, By: by, Summary: j.summary(), Agree: len(j.found) == 0, Findings: j.found, Nodes: all,
		Asked: len(all) + len(missing), Answered: len(all), Missing: missing}
	if e.Findings == nil {
		e.Findings = []Finding{}
	}
	if len(all) > 0 {
		e.Partition = all[0].Partition
	}
	return e
}

// judge is one explanation in the making.
type judge struct {
	by      string
	all     []Belief
	missing []Missing
	claim   *Claim  // the latest that the store told anybody; nil: it told nobody
	top     *Belief // who has the copy with the highest epoch; nil: nobody
	found   []Finding
}

func (j *judge) find(what, ends string, nodes ...string) {
	slices.Sort(nodes)
	j.found = append(j.found, Finding{slices.Compact(nodes), what, ends})
}

func (j *judge) latestClaim() (best *Claim) {
	for _, b := range j.all {
		if c := b.Claim; c != nil && (best == nil || !c.None && (best.None || c.Epoch > best.Epoch)) {
			best = c
		}
	}
	return best
}

func (j *judge) latestCopy() (top *Belief) {
	for i := range j.all {
		if b := &j.all[i]; b.Copy != nil && (top == nil || b.Copy.Epoch > top.Copy.Epoch) {
			top = b
		}
	}
	return top
}

// answered finds a node's answer.
func (j *judge) answered(node string) *Belief {
	for i := range j.all {
		if j.all[i].Node == node {
			return &j.all[i]
		}
	}
	return nil
}

// views finds nodes whose views give the partition other owners.
func (j *judge) views() {
	by := map[string][]string{} // owners to nodes
	for _, b := range j.all {
		key := strings.Join(names(b.Owners), ", ")
		by[key] = append(by[key], b.Node)
	}
	most := ""
	for key, nodes := range by {
		if d := cmp.Compare(len(nodes), len(by[most])); d > 0 || d == 0 && key < most {
			most = key
		}
	}
	for _, key := range slices.Sorted(maps.Keys(by)) {
		if key != most {
			j.find(fmt.Sprintf("%s: owners of the partition are %s; for %d others they are %s", list(by[key]), cmp.Or(key, "none"), len(by[most]), cmp.Or(most, "none")),
				"gossip makes views one within seconds, and within 15 s after a split has healed; until then questions are passed on, twice at most",
				by[key]...)
		}
	}
}

// store finds hosts to which the store says nothing, or something else than to
// others.
func (j *judge) store() {
	for _, b := range j.all {
		switch {
		case b.StoreError != "":
			j.find(fmt.Sprintf("the store does not answer %s: %s", name(b.Node), b.StoreError),
				"when the store answers again; the rooms there go on meanwhile, unsaved, or freeze if their kind chose that", b.Node)
		case b.Claim != nil && *b.Claim != *j.claim:
			j.find(fmt.Sprintf("the store tells %s of %s, and others of %s", name(b.Node), b.Claim, j.claim),
				"the room changed hands while nodes were asked: ask again; if it stays so, these hosts use different stores", b.Node)
		}
	}
}

const (
	endsOfCopy = "whichever comes first: the store refuses its next write; an owner tells its host, 0.1 s after both copies' hosts reach one owner and 38 s at most"
	repeatEnds = "its host registers the room with all owners every 30 s, 38 s at most, and at once when the owners change"
)

// copies finds copies that are not the one that the store granted.
func (j *judge) copies() {
	for i := range j.all {
		b := &j.all[i]
		if b.Copy == nil || b.Copy.State == Starting || b.Copy.State == Ending {
			continue
		}
		c := b.Copy
		switch {
		case b != j.top:
			j.find(fmt.Sprintf("%s has a copy at epoch %d, and %s one at %d", name(b.Node), c.Epoch, name(j.top.Node), j.top.Copy.Epoch), endsOfCopy, b.Node)
		case j.claim == nil:
		case j.claim.Closed && c.Epoch <= j.claim.Epoch:
			j.find(fmt.Sprintf("%s has a copy of a room that has ended for the store", name(b.Node)), "the store refuses the copy's next write, and it ends", b.Node)
		case j.claim.None || c.Epoch > j.claim.Epoch || c.Epoch == j.claim.Epoch && c.Nonce != j.claim.Nonce:
			j.find(fmt.Sprintf("%s has a copy at epoch %d, and the store knows of %s", name(b.Node), c.Epoch, j.claim),
				"the store has lost writes: the host claims the room anew when it next saves it, and writes everything again", b.Node)
		case c.Epoch < j.claim.Epoch:
			j.find(fmt.Sprintf("%s has a copy at epoch %d, and the store granted %s", name(b.Node), c.Epoch, j.claim), endsOfCopy, b.Node)
		case c.State == Mute || c.State == Leaseless || !j.claim.LeaseAlive:
			j.find(fmt.Sprintf("%s has the room, and its lease has ended: another host may claim it", name(b.Node)),
				"the host takes a new lease as soon as the store answers it, checks its claims, and goes on; or it hears that the room was claimed, and its copy ends", b.Node)
		}
	}
}

// holder finds claims whose holder can't be asked.
func (j *judge) holder() {
	if j.claim == nil || j.claim.None || j.claim.Closed {
		return
	}
	holder := j.claim.process()
	if j.answered(holder) != nil {
		return
	}
	what := fmt.Sprintf("the claim is %s's, which %s", name(holder), j.absence(holder))
	if j.claim.LeaseAlive {
		j.find(what+"; its lease runs", "if it is dead, proof of that ends the lease at once, and its own end does within seconds (--lease, 2 s); "+
			"the next who asks for the room then starts it elsewhere. If it lives, it keeps the room, and others reach it when the network is whole", holder)
		return
	}
	j.find(what+"; its lease has ended", "the next who asks for the room has it claimed by another host; if the holder lives, it is mute until it has heard so from the store", holder)
}

// absence says why a node has not answered.
func (j *judge) absence(node string) string {
	for _, m := range j.missing {
		if m.Node == node {
			return "did not answer (" + m.Why + ")"
		}
	}
	for _, b := range j.all {
		if slices.Contains(b.Sees, node) {
			return "is in the view of " + name(b.Node) + " and not in that of " + name(j.by)
		}
	}
	return "is in nobody's view"
}

// entries finds entries of the directory that are not where the room is.
func (j *judge) entries() {
	for _, b := range j.all {
		owner := slices.Contains(b.Owners, b.Node)
		switch {
		case b.Entry != nil:
			if wrong := j.misplaced(*b.Entry); wrong != "" {
				j.find(fmt.Sprintf("%s has an entry for %s", name(b.Node), wrong), "who asks there and finds nothing asks again, and the answer corrects it; "+repeatEnds, b.Node)
			}
		case owner && j.top != nil && j.top.Copy.State == Running:
			j.find(fmt.Sprintf("%s owns the partition and has no entry", name(b.Node)), "asked for the room, it tries to have it activated, and the claim leads to its host; "+repeatEnds, b.Node)
		}
	}
}

// gateways finds gateways that remember, or have members at, another place.
func (j *judge) gateways() {
	for _, b := range j.all {
		if b.Cache != nil {
			if wrong := j.misplaced(*b.Cache); wrong != "" {
				ends := "the next join through it is told that the room is not there, and it asks an owner"
				if !slices.Contains(b.Sees, b.Cache.Node) {
					ends = "it is not used: that host is not in the gateway's view; the next join asks an owner"
				}
				j.find(fmt.Sprintf("%s remembers %s", name(b.Node), wrong), ends, b.Node)
			}
		}
		switch r := b.Route; {
		case r == nil:
		case r.Finding:
			j.find(fmt.Sprintf("%s looks for the room's host: %d members wait; up to epoch %d all is over", name(b.Node), r.Members, r.OverUntil),
				"it asks the owners until one answers with a later epoch, and tries the last host again while others find it alive", b.Node)
		default:
			if wrong := j.misplaced(r.Place); wrong != "" {
				j.find(fmt.Sprintf("%s has %d members attached to %s", name(b.Node), r.Members, wrong), "it moves them when that copy ends, its link breaks, or it hears of the higher epoch", b.Node)
			}
		}
	}
}

// misplaced says what is wrong with a place, "" where nothing is known to be.
func (j *judge) misplaced(p Place) string {
	at := fmt.Sprintf("%s at epoch %d", name(p.Node), p.Epoch)
	there := j.answered(p.Node)
	switch {
	case j.top != nil && p.Node == j.top.Node && p.Epoch == j.top.Copy.Epoch:
		return ""
	case j.top != nil && p.Epoch <= j.top.Copy.Epoch:
		return fmt.Sprintf("%s; the room is on %s at epoch %d", at, name(j.top.Node), j.top.Copy.Epoch)
	case there == nil:
		return fmt.Sprintf("%s, which %s", at, j.absence(p.Node))
	case there.Copy != nil && there.Copy.Epoch == 0: // it starts
		return ""
	}
	return at + ", which has no copy of it"
}

// summary is where the room is, in one line.
func (j *judge) summary() string {
	switch c := j.claim; {
	case j.top != nil && j.top.Copy.State == Starting:
		return "starts on " + name(j.top.Node)
	case j.top != nil:
		return fmt.Sprintf("lives on %s at epoch %d, %s", name(j.top.Node), j.top.Copy.Epoch, j.top.Copy.State)
	case c == nil && len(j.missing) == 0:
		return "lives on no host; the store was not to be asked"
	case c == nil:
		return "lives on none of the hosts that answered; none of them could ask the store"
	case c.None:
		return "lives on no host that answered, and the store knows no such room"
	case c.Closed:
		return fmt.Sprintf("has ended, at epoch %d", c.Epoch)
	}
	return fmt.Sprintf("lives on no host that answered; the store has it, as %s left it at epoch %d: the next who asks for it wakes it", name(j.claim.process()), j.claim.Epoch)
}
