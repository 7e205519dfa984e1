package wire

// Append encodes the frame onto b.
func (f Welcome) Append(b []byte) []byte {
	b = append(b, byte(TypeWelcome), f.Minor)
	b = be.AppendUint32(b, f.Heartbeat)
	b = be.AppendUint32(b, f.InputLimit)
	return AppendStr8(b, f.Gateway)
}

// DecodeWelcome decodes a message of TypeWelcome.
func DecodeWelcome(msg []byte) (Welcome, error) {
	r := body(msg)
	f := Welcome{Minor: r.U8("minor"), Heartbeat: r.U32("heartbeat"), InputLimit: r.U32("input limit")}
	f.Gateway = r.Str8("gateway", 255)
	return done(f, &r, "welcome")
}

// Append encodes the facts onto b.
func (a Attach) Append(b []byte) []byte {
	b = AppendStr8(append(b, byte(a.How)), a.Host)
	b = be.AppendUint64(b, uint64(a.Epoch))
	b = be.AppendUint64(b, uint64(a.Incarnation))
	b = be.AppendUint64(b, uint64(a.Seq))
	b = be.AppendUint64(b, a.Count)
	b = be.AppendUint64(b, uint64(a.Applied))
	b = be.AppendUint64(b, uint64(a.Durable))
	b = be.AppendUint64(b, uint64(a.From))
	return be.AppendUint64(b, uint64(a.To))
}

// ReadAttach takes the facts from r.
func ReadAttach(r *Reader) Attach {
	return Attach{
		How:         How(r.U8("how")),
		Host:        r.Str8("host", 255),
		Epoch:       Epoch(r.U64("epoch")),
		Incarnation: Incarnation(r.U64("incarnation")),
		Seq:         Seq(r.U64("seq")),
		Count:       r.U64("count"),
		Applied:     Input(r.U64("applied")),
		Durable:     Input(r.U64("durable")),
		From:        Seq(r.U64("from")),
		To:          Seq(r.U64("to")),
	}
}

// Append encodes the frame onto b.
func (f Joined) Append(b []byte) []byte {
	b = append(b, byte(TypeJoined))
	b = be.AppendUint32(b, f.Ref)
	b = be.AppendUint32(b, uint32(f.Handle))
	b = AppendStr8(b, f.Kind)
	b = AppendStr8(b, f.Name)
	b = be.AppendUint64(b, uint64(f.Member))
	b = f.Attach.Append(b)
	return AppendBytes16(b, f.Token)
}

// DecodeJoined decodes a message of TypeJoined.
func DecodeJoined(msg []byte) (Joined, error) {
	r := body(msg)
	f := Joined{Ref: r.U32("ref"), Handle: Handle(r.U32("handle"))}
	f.Kind = r.Str8("kind", MaxKindLen)
	f.Name = r.Str8("name", MaxRoomNameLen)
	f.Member = MemberID(r.U64("member"))
	f.Attach = ReadAttach(&r)
	f.Token = r.Bytes16("token", MaxToken)
	return done(f, &r, "joined")
}

// Append encodes the frame onto b.
func (f Attached) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeAttached)), uint32(f.Handle))
	b = f.Attach.Append(b)
	return AppendBytes16(b, f.Token)
}

// DecodeAttached decodes a message of TypeAttached.
func DecodeAttached(msg []byte) (Attached, error) {
	r := body(msg)
	f := Attached{Handle: Handle(r.U32("handle"))}
	f.Attach = ReadAttach(&r)
	f.Token = r.Bytes16("token", MaxToken)
	return done(f, &r, "attached")
}

// Message is a payload from a room in one of the three delivery classes:
// reliable (TypeMessage, with Seq), latest (TypeLatest, with Key) or ephemeral.
type Message struct {
	Type    Type
	Handle  Handle
	Seq     Seq
	Key     uint32
	Payload []byte
}

// Append encodes the frame onto b.
func (f Message) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(f.Type)), uint32(f.Handle))
	switch f.Type {
	case TypeMessage:
		b = be.AppendUint64(b, uint64(f.Seq))
	case TypeLatest:
		b = be.AppendUint32(b, f.Key)
	}
	return append(b, f.Payload...)
}

// DecodeMessage decodes a message of TypeMessage, TypeLatest or TypeEphemeral.
func DecodeMessage(msg []byte) (Message, error) {
	r := body(msg)
	f := Message{Type: TypeOf(msg), Handle: Handle(r.U32("handle"))}
	switch f.Type {
	case TypeMessage:
		f.Seq = Seq(r.U64("seq"))
	case TypeLatest:
		f.Key = r.U32("key")
	}
	f.Payload = r.Rest("payload", MaxPayload)
	return done(f, &r, "message")
}

// Append encodes the frame onto b.
func (f Ack) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeAck)), uint32(f.Handle))
	b = be.AppendUint64(b, uint64(f.Applied))
	b = be.AppendUint64(b, uint64(f.Durable))
	return be.AppendUint64(b, f.Count)
}

// DecodeAck decodes a message of TypeAck.
func DecodeAck(msg []byte) (Ack, error) {
	r := body(msg)
	f := Ack{Handle: Handle(r.U32("handle"))}
	f.Applied = Input(r.U64("applied"))
	f.Durable = Input(r.U64("durable"))
	f.Count = r.U64("count")
	return done(f, &r, "ack")
}

// Expect asks the client to send again from input Next.
type Expect struct {
	Handle Handle
	Next   Input
}

// Append encodes the frame onto b.
func (f Expect) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeExpect)), uint32(f.Handle))
	return be.AppendUint64(b, uint64(f.Next))
}

// DecodeExpect decodes a message of TypeExpect.
func DecodeExpect(msg []byte) (Expect, error) {
	r := body(msg)
	f := Expect{Handle: Handle(r.U32("handle")), Next: Input(r.U64("next"))}
	return done(f, &r, "expect")
}

// Waiting tells that a room is being found or restored, or with CodeBusy that the
// client reads too slowly to hear it, and for how long, in milliseconds, that has
// been going on. It repeats about once a second.
type Waiting struct {
	Handle Handle
	Code   Code
	ForMS  uint32
}

// Append encodes the frame onto b.
func (f Waiting) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeWaiting)), uint32(f.Handle))
	b = be.AppendUint16(b, uint16(f.Code))
	return be.AppendUint32(b, f.ForMS)
}

// DecodeWaiting decodes a message of TypeWaiting.
func DecodeWaiting(msg []byte) (Waiting, error) {
	r := body(msg)
	f := Waiting{Handle: Handle(r.U32("handle")), Code: Code(r.U16("code")), ForMS: r.U32("for")}
	return done(f, &r, "waiting")
}

// Failed tells that an input was skipped for good because the room's code
// failed on it.
type Failed struct {
	Handle Handle
	N      Input
	Code   Code
	Text   string
}

// Append encodes the frame onto b.
func (f Failed) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeFailed)), uint32(f.Handle))
	b = be.AppendUint64(b, uint64(f.N))
	b = be.AppendUint16(b, uint16(f.Code))
	return AppendStr16(b, clip(f.Text))
}

// DecodeFailed decodes a message of TypeFailed.
func DecodeFailed(msg []byte) (Failed, error) {
	r := body(msg)
	f := Failed{Handle: Handle(r.U32("handle")), N: Input(r.U64("n")), Code: Code(r.U16("code"))}
	f.Text = r.Str16("text", MaxReasonLen)
	return done(f, &r, "failed")
}

// Skipped confirms a skip.
type Skipped Skip

// Append encodes the frame onto b.
func (f Skipped) Append(b []byte) []byte {
	at := len(b)
	b = Skip(f).Append(b)
	b[at] = byte(TypeSkipped)
	return b
}

// DecodeSkipped decodes a message of TypeSkipped.
func DecodeSkipped(msg []byte) (Skipped, error) {
	f, err := DecodeSkip(msg)
	return Skipped(f), err
}

// Store tells whether durable acks run.
type Store struct {
	Handle  Handle
	Running bool
}

// Append encodes the frame onto b.
func (f Store) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeStore)), uint32(f.Handle))
	if f.Running {
		return append(b, 1)
	}
	return append(b, 0)
}

// DecodeStore decodes a message of TypeStore.
func DecodeStore(msg []byte) (Store, error) {
	r := body(msg)
	f := Store{Handle: Handle(r.U32("handle")), Running: r.U8("running") != 0}
	return done(f, &r, "store")
}

// Left ends a membership.
type Left struct {
	Handle Handle
	Code   Code
	Text   string
}

// Append encodes the frame onto b.
func (f Left) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeLeft)), uint32(f.Handle))
	b = be.AppendUint16(b, uint16(f.Code))
	return AppendStr16(b, clip(f.Text))
}

// DecodeLeft decodes a message of TypeLeft.
func DecodeLeft(msg []byte) (Left, error) {
	r := body(msg)
	f := Left{Handle: Handle(r.U32("handle")), Code: Code(r.U16("code"))}
	f.Text = r.Str16("text", MaxReasonLen)
	return done(f, &r, "left")
}

// Append encodes the frame onto b.
func (f ErrorFrame) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeError)), f.Ref)
	b = be.AppendUint32(b, uint32(f.Handle))
	b = be.AppendUint16(b, uint16(f.Code))
	b = be.AppendUint32(b, f.RetryMS)
	return AppendStr16(b, clip(f.Text))
}

// DecodeError decodes a message of TypeError.
func DecodeError(msg []byte) (ErrorFrame, error) {
	r := body(msg)
	f := ErrorFrame{Ref: r.U32("ref"), Handle: Handle(r.U32("handle"))}
	f.Code = Code(r.U16("code"))
	f.RetryMS = r.U32("retry")
	f.Text = r.Str16("text", MaxReasonLen)
	return done(f, &r, "error")
}

// GoAway tells the client to connect again elsewhere: not before AfterMS, at a
// moment it draws from the SpreadMS that follow.
type GoAway struct {
	AfterMS, SpreadMS uint32
}

// Append encodes the frame onto b.
func (f GoAway) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeGoAway)), f.AfterMS)
	return be.AppendUint32(b, f.SpreadMS)
}

// DecodeGoAway decodes a message of TypeGoAway.
func DecodeGoAway(msg []byte) (GoAway, error) {
	r := body(msg)
	f := GoAway{AfterMS: r.U32("after"), SpreadMS: r.U32("spread")}
	return done(f, &r, "go away")
}

// Rooms answers a list. JSON is an array of objects with room, members, max,
// open and labels; Asked and Answered count hosts.
type Rooms struct {
	Ref             uint32
	Asked, Answered uint16
	JSON            []byte
}

// Append encodes the frame onto b.
func (f Rooms) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeRooms)), f.Ref)
	b = be.AppendUint16(b, f.Asked)
	b = be.AppendUint16(b, f.Answered)
	return append(b, f.JSON...)
}

// DecodeRooms decodes a message of TypeRooms.
func DecodeRooms(msg []byte) (Rooms, error) {
	r := body(msg)
	f := Rooms{Ref: r.U32("ref"), Asked: r.U16("asked"), Answered: r.U16("answered")}
	f.JSON = r.Rest("rooms", MaxPayload)
	return done(f, &r, "rooms")
}

// clip keeps a text within what decoders accept.
func clip(s string) string { return s[:min(len(s), MaxReasonLen)] }
