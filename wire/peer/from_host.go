package peer

import "github.com/limpet-games/limpet/wire"

// AppendAttached encodes a body of KindAttached. Generation is the one that
// now holds the membership.
func AppendAttached(b []byte, w Who, a wire.Attach) []byte {
	return a.Append(appendWho(b, w))
}

// DecodeAttached decodes a body of KindAttached.
func DecodeAttached(p []byte) (Who, wire.Attach, error) {
	r := wire.NewReader(p)
	w := readWho(&r)
	a := wire.ReadAttach(&r)
	return w, a, named(&r, "attached")
}

// AppendRefused encodes a body of KindRefused. CodeNone means: the room is not
// here, look it up again.
func AppendRefused(b []byte, w Who, e *wire.Error) []byte {
	b = be.AppendUint16(appendWho(b, w), uint16(e.Code))
	b = be.AppendUint32(b, e.RetryMS)
	return wire.AppendStr16(b, e.Text[:min(len(e.Text), wire.MaxReasonLen)])
}

// DecodeRefused decodes a body of KindRefused.
func DecodeRefused(p []byte) (Who, *wire.Error, error) {
	r := wire.NewReader(p)
	w := readWho(&r)
	e := &wire.Error{Code: wire.Code(r.U16("code")), RetryMS: r.U32("retry")}
	e.Text = r.Str16("text", wire.MaxReasonLen)
	return w, e, named(&r, "refused")
}

// Audience says who gets an output.
type Audience uint8

// The audiences of an output.
const (
	ToAll    Audience = 0 // every member behind this gateway
	ToOnly   Audience = 1 // the members listed
	ToAllBut Audience = 2 // every member behind this gateway but those listed
)

// Output is a room's message to members behind one gateway:
//
//	u32 handle | u64 epoch | u8 audience | u16 listed | listed x u64 member | rest client frame
//
// The client frame is whole, with the gateway's handle in it, so that the
// gateway writes it as it came.
type Output struct {
	Handle   wire.Handle
	Epoch    wire.Epoch
	Audience Audience
	listed   []byte
	Frame    []byte
}

// AppendOutputHead encodes a body of KindOutput up to the client frame, which
// the caller appends.
func AppendOutputHead(b []byte, h wire.Handle, e wire.Epoch, a Audience, listed []wire.MemberID) []byte {
	b = be.AppendUint64(be.AppendUint32(b, uint32(h)), uint64(e))
	b = be.AppendUint16(append(b, byte(a)), uint16(len(listed)))
	for _, m := range listed {
		b = be.AppendUint64(b, uint64(m))
	}
	return b
}

// DecodeOutput decodes a body of KindOutput without allocating; the result
// aliases it.
func DecodeOutput(p []byte) (Output, error) {
	r := wire.NewReader(p)
	f := Output{Handle: wire.Handle(r.U32("handle")), Epoch: wire.Epoch(r.U64("epoch"))}
	f.Audience = Audience(r.U8("audience"))
	n := int(r.U16("listed"))
	f.listed = r.Fixed("members", 8*n)
	f.Frame = r.Rest("frame", r.Len())
	return f, named(&r, "output")
}

// Listed is how many members are listed.
func (f *Output) Listed() int { return len(f.listed) / 8 }

// Member is the i-th listed member.
func (f *Output) Member(i int) wire.MemberID {
	return wire.MemberID(be.Uint64(f.listed[8*i:]))
}

// MemberAck is one member's part of KindAcks.
type MemberAck struct {
	Member  wire.MemberID
	Applied wire.Input
	Durable wire.Input
	Count   uint64
}

// AppendAcksHead encodes a body of KindAcks up to its first member.
func AppendAcksHead(b []byte, h wire.Handle, e wire.Epoch) []byte {
	return be.AppendUint64(be.AppendUint32(b, uint32(h)), uint64(e))
}

// Append encodes one member's part onto b.
func (a MemberAck) Append(b []byte) []byte {
	b = be.AppendUint64(b, uint64(a.Member))
	b = be.AppendUint64(b, uint64(a.Applied))
	b = be.AppendUint64(b, uint64(a.Durable))
	return be.AppendUint64(b, a.Count)
}

// DecodeAcks decodes a body of KindAcks; each is called for every member.
func DecodeAcks(p []byte, each func(h wire.Handle, e wire.Epoch, a MemberAck)) error {
	r := wire.NewReader(p)
	h, e := wire.Handle(r.U32("handle")), wire.Epoch(r.U64("epoch"))
	for r.Err() == nil && r.Len() > 0 {
		a := MemberAck{Member: wire.MemberID(r.U64("member")), Applied: wire.Input(r.U64("applied"))}
		a.Durable = wire.Input(r.U64("durable"))
		a.Count = r.U64("count")
		if r.Err() == nil {
			each(h, e, a)
		}
	}
	return named(&r, "acks")
}

// AppendTell encodes a body of KindTell up to the client frame, which the
// caller appends: an Expect, Failed, Skipped, Store, or a Message that a
// resume sends again.
func AppendTell(b []byte, w Who) []byte { return appendWho(b, w) }

// DecodeTell decodes a body of KindTell; frame aliases it.
func DecodeTell(p []byte) (w Who, frame []byte, err error) {
	r := wire.NewReader(p)
	w = readWho(&r)
	frame = r.Rest("frame", r.Len())
	return w, frame, named(&r, "tell")
}

// AppendLeft encodes a body of KindLeft.
func AppendLeft(b []byte, w Who, code wire.Code, text string) []byte {
	b = be.AppendUint16(appendWho(b, w), uint16(code))
	return wire.AppendStr16(b, text[:min(len(text), wire.MaxReasonLen)])
}

// DecodeLeft decodes a body of KindLeft.
func DecodeLeft(p []byte) (w Who, code wire.Code, text string, err error) {
	r := wire.NewReader(p)
	w = readWho(&r)
	code = wire.Code(r.U16("code"))
	text = r.Str16("text", wire.MaxReasonLen)
	return w, code, text, named(&r, "left")
}

// Gone tells that a room is over on this host. With CodeNone it lives or will
// live elsewhere at a higher epoch (it was fenced, moved, or its host drains):
// the gateway finds it again and re-attaches its members. Any other code ends
// every membership with that code.
type Gone struct {
	Handle wire.Handle
	Epoch  wire.Epoch
	Code   wire.Code
	Text   string
}

// Append encodes the body onto b.
func (f Gone) Append(b []byte) []byte {
	b = be.AppendUint64(be.AppendUint32(b, uint32(f.Handle)), uint64(f.Epoch))
	b = be.AppendUint16(b, uint16(f.Code))
	return wire.AppendStr16(b, f.Text[:min(len(f.Text), wire.MaxReasonLen)])
}

// DecodeGone decodes a body of KindGone.
func DecodeGone(p []byte) (Gone, error) {
	r := wire.NewReader(p)
	f := Gone{Handle: wire.Handle(r.U32("handle")), Epoch: wire.Epoch(r.U64("epoch"))}
	f.Code = wire.Code(r.U16("code"))
	f.Text = r.Str16("text", wire.MaxReasonLen)
	return f, named(&r, "gone")
}

// Moved tells where a room went that was here in Epoch, ahead of the Gone or
// Refused that sends the gateway there: it needs no lookup.
type Moved struct {
	Handle      wire.Handle
	Epoch       wire.Epoch
	Next        wire.Epoch
	Incarnation wire.Incarnation
	Node        string // NAME#BOOT
	Addr        string // its link address
}

// Append encodes the body onto b.
func (f Moved) Append(b []byte) []byte {
	b = be.AppendUint64(be.AppendUint32(b, uint32(f.Handle)), uint64(f.Epoch))
	b = be.AppendUint64(be.AppendUint64(b, uint64(f.Next)), uint64(f.Incarnation))
	return wire.AppendStr8(wire.AppendStr8(b, f.Node), f.Addr)
}

// DecodeMoved decodes a body of KindMoved.
func DecodeMoved(p []byte) (Moved, error) {
	r := wire.NewReader(p)
	f := Moved{Handle: wire.Handle(r.U32("handle")), Epoch: wire.Epoch(r.U64("epoch"))}
	f.Next, f.Incarnation = wire.Epoch(r.U64("next epoch")), wire.Incarnation(r.U64("incarnation"))
	f.Node, f.Addr = r.Str8("node", 255), r.Str8("address", 255)
	return f, named(&r, "moved")
}
