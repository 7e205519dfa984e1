// Package directory finds the one live copy of a room: a distributed hash
// table over the room hosts, on SWIM gossip.
//
// Membership (Members) says who seems alive. Rooms hash to partitions (Ring);
// a partition's owner keeps its rooms' entries and serialises their
// activation (Service). Anyone finds a room through a Resolver, which asks the
// owner and keeps a bounded cache. All of it is soft state: the claim in the
// store settles what views disagree about.
package directory

import (
	"context"

	"github.com/limpet-games/limpet/wire"
)

// NodeID names one process: its node name and its boot, as NAME#BOOT with the
// boot in hex. A restart under the same name is another node.
type NodeID string

// Role is what a node does.
type Role uint8

// The roles of a node.
const (
	RoleGateway Role = 1
	RoleHost    Role = 2
)

// Location is where a room lives.
type Location struct {
	Room        wire.RoomID
	Node        NodeID
	Addr        string // the node's link address
	Epoch       wire.Epoch
	Incarnation wire.Incarnation
}

// Request asks where a room lives, and to make it live somewhere.
type Request struct {
	Room wire.RoomID // for ModeAny only the kind counts
	Mode wire.Mode
	// After is the highest epoch the asker knows to be over: an answer's epoch
	// is above it. 0 where the asker knows nothing.
	After wire.Epoch
	// Not is the node on which the asker just failed to find the room.
	Not NodeID
}

func (q *Request) want() Want { return Want{Room: q.Room} }

// Host is what the directory needs of a room host. Implemented by rooms/host.
type Host interface {
	// Activate makes the room live here, or says why not: an error carries a
	// *wire.Error, or *HeldElsewhere. A room that lives here already is
	// answered at once. Concurrent calls for one room share one activation.
	Activate(ctx context.Context, room wire.RoomID, mode wire.Mode, floor wire.Epoch) (Location, error)
	// Live calls yield for every room that lives here, for registration.
	Live(yield func(Location) bool)
	// Superseded tells that a room which lives here also lives, or lived, at a
	// place with a higher epoch: the store granted it to another copy, so this
	// one must be over. Called for many places of which few are news: it looks
	// for its copy and returns; what has to wait waits elsewhere.
	Superseded(newer Location)
	// Open lists rooms of a kind that take members now, at most most.
	Open(kind string, most int) []OpenRoom
}

// HeldElsewhere answers an activation of a room that another live process
// holds.
type HeldElsewhere struct {
	Node  NodeID
	Epoch wire.Epoch
}

// Error names the holder.
func (e *HeldElsewhere) Error() string { return "room is held by " + string(e.Node) }

// OpenRoom is a room that takes members, for find-or-create and lists.
type OpenRoom struct {
	Room    wire.RoomID       `cbor:"1,keyasint" json:"room"`
	Members int               `cbor:"2,keyasint" json:"members"`
	Max     int               `cbor:"3,keyasint" json:"max"`
	Labels  map[string]string `cbor:"4,keyasint,omitempty" json:"labels,omitempty"`
}
