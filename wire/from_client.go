package wire

import "fmt"

// TypeOf is a message's type byte, 0 for an empty message.
func TypeOf(msg []byte) Type {
	if len(msg) == 0 {
		return 0
	}
	return Type(msg[0])
}

// body reads the fields behind the type byte.
func body(msg []byte) Reader {
	if len(msg) == 0 {
		return NewReader(nil)
	}
	return NewReader(msg[1:])
}

// done names the frame in its first decoding error.
func done[F any](f F, r *Reader, name string) (F, error) {
	if err := r.Err(); err != nil {
		var zero F
		return zero, fmt.Errorf("%s frame: %w", name, err)
	}
	return f, nil
}

// Append encodes the frame onto b.
func (f Hello) Append(b []byte) []byte {
	b = append(b, byte(TypeHello), f.Minor)
	b = append(b, f.Instance[:]...)
	b = AppendBytes16(b, f.Token)
	return AppendStr8(b, f.Agent)
}

// DecodeHello decodes a message of TypeHello.
func DecodeHello(msg []byte) (Hello, error) {
	r := body(msg)
	f := Hello{Minor: r.U8("minor")}
	copy(f.Instance[:], r.take(len(f.Instance), "instance"))
	f.Token = r.Bytes16("token", MaxToken)
	f.Agent = r.Str8("agent", 255)
	return done(f, &r, "hello")
}

// Append encodes the frame onto b.
func (f Join) Append(b []byte) []byte {
	b = append(b, byte(TypeJoin))
	b = be.AppendUint32(b, f.Ref)
	b = append(b, byte(f.Mode))
	b = AppendStr8(b, f.Kind)
	b = AppendStr8(b, f.Name)
	return AppendBytes16(b, f.Data)
}

// DecodeJoin decodes a message of TypeJoin. The name is empty exactly when
// the mode is ModeAny.
func DecodeJoin(msg []byte) (Join, error) {
	r := body(msg)
	f := Join{Ref: r.U32("ref"), Mode: Mode(r.U8("mode"))}
	f.Kind = r.Str8("kind", MaxKindLen)
	f.Name = r.Str8("name", MaxRoomNameLen)
	f.Data = r.Bytes16("data", MaxJoinData)
	if r.err == nil {
		r.Fail(f.check())
	}
	return done(f, &r, "join")
}

func (f Join) check() error {
	if f.Mode > ModeAny {
		return fmt.Errorf("mode %d: want 0 to %d", f.Mode, ModeAny)
	}
	if err := CheckKind(f.Kind); err != nil {
		return err
	}
	if f.Mode != ModeAny {
		return CheckName(f.Name)
	}
	if f.Name != "" {
		return fmt.Errorf("name %q: a join of any room has none", f.Name)
	}
	return nil
}

// Append encodes the frame onto b.
func (f Resume) Append(b []byte) []byte {
	b = append(b, byte(TypeResume))
	b = be.AppendUint32(b, f.Ref)
	b = AppendBytes16(b, f.Token)
	b = be.AppendUint64(b, uint64(f.At.Epoch))
	b = be.AppendUint64(b, uint64(f.At.Seq))
	return AppendBytes16(b, f.Data)
}

// DecodeResume decodes a message of TypeResume.
func DecodeResume(msg []byte) (Resume, error) {
	r := body(msg)
	f := Resume{Ref: r.U32("ref"), Token: r.Bytes16("token", MaxToken)}
	f.At = Position{Epoch: Epoch(r.U64("epoch")), Seq: Seq(r.U64("seq"))}
	f.Data = r.Bytes16("data", MaxJoinData)
	return done(f, &r, "resume")
}

// Append encodes the frame onto b.
func (f InputFrame) Append(b []byte) []byte {
	b = append(b, byte(TypeInput))
	b = be.AppendUint32(b, uint32(f.Handle))
	b = be.AppendUint64(b, uint64(f.N))
	return append(b, f.Payload...)
}

// DecodeInput decodes a message of TypeInput.
func DecodeInput(msg []byte) (InputFrame, error) {
	r := body(msg)
	f := InputFrame{Handle: Handle(r.U32("handle")), N: Input(r.U64("n"))}
	f.Payload = r.Rest("payload", MaxInput)
	if r.err == nil && f.N == 0 {
		r.Fail(fmt.Errorf("n 0: inputs are numbered from 1"))
	}
	return done(f, &r, "input")
}

// Append encodes the frame onto b.
func (f Skip) Append(b []byte) []byte {
	b = append(b, byte(TypeSkip))
	b = be.AppendUint32(b, uint32(f.Handle))
	b = be.AppendUint64(b, uint64(f.From))
	return be.AppendUint64(b, uint64(f.To))
}

// DecodeSkip decodes a message of TypeSkip.
func DecodeSkip(msg []byte) (Skip, error) {
	r := body(msg)
	f := Skip{Handle: Handle(r.U32("handle")), From: Input(r.U64("from")), To: Input(r.U64("to"))}
	if r.err == nil && (f.From == 0 || f.To < f.From) {
		r.Fail(fmt.Errorf("skip of %d to %d: want 1 <= from <= to", f.From, f.To))
	}
	return done(f, &r, "skip")
}

// Append encodes the frame onto b.
func (f Leave) Append(b []byte) []byte {
	b = append(b, byte(TypeLeave))
	b = be.AppendUint32(b, uint32(f.Handle))
	return be.AppendUint64(b, uint64(f.N))
}

// DecodeLeave decodes a message of TypeLeave.
func DecodeLeave(msg []byte) (Leave, error) {
	r := body(msg)
	f := Leave{Handle: Handle(r.U32("handle")), N: Input(r.U64("n"))}
	if r.err == nil && f.N == 0 {
		r.Fail(fmt.Errorf("n 0: inputs are numbered from 1"))
	}
	return done(f, &r, "leave")
}

// AppendPing encodes a ping (TypePing) or its answer (TypePong).
func AppendPing(b []byte, t Type, echo uint64) []byte {
	return be.AppendUint64(append(b, byte(t)), echo)
}

// DecodePing decodes a message of TypePing or TypePong.
func DecodePing(msg []byte) (echo uint64, err error) {
	r := body(msg)
	return done(r.U64("echo"), &r, "ping")
}

// Append encodes the frame onto b.
func (f List) Append(b []byte) []byte {
	b = append(b, byte(TypeList))
	b = be.AppendUint32(b, f.Ref)
	b = AppendStr8(b, f.Kind)
	return be.AppendUint16(b, f.Most)
}

// DecodeList decodes a message of TypeList.
func DecodeList(msg []byte) (List, error) {
	r := body(msg)
	f := List{Ref: r.U32("ref"), Kind: r.Str8("kind", MaxKindLen), Most: r.U16("most")}
	if r.err == nil {
		r.Fail(CheckKind(f.Kind))
	}
	return done(f, &r, "list")
}
