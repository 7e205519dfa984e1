package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/web"
)

const (
	fleetWithin = time.Second // for nodes' own reports
	ringSlices  = 256         // of the partitions, evenly drawn, that a picture shows
	maxFleet    = 1000        // nodes in one picture
)

// Fleet is GET /v1/fleet: all nodes and the directory's ring, for a picture.
type Fleet struct {
	Self       string      `json:"self"`
	Asked      int         `json:"asked"`
	Answered   int         `json:"answered"`
	Nodes      []FleetNode `json:"nodes"`    // by name, the first 1,000
	LeftOff    int         `json:"left_off"` // nodes that are not asked, nor in Nodes
	Partitions int         `json:"partitions"`
	Ring       []int       `json:"ring"`    // of some partitions, the primary's place in Nodes; -1: none there
	Actions    []string    `json:"actions"` // that this build's nodes know
}

// FleetNode is one node: what gossip says of it, and what it says of itself.
type FleetNode struct {
	NodeSeen
	Name   string          `json:"name"`
	Report *NodeReport     `json:"report,omitempty"` // without rooms
	Drain  json.RawMessage `json:"drain,omitempty"`  // hosts that drain, or did
	Error  string          `json:"error,omitempty"`  // why it did not answer
}

// serveConsole serves the operator's page, which holds no secrets, and what it
// draws.
func (a *admin) serveConsole(ops *Ops) {
	page := http.StripPrefix("/console/", http.FileServerFS(web.Console()))
	ops.HandleRole(RoleNone, "GET /console/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", web.ConsoleCSP)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		page.ServeHTTP(w, r)
	}))
	ops.HandleRole(RoleNone, "GET /{$}", http.RedirectHandler("/console/", http.StatusFound))
	ops.Handle("GET /v1/fleet", a.handler(func(r *http.Request) (any, error) { return a.fleet(r.Context(), ops, maxFleet), nil }))
}

// fleet asks the first most nodes for their reports, and hosts that drain how that
// goes.
func (a *admin) fleet(ctx context.Context, ops *Ops, most int) Fleet {
	ctx, cancel := context.WithTimeout(ctx, fleetWithin)
	defer cancel()
	view := a.Members.View()
	nodes := view.Nodes[:min(len(view.Nodes), most)]
	f := Fleet{Self: string(a.ID), Asked: len(nodes), LeftOff: len(view.Nodes) - len(nodes),
		Partitions: directory.Partitions, Actions: actions(ops)}
	place := map[directory.NodeID]int{}
	for i, got := range askAll(ctx, nodes, func(n *directory.Node) (FleetNode, error) { return a.fleetNode(ctx, n), nil }) {
		place[got.node.ID] = i
		f.Nodes = append(f.Nodes, got.value)
		if got.value.Error == "" {
			f.Answered++
		}
	}
	f.Ring = make([]int, 0, ringSlices)
	for s := range ringSlices {
		owner := -1
		for n := range view.Ring.Owners(s * directory.Partitions / ringSlices) {
			if i, ok := place[n.ID]; ok {
				owner = i
			}
			break
		}
		f.Ring = append(f.Ring, owner)
	}
	return f
}

func (a *admin) fleetNode(ctx context.Context, n *directory.Node) FleetNode {
	f := FleetNode{NodeSeen: seenAs(n), Name: n.ID.Name()}
	var r NodeReport
	var err error
	if n.ID == a.ID {
		r = a.report()
	} else {
		r, err = a.reportOf(ctx, n, false)
	}
	if err != nil {
		f.Error = err.Error()
		return f
	}
	r.Rooms, r.RoomsLeftOff = nil, 0
	f.Report = &r
	if n.Role == directory.RoleHost {
		// A host that does not say how its drain goes has none that matters here.
		f.Drain, _ = a.ask(ctx, n, AdminDrainState, nil)
	}
	return f
}

// actions are what operators can have done through this node.
func actions(ops *Ops) (can []string) {
	for _, action := range []string{"move", "drain", "restart", "close", "kick"} {
		r, err := http.NewRequest(http.MethodPost, "/v1/"+action, nil)
		if err != nil {
			continue
		}
		if _, pattern := ops.mux.Handler(r); pattern != "" && pattern != "/" {
			can = append(can, action)
		}
	}
	slices.SortFunc(can, cmp.Compare)
	return can
}
