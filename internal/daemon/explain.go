package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// callExplain asks a node what it believes about a room, by its name; the answer
// is an explain.Belief, as JSON.
const callExplain = 0x3c

const (
	// explainWithin is for the answers of the nodes of this one's view, and then
	// for those that only others name. A host whose store is slow is to say so.
	explainWithin = explain.StoreWithin + 500*time.Millisecond
	// explainAgain is how long nodes that disagree get, before they are asked once
	// more: longer than what is told of a room takes to reach its owners.
	explainAgain = 150 * time.Millisecond
	maxNamed     = 64 // nodes asked that others name and this one's view lacks
)

// Believe fills in what only a host or only a gateway knows of a room. It ends
// with ctx.
type Believe func(ctx context.Context, room wire.RoomID, b *explain.Belief)

// ServeExplain tells other nodes what this one believes about a room, and serves
// GET /v1/explain?room=KIND/ROOM, for which it asks all of them. Call it before
// the parts run.
func (c *Cluster) ServeExplain(ops *Ops, own Believe) {
	x := &explainer{c, own}
	c.Mesh.OnCall(callExplain, func(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
		room, err := wire.ParseRoom(string(body))
		if err != nil {
			return nil, wire.Refuse(wire.CodeBadRequest, err.Error())
		}
		return json.Marshal(x.believe(ctx, room))
	})
	ops.HandleRole(RoleRead, "GET /v1/explain", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		room, err := wire.ParseRoom(r.URL.Query().Get("room"))
		if err != nil {
			WriteError(w, http.StatusBadRequest, err.Error())
			return
		}
		WriteJSON(w, http.StatusOK, x.explain(r.Context(), room))
	}))
}

// PlaceOf is a location as explanations tell it.
func PlaceOf(l directory.Location) explain.Place {
	return explain.Place{Node: string(l.Node), Addr: l.Addr, Epoch: uint64(l.Epoch), Incarnation: uint64(l.Incarnation)}
}

type explainer struct {
	*Cluster
	own Believe
}

// believe is what this node believes.
func (x *explainer) believe(ctx context.Context, room wire.RoomID) explain.Belief {
	v := x.Members.View()
	b := explain.Belief{Node: string(x.ID), Partition: directory.PartitionOf(room), Owners: []string{}, Sees: []string{}}
	if n := v.Node(x.ID); n != nil {
		b.Role = n.Role.String()
	}
	for o := range v.Ring.Owners(b.Partition) {
		b.Owners = append(b.Owners, string(o.ID))
	}
	if x.own != nil {
		x.own(ctx, room, &b)
	}
	for _, p := range b.Named() {
		if v.Node(directory.NodeID(p.Node)) != nil {
			b.Sees = append(b.Sees, p.Node)
		}
	}
	return b
}

// explain asks all nodes, and asks again if they disagree: what passes by itself
// is no news.
func (x *explainer) explain(ctx context.Context, room wire.RoomID) explain.Explanation {
	e := x.once(ctx, room)
	if e.Agree {
		return e
	}
	select {
	case <-time.After(explainAgain):
		return x.once(ctx, room)
	case <-ctx.Done():
		return e
	}
}

// once asks the nodes of this one's view, then those that only others name.
func (x *explainer) once(ctx context.Context, room wire.RoomID) explain.Explanation {
	nodes := x.Members.View().Nodes
	all, missing := x.askNodes(ctx, room, nodes)
	if more := x.named(nodes, all); len(more) > 0 {
		b, m := x.askNodes(ctx, room, more)
		all, missing = append(all, b...), append(missing, m...)
	}
	return explain.Judge(string(room), string(x.ID), all, missing)
}

// named are nodes that answers name and that have not been asked.
func (x *explainer) named(asked []*directory.Node, all []explain.Belief) (more []*directory.Node) {
	known := map[string]bool{}
	for _, n := range asked {
		known[string(n.ID)] = true
	}
	for _, b := range all {
		for _, p := range b.Named() {
			if known[p.Node] || len(more) >= maxNamed {
				continue
			}
			n := x.Members.Find(directory.NodeID(p.Node))
			if n == nil && p.Addr != "" {
				n = &directory.Node{ID: directory.NodeID(p.Node), Role: directory.RoleHost, Link: p.Addr}
			}
			if n != nil {
				known[p.Node] = true
				more = append(more, n)
			}
		}
	}
	return more
}

func (x *explainer) askNodes(ctx context.Context, room wire.RoomID, nodes []*directory.Node) (all []explain.Belief, missing []explain.Missing) {
	ctx, cancel := context.WithTimeout(ctx, explainWithin)
	defer cancel()
	for _, got := range askAll(ctx, nodes, func(n *directory.Node) (explain.Belief, error) { return x.askNode(ctx, room, n) }) {
		if got.err != nil {
			missing = append(missing, got.missing())
			continue
		}
		all = append(all, got.value)
	}
	return all, missing
}

func (x *explainer) askNode(ctx context.Context, room wire.RoomID, n *directory.Node) (b explain.Belief, err error) {
	if n.ID == x.ID {
		return x.believe(ctx, room), nil
	}
	raw, err := x.Mesh.Call(ctx, string(n.ID), n.Link, callExplain, []byte(room))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("decode belief: %w", err)
	}
	if b.Node != string(n.ID) {
		return b, fmt.Errorf("it calls itself %.80q", b.Node)
	}
	return b, nil
}
