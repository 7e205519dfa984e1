package wire

import (
	"encoding/binary"
	"errors"
)

func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Type is a frame's first byte. Clients send below 0x80, gateways from 0x80.
type Type uint8

// Frames from clients.
const (
	TypeHello  Type = 0x01 // u8 minor | 16B instance | bytes16 token | str8 agent
	TypeJoin   Type = 0x02 // u32 ref | u8 mode | str8 kind | str8 name | bytes16 data
	TypeResume Type = 0x03 // u32 ref | bytes16 token | u64 epoch | u64 seq | bytes16 join data
	TypeInput  Type = 0x04 // u32 handle | u64 n | rest payload
	TypeSkip   Type = 0x05 // u32 handle | u64 from | u64 to
	TypeLeave  Type = 0x06 // u32 handle | u64 n (a leave is its instance's last input)
	TypePing   Type = 0x07 // u64 echo
	TypeList   Type = 0x08 // u32 ref | str8 kind | u16 most
	TypeFind   Type = 0x09 // u32 ref | str8 kind | bytes16 filter | bytes16 data; since minor 1, as the next two
	TypeBrowse Type = 0x0A // u32 ref | u8 watch | u16 most | str8 kind | str8 after | bytes16 filter
	TypeQuit   Type = 0x0B // u32 ref of a browse
)

// Frames from gateways.
const (
	TypeWelcome   Type = 0x81 // u8 minor | u32 heartbeat ms | u32 input limit | str8 gateway
	TypeJoined    Type = 0x82 // see Joined
	TypeMessage   Type = 0x83 // u32 handle | u64 seq | rest payload
	TypeLatest    Type = 0x84 // u32 handle | u32 key | rest payload
	TypeEphemeral Type = 0x85 // u32 handle | rest payload
	TypeAck       Type = 0x86 // u32 handle | u64 applied | u64 durable | u64 count
	TypeExpect    Type = 0x87 // u32 handle | u64 next: send again from there
	TypeAttached  Type = 0x88 // see Attached: the room has a new owner
	TypeWaiting   Type = 0x89 // u32 handle | u16 code | u32 for ms
	TypeFailed    Type = 0x8A // u32 handle | u64 n | u16 code | str16 text
	TypeSkipped   Type = 0x8B // u32 handle | u64 from | u64 to
	TypeStore     Type = 0x8C // u32 handle | u8 1 = durable acks run, 0 = paused
	TypeLeft      Type = 0x8D // u32 handle | u16 code | str16 text
	TypeError     Type = 0x8E // u32 ref (0: the connection) | u32 handle (0: none) | u16 code | u32 retry ms | str16 text
	TypePong      Type = 0x8F // u64 echo
	TypeGoAway    Type = 0x90 // u32 come back after ms | u32 spread over ms
	TypeRooms     Type = 0x91 // u32 ref | u16 hosts asked | u16 hosts answered | rest JSON
	TypePage      Type = 0x92 // u32 ref | u8 update | u16 asked | u16 answered | u16 covered | str8 next | rest JSON; since minor 1
)

// Mode says what a join wants.
type Mode uint8

// The modes of a join.
const (
	ModeJoin         Mode = 0 // the room must exist
	ModeCreate       Mode = 1 // the room must not exist
	ModeJoinOrCreate Mode = 2
	ModeAny          Mode = 3 // any open room of the kind; one is made where there is none; name is empty
)

// How a membership was taken up again.
type How uint8

// How an attach went. Anything but HowResumed and HowJoined is followed by
// fresh full state from the room.
const (
	HowJoined  How = 0 // a new member
	HowResumed How = 1 // nothing was lost; what was missed follows
	HowGap     How = 2 // the resume window did not reach back: messages from..to are lost to this client
	HowRewound How = 3 // the room was restored from a checkpoint: what it did after that is undone
)

// Hello opens a connection.
type Hello struct {
	Minor    uint8
	Instance Instance
	Token    []byte
	Agent    string
}

// Join asks to become a member of a room.
type Join struct {
	Ref  uint32
	Mode Mode
	Kind string
	Name string
	Data []byte
}

// Resume asks for a membership back. Position is the last reliable message the
// client has handled; Data is what it joined with, for a room that was
// restored to before the join.
type Resume struct {
	Ref   uint32
	Token []byte
	At    Position
	Data  []byte
}

// InputFrame is one input.
type InputFrame struct {
	Handle  Handle
	N       Input
	Payload []byte
}

// Skip gives up inputs From to To, which the client no longer has.
type Skip struct {
	Handle   Handle
	From, To Input
}

// Leave ends a membership.
type Leave struct {
	Handle Handle
	N      Input
}

// List asks for joinable rooms of a kind.
type List struct {
	Ref  uint32
	Kind string
	Most uint16
}

// Welcome answers a hello. The client sends something at least every
// Heartbeat milliseconds, and gives the connection up when it has heard nothing
// for twice that.
type Welcome struct {
	Minor      uint8
	Heartbeat  uint32
	InputLimit uint32
	Gateway    string
}

// Attach facts shared by Joined and Attached: where the room is, where its
// output goes on from, and what it has of this client's inputs.
//
// Count is how many reliable messages have been addressed to the member up to
// and including Seq; Ack frames carry it on, so that a client can tell that it
// missed none. From and To tell, for HowGap and HowRewound, which messages
// were lost or undone (0, 0 where that is not known).
type Attach struct {
	How         How
	Host        string
	Epoch       Epoch
	Incarnation Incarnation
	Seq         Seq
	Count       uint64
	Applied     Input
	Durable     Input
	From, To    Seq
}

// Joined answers a join or a resume:
//
//	u32 ref | u32 handle | str8 kind | str8 name | u64 member | attach | bytes16 token
//
// attach is
//
//	u8 how | str8 host | u64 epoch | u64 incarnation | u64 seq | u64 count | u64 applied | u64 durable | u64 from | u64 to
type Joined struct {
	Ref    uint32
	Handle Handle
	Kind   string
	Name   string
	Member MemberID
	Attach
	Token []byte
}

// Attached tells that the room of a handle has a new owner or lost its link to
// the old one, and how the membership came through:
//
//	u32 handle | attach | bytes16 token
type Attached struct {
	Handle Handle
	Attach
	Token []byte
}

// Ack is cumulative. A client may forget inputs up to Durable.
type Ack struct {
	Handle  Handle
	Applied Input
	Durable Input
	Count   uint64
}

// ErrorFrame refuses a request (Ref), tells of a room (Handle), or of the
// connection (both 0).
type ErrorFrame struct {
	Ref    uint32
	Handle Handle
	Error
}

var be = binary.BigEndian
