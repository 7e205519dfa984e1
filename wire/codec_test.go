package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// generate draws the plain values of a frame that its decoder takes.
func generate(t *rapid.T, k frameKind) map[string]any {
	fields := map[string]any{}
	leaves(reflect.New(k.sample).Elem(), func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			f := filters().Draw(t, name)
			fields[name] = hex.EncodeToString(f.JSON())
		case reflect.Slice:
			b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name)
			fields[name] = plain(reflect.ValueOf(b))
		case reflect.Array:
			b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)
			fields[name] = plain(reflect.ValueOf(Instance(b)))
		case reflect.Bool:
			fields[name] = rapid.Uint64Range(0, 1).Draw(t, name)
		case reflect.String:
			fields[name] = rapid.StringN(0, 60, 250).Draw(t, name)
		default:
			fields[name] = rapid.Uint64Range(0, 1<<v.Type().Bits()-1).Draw(t, name)
		}
	})
	tame(t, k.name, fields)
	return fields
}

// tame keeps the fields within what the frame allows.
func tame(t *rapid.T, name string, fields map[string]any) {
	if _, ok := fields["kind"]; ok {
		fields["kind"] = rapid.StringMatching(`[a-z0-9._-]{1,32}`).Draw(t, "kind")
	}
	if _, ok := fields["name"]; ok {
		fields["name"] = rapid.StringMatching(`[a-zA-Z0-9._~-]{1,64}`).Draw(t, "name")
	}
	if _, ok := fields["mode"]; ok {
		fields["mode"] = rapid.Uint64Range(0, uint64(ModeAny)).Draw(t, "mode")
		if fields["mode"] == uint64(ModeAny) {
			fields["name"] = ""
		}
	}
	if from, ok := fields["from"]; ok && strings.HasPrefix(name, "skip") {
		fields["from"] = max(from.(uint64), 1)
		fields["to"] = max(fields["from"].(uint64), fields["to"].(uint64))
	}
	if n, ok := fields["n"]; ok {
		fields["n"] = max(n.(uint64), 1)
	}
	if _, ok := fields["after"]; ok {
		fields["after"] = rapid.StringMatching(`[a-zA-Z0-9._~-]{0,64}`).Draw(t, "after")
	}
	if name == "page" {
		fields["next"] = rapid.StringMatching(`[a-zA-Z0-9._~-]{0,64}`).Draw(t, "next")
	}
	if name == "browse" {
		fields["ref"] = max(fields["ref"].(uint64), 1)
	}
}

// filters draws those that are within their bounds.
func filters() *rapid.Generator[Filter] {
	word := rapid.StringMatching(`[a-z]{0,12}`)
	return rapid.Custom(func(t *rapid.T) Filter {
		f := Filter{Pool: word.Draw(t, "pool"), Seats: rapid.IntRange(0, MaxFilterSeats).Draw(t, "seats"), Build: word.Draw(t, "build")}
		f.Labels = rapid.MapOfN(rapid.StringMatching(`[a-o]{1,12}`), word, 0, MaxLabels-1).Draw(t, "labels")
		return f
	})
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	for _, k := range allFrames() {
		t.Run(k.name, rapid.MakeCheck(func(t *rapid.T) {
			fields := generate(t, k)
			frame, err := fromFields(k.sample, fields)
			if err != nil {
				t.Fatal(err)
			}
			msg := k.encode(frame)
			if TypeOf(msg) != k.typ {
				t.Fatalf("type %#x, want %#x", TypeOf(msg), k.typ)
			}
			decoded, err := k.decode(msg)
			if err != nil {
				t.Fatal(err)
			}
			if got := toFields(decoded); !maps.Equal(got, fields) {
				t.Fatalf("came back as %v, was %v", got, fields)
			}
		}))
	}
}

// fixed is how many bytes of a frame stand before what may be missing: the
// whole frame, unless it ends in a rest.
func fixed(k frameKind, msg []byte) int {
	switch k.name {
	case "input", "message":
		return 1 + 4 + 8
	case "latest":
		return 1 + 4 + 4
	case "ephemeral":
		return 1 + 4
	case "rooms":
		return 1 + 4 + 2 + 2
	case "page":
		return 1 + 4 + 1 + 2 + 2 + 2 + 1 + int(msg[12])
	}
	return len(msg)
}

func TestTruncatedFramesAreErrors(t *testing.T) {
	for _, k := range allFrames() {
		for _, e := range examplesOf(t, k) {
			for n := range fixed(k, e.msg) {
				_, err := k.decode(e.msg[:n])
				if !errors.Is(err, ErrShort) {
					t.Errorf("%s cut to %d of %d bytes: error %v, want %v", k.name, n, len(e.msg), err, ErrShort)
				}
				if err != nil && !strings.Contains(err.Error(), "frame: ") {
					t.Errorf("%s cut to %d bytes: %q does not name the frame", k.name, n, err)
				}
			}
		}
	}
}

func TestTrailingBytesAreIgnored(t *testing.T) {
	for _, k := range allFrames() {
		for _, e := range examplesOf(t, k) {
			if fixed(k, e.msg) < len(e.msg) || k.name == "input" {
				continue // what follows is payload
			}
			decoded, err := k.decode(append(bytes.Clone(e.msg), 1, 2, 3))
			if err != nil {
				t.Errorf("%s: %v", k.name, err)
			} else if got := toFields(decoded); !maps.Equal(got, e.values) {
				t.Errorf("%s: trailing bytes change it to %v", k.name, got)
			}
		}
	}
}

func TestFramesBeyondLimitsAreErrors(t *testing.T) {
	long := func(n int) []byte { return make([]byte, n) }
	for _, c := range []struct {
		name   string
		msg    []byte
		decode func([]byte) error
	}{
		{"hello token", Hello{Token: long(MaxToken + 1)}.Append(nil), failing(DecodeHello)},
		{"join kind", Join{Kind: strings.Repeat("k", MaxKindLen+1), Name: "n"}.Append(nil), failing(DecodeJoin)},
		{"join kind letters", Join{Kind: "Arena", Name: "n"}.Append(nil), failing(DecodeJoin)},
		{"join name", Join{Kind: "k", Name: strings.Repeat("n", MaxRoomNameLen+1)}.Append(nil), failing(DecodeJoin)},
		{"join name letters", Join{Kind: "k", Name: "a b"}.Append(nil), failing(DecodeJoin)},
		{"join without a name", Join{Kind: "k"}.Append(nil), failing(DecodeJoin)},
		{"join of any room with a name", Join{Kind: "k", Mode: ModeAny, Name: "n"}.Append(nil), failing(DecodeJoin)},
		{"join mode", Join{Kind: "k", Mode: ModeAny + 1, Name: "n"}.Append(nil), failing(DecodeJoin)},
		{"join data", Join{Kind: "k", Name: "n", Data: long(MaxJoinData + 1)}.Append(nil), failing(DecodeJoin)},
		{"resume token", Resume{Token: long(MaxToken + 1)}.Append(nil), failing(DecodeResume)},
		{"resume data", Resume{Data: long(MaxJoinData + 1)}.Append(nil), failing(DecodeResume)},
		{"input payload", InputFrame{N: 1, Payload: long(MaxInput + 1)}.Append(nil), failing(DecodeInput)},
		{"input number", InputFrame{N: 0}.Append(nil), failing(DecodeInput)},
		{"skip from", Skip{From: 0, To: 1}.Append(nil), failing(DecodeSkip)},
		{"skip to", Skip{From: 2, To: 1}.Append(nil), failing(DecodeSkip)},
		{"leave number", Leave{N: 0}.Append(nil), failing(DecodeLeave)},
		{"list kind", List{Kind: ""}.Append(nil), failing(DecodeList)},
		{"joined kind", Joined{Kind: strings.Repeat("k", MaxKindLen+1)}.Append(nil), failing(DecodeJoined)},
		{"joined token", Joined{Token: long(MaxToken + 1)}.Append(nil), failing(DecodeJoined)},
		{"attached token", Attached{Token: long(MaxToken + 1)}.Append(nil), failing(DecodeAttached)},
		{"message payload", Message{Type: TypeMessage, Payload: long(MaxPayload + 1)}.Append(nil), failing(DecodeMessage)},
		{"left text", AppendStr16([]byte{byte(TypeLeft), 0, 0, 0, 0, 0, 0}, string(long(MaxReasonLen+1))), failing(DecodeLeft)},
	} {
		if err := c.decode(c.msg); err == nil || errors.Is(err, ErrShort) {
			t.Errorf("%s: error %v, want one about the limit", c.name, err)
		}
	}
}

func failing[F any](decode func([]byte) (F, error)) func([]byte) error {
	return func(msg []byte) error { _, err := decode(msg); return err }
}

// What people write is cut to what decoders take, so that a long reason can't
// make a frame that nobody reads.
func TestLongTextsAreClipped(t *testing.T) {
	text := strings.Repeat("x", MaxReasonLen+50)
	left, err := DecodeLeft(Left{Text: text}.Append(nil))
	if err != nil || left.Text != text[:MaxReasonLen] {
		t.Errorf("left: %v, %d bytes of text", err, len(left.Text))
	}
	failed, err := DecodeFailed(Failed{Text: text}.Append(nil))
	if err != nil || failed.Text != text[:MaxReasonLen] {
		t.Errorf("failed: %v, %d bytes of text", err, len(failed.Text))
	}
	e, err := DecodeError(ErrorFrame{Error: Error{Text: text}}.Append(nil))
	if err != nil || e.Text != text[:MaxReasonLen] {
		t.Errorf("error: %v, %d bytes of text", err, len(e.Text))
	}
	hello, err := DecodeHello(Hello{Agent: strings.Repeat("y", 300)}.Append(nil))
	if err != nil || len(hello.Agent) != 255 {
		t.Errorf("hello: %v, %d bytes of agent", err, len(hello.Agent))
	}
}

func TestHotFramesDoNotAllocate(t *testing.T) {
	payload := make([]byte, 256)
	buf := make([]byte, 0, 1024)
	input := InputFrame{Handle: 7, N: 9, Payload: payload[:32]}.Append(nil)
	message := Message{Type: TypeMessage, Handle: 7, Seq: 9, Payload: payload}.Append(nil)
	latest := Message{Type: TypeLatest, Handle: 7, Key: 9, Payload: payload}.Append(nil)
	ack := Ack{Handle: 7, Applied: 3, Durable: 2, Count: 8}.Append(nil)
	ping := AppendPing(nil, TypePing, 1)
	for name, f := range map[string]func(){
		"append input":   func() { buf = InputFrame{Handle: 7, N: 9, Payload: payload}.Append(buf[:0]) },
		"append message": func() { buf = Message{Type: TypeMessage, Handle: 7, Seq: 9, Payload: payload}.Append(buf[:0]) },
		"append latest":  func() { buf = Message{Type: TypeLatest, Handle: 7, Key: 9, Payload: payload}.Append(buf[:0]) },
		"append ack":     func() { buf = Ack{Handle: 7, Applied: 3}.Append(buf[:0]) },
		"append ping":    func() { buf = AppendPing(buf[:0], TypePing, 5) },
		"decode input":   func() { must(DecodeInput(input)) },
		"decode message": func() { must(DecodeMessage(message)) },
		"decode latest":  func() { must(DecodeMessage(latest)) },
		"decode ack":     func() { must(DecodeAck(ack)) },
		"decode ping":    func() { must(DecodePing(ping)) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func must[F any](_ F, err error) {
	if err != nil {
		panic(err)
	}
}

func TestDecodedPayloadsAliasTheMessage(t *testing.T) {
	msg := Message{Type: TypeMessage, Payload: []byte("abc")}.Append(nil)
	f, err := DecodeMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	if &f.Payload[0] != &msg[len(msg)-3] {
		t.Error("the payload was copied")
	}
}

// One byte changed anywhere never panics, and what decodes encodes again.
func TestChangedBytesNeverPanic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range allFrames() {
		for _, e := range examplesOf(t, k) {
			for range 2000 {
				msg := bytes.Clone(e.msg)
				for range 1 + rng.IntN(3) {
					msg[1+rng.IntN(len(msg)-1)] = byte(rng.Uint32())
				}
				recode(t, k, msg)
			}
		}
	}
}

// recode fails unless what decodes comes back the same when encoded.
func recode(t *testing.T, k frameKind, msg []byte) {
	t.Helper()
	frame, err := k.decode(msg)
	if err != nil {
		return
	}
	again, err := k.decode(k.encode(frame))
	if err != nil {
		t.Fatalf("%s: % x decodes, encoded again it does not: %v", k.name, msg, err)
	}
	if !reflect.DeepEqual(frame, again) {
		t.Fatalf("%s: % x decodes to\n%+v, encoded again to\n%+v", k.name, msg, frame, again)
	}
}
