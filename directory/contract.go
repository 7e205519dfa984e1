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
	"time"

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

	// For ModeAny: which rooms will do, who the seat is for, and rooms that it
	// must not be in. A room that is made gets the filter's labels and pool.
	Filter   wire.Filter
	Member   wire.MemberID
	NotRooms []wire.RoomID // at most MaxNotRooms

	made *Made // on the way of a room that a search makes
}

// MaxNotRooms bounds the rooms that a search passes over.
const MaxNotRooms = 32

// Made is what a room is made with that a search asked for.
type Made struct {
	Labels map[string]string `cbor:"1,keyasint,omitempty"`
	By     NodeID            `cbor:"2,keyasint,omitempty"` // whose search it was
}

// Reservation asks for seats in a room. They are held for the member for
// ReservedFor: one for itself, the others for whoever joins by name.
type Reservation struct {
	Room   wire.RoomID   `cbor:"1,keyasint"`
	Member wire.MemberID `cbor:"2,keyasint"`
	Filter wire.Filter   `cbor:"3,keyasint"` // which the room must match still
}

// ReservedFor is how long a room keeps a seat for one who was sent to it.
const ReservedFor = 5 * time.Second

func (q *Request) want() Want {
	w := Want{Room: q.Room, Build: q.Filter.Build}
	if q.made != nil {
		w.Labels = q.made.Labels
	}
	return w
}

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
	// Create is Activate with ModeCreate for a room that a search makes.
	Create(ctx context.Context, room wire.RoomID, floor wire.Epoch, made Made) (Location, error)
	// Open lists rooms that take members now and match the filter, the fullest
	// first, at most most; more tells that there are others.
	Open(kind string, f wire.Filter, most int) (rooms []OpenRoom, more bool)
	// Page lists the same by name, from the first behind after on.
	Page(kind string, f wire.Filter, after string, most int) (rooms []OpenRoom, more bool)
	// Rooms is how many rooms live here.
	Rooms() int
	// Reserve holds seats in a room that lives here. Where it can't, the error
	// is a *wire.Error; the room is told as it is, unless it is not here.
	Reserve(ctx context.Context, want Reservation) (OpenRoom, error)
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

	Reserved int        `cbor:"5,keyasint,omitempty" json:"reserved,omitempty"` // seats kept for who is on the way
	Epoch    wire.Epoch `cbor:"6,keyasint,omitempty" json:"-"`
	Rev      uint64     `cbor:"7,keyasint,omitempty" json:"-"` // rises with every change of the copy
	By       NodeID     `cbor:"8,keyasint,omitempty" json:"-"` // whose search made it
	AgeMS    int64      `cbor:"9,keyasint,omitempty" json:"-"` // of the copy

	Incarnation wire.Incarnation `cbor:"10,keyasint,omitempty" json:"-"`
}

// Free is how many seats nobody has or is on the way to.
func (o *OpenRoom) Free() int { return o.Max - o.Members - o.Reserved }

// newer reports whether o tells of a later moment of the room than p.
func (o *OpenRoom) newer(p *OpenRoom) bool {
	return o.Epoch > p.Epoch || o.Epoch == p.Epoch && o.Rev > p.Rev
}
