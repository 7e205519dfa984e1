package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
)

// callReport asks a process for its NodeReport, as JSON: with its rooms, unless the
// body is withoutRooms.
const (
	callReport   = 0x3f
	withoutRooms = "brief"
)

// Bounds of an overview.
const (
	MaxReportedRooms = 10_000 // of one host; RoomsLeftOff says how many more there are
	reportWithin     = 2 * time.Second
)

// NodeReport is what one process says of itself.
type NodeReport struct {
	Node  string `json:"node"` // NAME#BOOT
	Name  string `json:"name"`
	Role  string `json:"role"`
	Build string `json:"build"`
	Link  string `json:"link"`
	Ops   string `json:"ops"`
	UpMS  int64  `json:"up_ms"`
	Sees  int    `json:"sees"` // nodes in its view

	// Secrets names the cluster's secrets that the process takes, the one that it
	// uses first.
	Secrets []string `json:"secrets,omitempty"`

	Kinds       []string `json:"kinds,omitempty"`
	Draining    bool     `json:"draining,omitempty"`
	Connections int      `json:"connections"`
	RoomCount   int      `json:"room_count"`
	Members     int      `json:"members"`

	Isolated []IsolatedReport `json:"isolated,omitempty"` // kinds that the host runs in processes of their own

	Rooms        []RoomReport `json:"rooms,omitempty"`
	RoomsLeftOff int          `json:"rooms_left_off,omitempty"`
}

// IsolatedReport is the process of a host's isolated kind. It is a host of its
// own besides.
type IsolatedReport struct {
	Kind   string `json:"kind"`
	State  string `json:"state"`
	Node   string `json:"node,omitempty"` // NAME#BOOT
	PID    int    `json:"pid,omitempty"`
	Memory int64  `json:"memory_bytes"`
	Deaths int    `json:"deaths"` // since the host started
	Last   string `json:"last_death,omitempty"`
}

// RoomReport is one live room.
type RoomReport struct {
	Room        string            `json:"room"` // KIND/ROOM
	Host        string            `json:"host"` // the host's name
	Epoch       uint64            `json:"epoch"`
	Incarnation uint64            `json:"incarnation"`
	Members     int               `json:"members"`
	Max         int               `json:"max"`
	Connected   int               `json:"connected"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// Overview is what all processes say of themselves, and how many did.
type Overview struct {
	Gateways     []NodeReport `json:"gateways"`
	Hosts        []NodeReport `json:"hosts"`
	Rooms        []RoomReport `json:"rooms"`
	RoomsLeftOff int          `json:"rooms_left_off"`
	Asked        int          `json:"asked"`
	Answered     int          `json:"answered"`
	Missing      []Missing    `json:"missing"`
	Lost         []LostNode   `json:"lost"`
}

// LostNode is a node that was not asked: gossip does not hear it any more, and it
// has not ended.
type LostNode struct {
	Node     string `json:"node"`
	Role     string `json:"role"`
	SilentMS int64  `json:"silent_ms"`
}

// Missing is a node that did not answer.
type Missing struct {
	Node  string `json:"node"`
	Role  string `json:"role"`
	Error string `json:"error"`
}

// Report fills in what every process knows of itself.
func (c *Cluster) Report() NodeReport {
	view := c.Members.View()
	r := NodeReport{
		Node: string(c.ID), Name: c.ID.Name(), Build: Version(), Link: c.Addr,
		UpMS: time.Since(c.begun).Milliseconds(), Sees: len(view.Nodes),
		Secrets: c.Keys.IDs(),
	}
	if n := view.Node(c.ID); n != nil {
		r.Role, r.Ops, r.Kinds, r.Draining = n.Role.String(), n.Ops, n.Kinds, n.Draining
	}
	return r
}

// SetRooms fills in a host's rooms, the first MaxReportedRooms by name.
func (r *NodeReport) SetRooms(rooms []RoomReport) {
	slices.SortFunc(rooms, func(a, b RoomReport) int { return cmp.Compare(a.Room, b.Room) })
	r.RoomCount, r.Members = len(rooms), 0
	for _, room := range rooms {
		r.Members += room.Members
	}
	r.RoomsLeftOff = max(0, len(rooms)-MaxReportedRooms)
	r.Rooms = rooms[:len(rooms)-r.RoomsLeftOff]
}

// ServeReports answers other processes' questions for report, and serves
// /v1/status (this process) and /v1/cluster (all of them). Call it before the
// parts run.
func (c *Cluster) ServeReports(ops *Ops, report func() NodeReport) {
	c.Mesh.OnCall(callReport, func(_ context.Context, _ *link.Link, body []byte) ([]byte, error) {
		r := report()
		if string(body) == withoutRooms {
			r.Rooms, r.RoomsLeftOff = nil, 0
		}
		return encodeReport(r)
	})
	ops.HandleJSON("GET /v1/status", func(*http.Request) (any, error) {
		r := report()
		r.Rooms, r.RoomsLeftOff = nil, 0
		return map[string]any{"self": r, "nodes": c.seen()}, nil
	})
	ops.HandleJSON("GET /v1/cluster", func(req *http.Request) (any, error) {
		return c.overview(req.Context(), report()), nil
	})
}

// NodeSeen is a node as this process's view has it, by gossip.
type NodeSeen struct {
	Node     string   `json:"node"`
	Role     string   `json:"role"`
	Build    string   `json:"build"`
	Gossip   string   `json:"gossip"`
	Link     string   `json:"link"`
	Ops      string   `json:"ops"`
	Kinds    []string `json:"kinds,omitempty"`
	Draining bool     `json:"draining,omitempty"`
	Rooms    uint16   `json:"rooms"`
	Members  uint32   `json:"members"`
	CPU      uint8    `json:"cpu"`    // percent
	Memory   uint8    `json:"memory"` // percent
	Full     bool     `json:"full,omitempty"`

	Labels map[string]string `json:"labels,omitempty"`
}

func (c *Cluster) seen() []NodeSeen {
	nodes := c.Members.View().Nodes
	seen := make([]NodeSeen, len(nodes))
	for i, n := range nodes {
		seen[i] = seenAs(n)
	}
	return seen
}

func seenAs(n *directory.Node) NodeSeen {
	return NodeSeen{
		Node: string(n.ID), Role: n.Role.String(), Build: n.Build,
		Gossip: n.Gossip, Link: n.Link, Ops: n.Ops, Kinds: n.Kinds, Draining: n.Draining,
		Rooms: n.Load.Rooms, Members: n.Load.Members, CPU: n.Load.CPU,
		Memory: n.Load.Memory, Full: n.Load.Full, Labels: n.Labels,
	}
}

// encodeReport leaves rooms off until the answer fits a link's frame.
func encodeReport(r NodeReport) ([]byte, error) {
	for {
		raw, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode report: %w", err)
		}
		if len(raw) < link.MaxFrame/2 || len(r.Rooms) == 0 {
			return raw, nil
		}
		keep := len(r.Rooms) / 2
		r.RoomsLeftOff += len(r.Rooms) - keep
		r.Rooms = r.Rooms[:keep]
	}
}

// overview asks every node in the view.
func (c *Cluster) overview(ctx context.Context, self NodeReport) Overview {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	o := compose(askAll(ctx, c.Members.View().Nodes, func(n *directory.Node) (NodeReport, error) {
		if n.ID == c.ID {
			return self, nil
		}
		return c.reportOf(ctx, n, true)
	}))
	for _, l := range c.Members.Lost() {
		o.Lost = append(o.Lost, LostNode{string(l.ID), l.Role.String(), time.Since(l.Since).Milliseconds()})
	}
	return o
}

func (c *Cluster) reportOf(ctx context.Context, n *directory.Node, rooms bool) (NodeReport, error) {
	if n.Link == "" {
		return NodeReport{}, errors.New("node has no link address")
	}
	l, err := c.Mesh.Link(ctx, string(n.ID), n.Link)
	if err != nil {
		return NodeReport{}, err
	}
	var body []byte
	if !rooms {
		body = []byte(withoutRooms)
	}
	raw, err := l.Call(ctx, callReport, body)
	if err != nil {
		return NodeReport{}, err
	}
	var r NodeReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return NodeReport{}, fmt.Errorf("decode report: %w", err)
	}
	return r, nil
}

func compose(all []answer[NodeReport]) Overview {
	o := Overview{
		Gateways: []NodeReport{}, Hosts: []NodeReport{}, Rooms: []RoomReport{}, Missing: []Missing{}, Lost: []LostNode{},
		Asked: len(all),
	}
	for _, a := range all {
		n, r := a.node, a.value
		if a.err != nil {
			o.Missing = append(o.Missing, Missing{Node: string(n.ID), Role: n.Role.String(), Error: a.err.Error()})
			continue
		}
		o.Answered++
		o.Rooms = append(o.Rooms, r.Rooms...)
		o.RoomsLeftOff += r.RoomsLeftOff
		r.Rooms, r.RoomsLeftOff = nil, 0
		if n.Role == directory.RoleGateway {
			o.Gateways = append(o.Gateways, r)
		} else {
			o.Hosts = append(o.Hosts, r)
		}
	}
	slices.SortFunc(o.Rooms, func(a, b RoomReport) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Epoch, b.Epoch))
	})
	return o
}
