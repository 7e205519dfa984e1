package explain

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const (
	h1, h2, h3, g1 = "host-1#0000000000000001", "host-2#0000000000000002", "host-3#0000000000000003", "gateway-1#0000000000000004"
	nonce          = "00000000000000aa"
)

// agreeing is a cluster of three hosts and a gateway that agree on a room, which
// is on host-1 at epoch 12.
func agreeing() map[string]*Belief {
	at := func() *Place { return &Place{Node: h1, Addr: "10.0.0.1:7401", Epoch: 12, Incarnation: 5} }
	claim := func() *Claim {
		return &Claim{Epoch: 12, Incarnation: 5, Nonce: nonce, Holder: h1 + "/1", LeaseAlive: true}
	}
	all := map[string]*Belief{
		h1: {Role: "host", Copy: &Copy{Epoch: 12, Incarnation: 5, Nonce: nonce, State: Running, Members: 3, Connected: 2}},
		h2: {Role: "host"}, h3: {Role: "host"},
		g1: {Role: "gateway", Cache: at(), Route: &Route{Place: *at(), Members: 3}},
	}
	for node, b := range all {
		b.Node, b.Partition, b.Owners, b.Sees = node, 77, []string{h2, h3, h1}, []string{h1, h2, h3}
		if b.Role == "host" {
			b.Entry, b.Claim = at(), claim()
		}
	}
	return all
}

func judged(all map[string]*Belief, missing ...Missing) Explanation {
	var answers []Belief
	for node, b := range all {
		if !slices.ContainsFunc(missing, func(m Missing) bool { return m.Node == node }) {
			answers = append(answers, *b)
		}
	}
	return Judge("chat/lobby", g1, answers, missing)
}

func TestNodesThatAgree(t *testing.T) {
	e := judged(agreeing())
	if !e.Agree || e.Asked != 4 || e.Answered != 4 || e.Partition != 77 || e.Summary != "lives on host-1 at epoch 12, running" {
		t.Errorf("%+v", e)
	}
	raw, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(raw), `"disagreements":[]`) || !strings.Contains(string(raw), `"missing":[]`) {
		t.Errorf("%s, %v", raw, err)
	}
	if e.Nodes[0].Node != h1 || e.Nodes[3].Node != g1 {
		t.Error("hosts come first, by name")
	}
}

// TestDisagreements has one thing wrong at a time: it is found, at the node where
// it is, and nothing else is.
func TestDisagreements(t *testing.T) {
	gone := Missing{Node: h1, Role: "host", Why: "no answer by the deadline"}
	for name, c := range map[string]struct {
		change  func(all map[string]*Belief)
		missing []Missing
		at      string
		what    []string
		ends    string
		more    int // findings beside the one
	}{
		"another view": {func(all map[string]*Belief) { all[h3].Owners = []string{h3, h1} }, nil,
			h3, []string{"host-3: owners", "are host-3, host-1; for 3 others they are host-2, host-3, host-1"}, "gossip", 0},
		"store out of reach": {func(all map[string]*Belief) { all[h2].Claim, all[h2].StoreError = nil, "i/o timeout" }, nil,
			h2, []string{"the store does not answer host-2", "i/o timeout"}, "when the store answers", 0},
		"two stores": {func(all map[string]*Belief) { all[h2].Claim.Epoch = 11 }, nil,
			h2, []string{"tells host-2 of epoch 11", "others of epoch 12"}, "different stores", 0},
		"a second copy": {func(all map[string]*Belief) {
			all[h3].Copy = &Copy{Epoch: 10, Incarnation: 5, Nonce: "bb", State: Leaseless}
		}, nil, h3, []string{"host-3 has a copy at epoch 10, and host-1 one at 12"}, "38 s", 0},
		"a copy that the store gave away": {func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim.Epoch, all[h].Claim.Nonce, all[h].Claim.Holder = 13, "cc", h2+"/1"
			}
		}, nil, h1, []string{"epoch 12", "the store granted epoch 13", "to host-2"}, "refuses its next write", 0},
		"a store that lost writes": {func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim = &Claim{None: true}
			}
		}, nil, h1, []string{"the store knows of no such room"}, "claims the room anew", 0},
		"a closed room": {func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim.Closed = true
			}
		}, nil, h1, []string{"has ended for the store"}, "refuses", 0},
		"an ended lease": {func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim.LeaseAlive = false
			}
		}, nil, h1, []string{"host-1 has the room, and its lease has ended"}, "new lease", 0},
		"a stale entry": {func(all map[string]*Belief) { all[h2].Entry.Node, all[h2].Entry.Epoch = h3, 9 }, nil,
			h2, []string{"entry for host-3 at epoch 9; the room is on host-1 at epoch 12"}, "38 s", 0},
		"no entry": {func(all map[string]*Belief) { all[h3].Entry = nil }, nil,
			h3, []string{"owns the partition and has no entry"}, "the claim leads to its host", 0},
		"a stale cache": {func(all map[string]*Belief) { all[g1].Cache.Node, all[g1].Cache.Epoch = h3, 9 }, nil,
			g1, []string{"remembers host-3 at epoch 9"}, "next join", 0},
		"a cache of a dead host": {func(all map[string]*Belief) { all[g1].Cache.Node, all[g1].Cache.Epoch = "host-9#0000000000000009", 9 }, nil,
			g1, []string{"remembers host-9 at epoch 9"}, "it is not used", 0},
		"members elsewhere": {func(all map[string]*Belief) { all[g1].Route.Node, all[g1].Route.Epoch = h2, 11 }, nil,
			g1, []string{"3 members attached to host-2 at epoch 11"}, "moves them", 0},
		"members that wait": {func(all map[string]*Belief) { all[g1].Route.Finding, all[g1].Route.OverUntil = true, 12 }, nil,
			g1, []string{"looks for the room's host", "3 members wait", "up to epoch 12"}, "later epoch", 0},
		"the holder is silent": {nil, []Missing{gone},
			h1, []string{"the claim is host-1's, which did not answer (no answer by the deadline); its lease runs"}, "proof", 4}, // two entries, a cache, a route
		"the holder is silent and its lease over": {func(all map[string]*Belief) {
			all[h2].Claim.LeaseAlive, all[h3].Claim.LeaseAlive = false, false
		}, []Missing{gone}, h1, []string{"its lease has ended"}, "claimed by another host", 4},
	} {
		t.Run(name, func(t *testing.T) {
			all := agreeing()
			if c.change != nil {
				c.change(all)
			}
			e := judged(all, c.missing...)
			if e.Agree || len(e.Findings) != 1+c.more || e.Answered != 4-len(c.missing) || len(e.Missing) != len(c.missing) {
				t.Fatalf("%+v", e)
			}
			f := e.Findings[0]
			if !slices.Equal(f.Nodes, []string{c.at}) || !strings.Contains(f.Ends, c.ends) {
				t.Errorf("%+v", f)
			}
			for _, w := range c.what {
				if !strings.Contains(f.What, w) {
					t.Errorf("no %q in %q", w, f.What)
				}
			}
		})
	}
}

func TestRoomsThatLiveNowhere(t *testing.T) {
	asleep := func() map[string]*Belief {
		all := agreeing()
		for _, b := range all {
			b.Copy, b.Entry, b.Cache, b.Route = nil, nil, nil, nil
		}
		return all
	}
	for want, change := range map[string]func(all map[string]*Belief){
		"as host-1 left it at epoch 12": func(map[string]*Belief) {},
		"has ended, at epoch 12": func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim.Closed, all[h].Claim.LeaseAlive = true, false
			}
		},
		"the store knows no such room": func(all map[string]*Belief) {
			for _, h := range []string{h1, h2, h3} {
				all[h].Claim = &Claim{None: true}
			}
		},
		"starts on host-2": func(all map[string]*Belief) { all[h2].Copy = &Copy{State: Starting} },
	} {
		all := asleep()
		change(all)
		if e := judged(all); !e.Agree || !strings.Contains(e.Summary, want) {
			t.Errorf("want %q: %q, %+v", want, e.Summary, e.Findings)
		}
	}
	if e := Judge("chat/lobby", g1, nil, []Missing{{Node: g1}}); e.Asked != 1 || e.Answered != 0 || e.Nodes == nil {
		t.Errorf("nobody answered: %+v", e)
	}
}
