// Package peer is what gateways and room hosts say to each other about rooms,
// as one-way messages over a link (internal/link). The link's kind byte tells
// the frame; the body is laid out as the comment beside the kind says, in the
// notation of package wire.
//
// A gateway names a room on a link by a handle of its own choosing; the first
// Attach under a handle binds it, Release frees it. Every message about a
// member carries the membership's generation, so that a late one of an old
// connection can't touch a newer one.
package peer

import (
	"encoding/binary"
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

// Kind tells a frame. The range 0x40-0x5f of link kinds is this package's.
type Kind = uint8

// From gateways to hosts.
const (
	KindAttach  Kind = 0x40 // see Attach
	KindInput   Kind = 0x41 // u32 handle | u64 member | u32 generation | u64 n | rest payload
	KindSkip    Kind = 0x42 // u32 handle | u64 member | u32 generation | u64 from | u64 to
	KindLeave   Kind = 0x43 // u32 handle | u64 member | u32 generation | u64 n
	KindDetach  Kind = 0x44 // u32 handle | u64 member | u32 generation: its connection is gone
	KindRelease Kind = 0x45 // u32 handle
)

// From hosts to gateways.
const (
	KindAttached Kind = 0x50 // u32 handle | u64 member | u32 generation | attach (see wire.Joined)
	KindRefused  Kind = 0x51 // u32 handle | u64 member | u32 generation | u16 code | u32 retry ms | str16 text
	KindOutput   Kind = 0x52 // see Output
	KindAcks     Kind = 0x53 // u32 handle | u64 epoch | then for each: u64 member | u64 applied | u64 durable | u64 count
	KindTell     Kind = 0x54 // u32 handle | u64 member | u32 generation | rest client frame, for that member alone
	KindLeft     Kind = 0x55 // u32 handle | u64 member | u32 generation | u16 code | str16 text: the membership is over
	KindGone     Kind = 0x56 // u32 handle | u64 epoch | u16 code | str16 text: see Gone
	KindMoved    Kind = 0x57 // u32 handle | u64 epoch | u64 next epoch | u64 incarnation | str8 node | str8 address: see Moved
)

// Why an Attach is sent.
type Why uint8

// The reasons for an Attach.
const (
	WhyJoin     Why = 0 // a new membership, drawn by the gateway
	WhyResume   Why = 1 // a client came back with a token; Generation is the token's
	WhyReattach Why = 2 // the gateway lost the room's host, or was sent on; the connection never closed
	WhyBehind   Why = 3 // as WhyReattach, of a client that read too slowly: it gets full state for what it missed; older hosts answer wire.CodeBadRequest
)

// Attach binds a membership to a gateway's connection:
//
//	u32 handle | u64 member | u32 generation | 16B instance | u8 why | u64 incarnation
//	| u64 epoch | u64 seq | str8 kind | str8 name | str8 user | bytes16 data [| bytes16 claims]
//
// It is idempotent by member: a host that has the member takes it up, one that
// does not admits it with the data (a room restored to before the join). At is
// the last reliable message written to the client. Incarnation is 0 for a new
// membership; a room of another incarnation answers wire.CodeEnded. Claims, a
// JSON object, are there only where the user's token had any: older peers
// neither send nor read them.
type Attach struct {
	Handle      wire.Handle
	Member      wire.MemberID
	Generation  wire.Generation
	Instance    wire.Instance
	Why         Why
	Incarnation wire.Incarnation
	At          wire.Position
	Room        wire.RoomID
	User        string
	Data        []byte
	Claims      []byte
}

// MaxClaims bounds the claims of an Attach, in bytes.
const MaxClaims = 2 << 10

// Append encodes the body onto b.
func (f Attach) Append(b []byte) []byte {
	b = appendWho(b, Who{f.Handle, f.Member, f.Generation})
	b = append(b, f.Instance[:]...)
	b = append(b, byte(f.Why))
	b = be.AppendUint64(b, uint64(f.Incarnation))
	b = be.AppendUint64(b, uint64(f.At.Epoch))
	b = be.AppendUint64(b, uint64(f.At.Seq))
	b = wire.AppendStr8(b, f.Room.Kind())
	b = wire.AppendStr8(b, f.Room.Name())
	b = wire.AppendStr8(b, f.User)
	b = wire.AppendBytes16(b, f.Data)
	if len(f.Claims) == 0 {
		return b
	}
	return wire.AppendBytes16(b, f.Claims)
}

// DecodeAttach decodes a body of KindAttach. Data and Claims alias it.
func DecodeAttach(p []byte) (Attach, error) {
	r := wire.NewReader(p)
	who := readWho(&r)
	f := Attach{Handle: who.Handle, Member: who.Member, Generation: who.Generation}
	copy(f.Instance[:], r.Fixed("instance", len(f.Instance)))
	f.Why = Why(r.U8("why"))
	f.Incarnation = wire.Incarnation(r.U64("incarnation"))
	f.At = wire.Position{Epoch: wire.Epoch(r.U64("epoch")), Seq: wire.Seq(r.U64("seq"))}
	kind, name := r.Str8("kind", wire.MaxKindLen), r.Str8("name", wire.MaxRoomNameLen)
	if r.Err() == nil {
		r.Fail(wire.CheckKind(kind))
		r.Fail(wire.CheckName(name))
	}
	f.Room = wire.Room(kind, name)
	f.User = r.Str8("user", wire.MaxUserLen)
	f.Data = r.Bytes16("data", wire.MaxJoinData)
	if r.Err() == nil && r.Len() > 0 {
		if f.Claims = r.Bytes16("claims", MaxClaims); len(f.Claims) == 0 {
			f.Claims = nil // as where they are left out
		}
	}
	return f, named(&r, "attach")
}

// Who addresses a message to or from one membership.
type Who struct {
	Handle     wire.Handle
	Member     wire.MemberID
	Generation wire.Generation
}

func appendWho(b []byte, w Who) []byte {
	b = be.AppendUint32(b, uint32(w.Handle))
	b = be.AppendUint64(b, uint64(w.Member))
	return be.AppendUint32(b, uint32(w.Generation))
}

func readWho(r *wire.Reader) Who {
	return Who{
		Handle:     wire.Handle(r.U32("handle")),
		Member:     wire.MemberID(r.U64("member")),
		Generation: wire.Generation(r.U32("generation")),
	}
}

// AppendInput encodes a body of KindInput.
func AppendInput(b []byte, w Who, n wire.Input, payload []byte) []byte {
	return append(be.AppendUint64(appendWho(b, w), uint64(n)), payload...)
}

// DecodeInput decodes a body of KindInput. The payload aliases it.
func DecodeInput(p []byte) (w Who, n wire.Input, payload []byte, err error) {
	r := wire.NewReader(p)
	w = readWho(&r)
	n = wire.Input(r.U64("n"))
	payload = r.Rest("payload", wire.MaxInput)
	return w, n, payload, named(&r, "input")
}

// AppendSkip encodes a body of KindSkip.
func AppendSkip(b []byte, w Who, from, to wire.Input) []byte {
	b = be.AppendUint64(appendWho(b, w), uint64(from))
	return be.AppendUint64(b, uint64(to))
}

// DecodeSkip decodes a body of KindSkip.
func DecodeSkip(p []byte) (w Who, from, to wire.Input, err error) {
	r := wire.NewReader(p)
	w = readWho(&r)
	from, to = wire.Input(r.U64("from")), wire.Input(r.U64("to"))
	return w, from, to, named(&r, "skip")
}

// AppendLeave encodes a body of KindLeave.
func AppendLeave(b []byte, w Who, n wire.Input) []byte {
	return be.AppendUint64(appendWho(b, w), uint64(n))
}

// DecodeLeave decodes a body of KindLeave.
func DecodeLeave(p []byte) (w Who, n wire.Input, err error) {
	r := wire.NewReader(p)
	w = readWho(&r)
	n = wire.Input(r.U64("n"))
	return w, n, named(&r, "leave")
}

// AppendDetach encodes a body of KindDetach.
func AppendDetach(b []byte, w Who) []byte { return appendWho(b, w) }

// DecodeDetach decodes a body of KindDetach.
func DecodeDetach(p []byte) (Who, error) {
	r := wire.NewReader(p)
	w := readWho(&r)
	return w, named(&r, "detach")
}

// AppendRelease encodes a body of KindRelease.
func AppendRelease(b []byte, h wire.Handle) []byte { return be.AppendUint32(b, uint32(h)) }

// DecodeRelease decodes a body of KindRelease.
func DecodeRelease(p []byte) (wire.Handle, error) {
	r := wire.NewReader(p)
	h := wire.Handle(r.U32("handle"))
	return h, named(&r, "release")
}

var be = binary.BigEndian

func named(r *wire.Reader, frame string) error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("%s message: %w", frame, err)
	}
	return nil
}
