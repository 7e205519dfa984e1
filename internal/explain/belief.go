// Package explain holds what the nodes of a cluster believe about one room, and
// says where they disagree and what will end that. It asks nobody: whoever does
// hands the answers to Judge.
package explain

import "time"

// StoreWithin bounds a host's questions to its store about one room. Who asks
// hosts what they believe waits longer.
const StoreWithin = time.Second

// Belief is what one node believes about a room, and about what it takes for the
// nodes that are in charge of it.
type Belief struct {
	Node      string   `json:"node"` // NAME#BOOT
	Role      string   `json:"role"`
	Partition int      `json:"partition"`
	Owners    []string `json:"owners"` // of the partition, in this node's view, the primary first
	Sees      []string `json:"sees"`   // of the nodes that this answer names, those in its view

	Entry *Place `json:"entry,omitempty"` // hosts: in its part of the directory
	Copy  *Copy  `json:"copy,omitempty"`  // hosts: that runs here
	Claim *Claim `json:"claim,omitempty"` // hosts that own the partition or have a copy: what the store told it
	// StoreError is why the store told it nothing, although it was asked.
	StoreError string `json:"store_error,omitempty"`

	Cache *Place `json:"cache,omitempty"` // gateways: the lookup that it remembers
	Route *Route `json:"route,omitempty"` // gateways with members in the room
}

// Named are the places that the node has the room at, and who holds its claim.
func (b *Belief) Named() (all []Place) {
	for _, p := range []*Place{b.Entry, b.Cache} {
		if p != nil {
			all = append(all, *p)
		}
	}
	if b.Route != nil && b.Route.Node != "" {
		all = append(all, b.Route.Place)
	}
	if b.Claim != nil && b.Claim.Holder != "" {
		all = append(all, Place{Node: b.Claim.process()})
	}
	return all
}

// Place is where somebody has a room.
type Place struct {
	Node        string `json:"node"`
	Addr        string `json:"addr,omitempty"`
	Epoch       uint64 `json:"epoch"`
	Incarnation uint64 `json:"incarnation"`
}

// Copy is a room in a host's memory.
type Copy struct {
	Epoch       uint64 `json:"epoch"`
	Incarnation uint64 `json:"incarnation"`
	Nonce       string `json:"nonce"` // in hex
	State       string `json:"state"`
	Members     int    `json:"members"`
	Connected   int    `json:"connected"`
}

// The states of a copy.
const (
	Starting  = "starting" // it is being claimed or loaded; it has no epoch yet
	Running   = "running"
	Moving    = "moving"
	Checked   = "being checked" // against the store: another copy is said to have replaced it
	Mute      = "mute"          // its host's lease has ended: it says nothing
	Leaseless = "without lease" // it runs although the store can't be reached
	Ending    = "ending"
)

// Claim is the store's word on who may write a room.
type Claim struct {
	None        bool   `json:"none,omitempty"` // the store knows no such room
	Epoch       uint64 `json:"epoch"`
	Incarnation uint64 `json:"incarnation"`
	Nonce       string `json:"nonce"`  // in hex
	Holder      string `json:"holder"` // NAME#BOOT/LEASE
	LeaseAlive  bool   `json:"lease_alive"`
	Closed      bool   `json:"closed,omitempty"` // the room has ended
}

// Route is where a gateway's members of a room are attached.
type Route struct {
	Place
	Members   int    `json:"members"`              // here
	Finding   bool   `json:"finding,omitempty"`    // they wait: the room's host is looked for
	OverUntil uint64 `json:"over_until,omitempty"` // epochs up to this one are over, as this gateway knows
}

// Missing is a node that did not answer.
type Missing struct {
	Node string `json:"node"`
	Role string `json:"role,omitempty"`
	Why  string `json:"why"`
}

// Finding is one thing that nodes disagree about.
type Finding struct {
	Nodes []string `json:"nodes"` // that are wrong, or that can't be right together
	What  string   `json:"what"`
	Ends  string   `json:"ends"` // what will end it, and when
}

// Explanation is what all nodes that answered believe about a room.
type Explanation struct {
	Room      string    `json:"room"` // KIND/NAME
	By        string    `json:"by"`   // the node that asked
	Partition int       `json:"partition"`
	Summary   string    `json:"summary"`
	Agree     bool      `json:"agree"` // of those that answered
	Findings  []Finding `json:"disagreements"`
	Nodes     []Belief  `json:"nodes"`
	Asked     int       `json:"asked"`
	Answered  int       `json:"answered"`
	Missing   []Missing `json:"missing"`
}
