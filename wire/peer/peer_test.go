package peer

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/wire"
)

var (
	who    = Who{Handle: 7, Member: 1<<53 - 1, Generation: 3}
	attach = Attach{
		Handle: 7, Member: 42, Generation: 3, Instance: wire.Instance{1, 2, 3, 15: 16}, Why: WhyReattach,
		Incarnation: 1000, At: wire.Position{Epoch: 2000, Seq: 12}, Room: "arena/lobby", User: "ada", Data: []byte(`{"name":"ada"}`),
	}
	facts = wire.Attach{
		How: wire.HowRewound, Host: "host-2", Epoch: 2000, Incarnation: 1000,
		Seq: 5, Count: 4, Applied: 3, Durable: 2, From: 6, To: 12,
	}
	output = func() []byte {
		b := AppendOutputHead(nil, 7, 2000, ToAllBut, []wire.MemberID{42, 43})
		return wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 6, Payload: []byte("hi")}.Append(b)
	}()
	acks = MemberAck{Member: 43, Applied: 9, Durable: 8, Count: 7}.Append(
		MemberAck{Member: 42, Applied: 5, Durable: 4, Count: 6}.Append(AppendAcksHead(nil, 7, 2000)))
)

// body is one kind's body with a decoder that gives all it holds.
type body struct {
	name   string
	sample []byte
	fixed  int // bytes before a rest; 0: there is none
	decode func([]byte) (any, error)
	encode func(any) []byte
}

type told struct {
	W     Who
	Frame string
}
type numbered struct {
	W       Who
	N       wire.Input
	Payload string
}
type skipped struct {
	W        Who
	From, To wire.Input
}
type left struct {
	W    Who
	Code wire.Code
	Text string
}
type refused struct {
	W Who
	E wire.Error
}
type attachedFacts struct {
	W Who
	A wire.Attach
}
type outputParts struct {
	Handle   wire.Handle
	Epoch    wire.Epoch
	Audience Audience
	Listed   []wire.MemberID
	Frame    string
}
type ackList struct {
	Handle wire.Handle
	Epoch  wire.Epoch
	Acks   []MemberAck
}

var bodies = []body{
	{"attach", attach.Append(nil), 0,
		func(p []byte) (any, error) { return DecodeAttach(p) },
		func(v any) []byte { return v.(Attach).Append(nil) }},
	{"input", AppendInput(nil, who, 9, []byte("left")), 24,
		func(p []byte) (any, error) {
			w, n, payload, err := DecodeInput(p)
			return numbered{w, n, string(payload)}, err
		},
		func(v any) []byte { f := v.(numbered); return AppendInput(nil, f.W, f.N, []byte(f.Payload)) }},
	{"skip", AppendSkip(nil, who, 3, 8), 0,
		func(p []byte) (any, error) { w, from, to, err := DecodeSkip(p); return skipped{w, from, to}, err },
		func(v any) []byte { f := v.(skipped); return AppendSkip(nil, f.W, f.From, f.To) }},
	{"leave", AppendLeave(nil, who, 9), 0,
		func(p []byte) (any, error) { w, n, err := DecodeLeave(p); return numbered{w, n, ""}, err },
		func(v any) []byte { f := v.(numbered); return AppendLeave(nil, f.W, f.N) }},
	{"detach", AppendDetach(nil, who), 0,
		func(p []byte) (any, error) { return DecodeDetach(p) },
		func(v any) []byte { return AppendDetach(nil, v.(Who)) }},
	{"release", AppendRelease(nil, 7), 0,
		func(p []byte) (any, error) { return DecodeRelease(p) },
		func(v any) []byte { return AppendRelease(nil, v.(wire.Handle)) }},
	{"attached", AppendAttached(nil, who, facts), 0,
		func(p []byte) (any, error) { w, a, err := DecodeAttached(p); return attachedFacts{w, a}, err },
		func(v any) []byte { f := v.(attachedFacts); return AppendAttached(nil, f.W, f.A) }},
	{"refused", AppendRefused(nil, who, &wire.Error{Code: wire.CodeBusy, RetryMS: 250, Text: "full"}), 0,
		func(p []byte) (any, error) {
			w, e, err := DecodeRefused(p)
			return refused{w, *e}, err
		},
		func(v any) []byte { f := v.(refused); return AppendRefused(nil, f.W, &f.E) }},
	{"output", output, 31, decodeOutput,
		func(v any) []byte {
			f := v.(outputParts)
			return append(AppendOutputHead(nil, f.Handle, f.Epoch, f.Audience, f.Listed), f.Frame...)
		}},
	{"acks", acks, 12, decodeAcks,
		func(v any) []byte {
			f := v.(ackList)
			b := AppendAcksHead(nil, f.Handle, f.Epoch)
			for _, a := range f.Acks {
				b = a.Append(b)
			}
			return b
		}},
	{"tell", append(AppendTell(nil, who), wire.Expect{Handle: 7, Next: 3}.Append(nil)...), 16,
		func(p []byte) (any, error) { w, frame, err := DecodeTell(p); return told{w, string(frame)}, err },
		func(v any) []byte { f := v.(told); return append(AppendTell(nil, f.W), f.Frame...) }},
	{"left", AppendLeft(nil, who, wire.CodeKicked, "be nice"), 0,
		func(p []byte) (any, error) { w, c, text, err := DecodeLeft(p); return left{w, c, text}, err },
		func(v any) []byte { f := v.(left); return AppendLeft(nil, f.W, f.Code, f.Text) }},
	{"gone", Gone{Handle: 7, Epoch: 2000, Code: wire.CodeRoomClosed, Text: "over"}.Append(nil), 0,
		func(p []byte) (any, error) { return DecodeGone(p) },
		func(v any) []byte { return v.(Gone).Append(nil) }},
	{"moved", Moved{Handle: 7, Epoch: 2000, Next: 2001, Incarnation: 1000, Node: "h#1", Addr: "127.0.0.1:1"}.Append(nil), 0,
		func(p []byte) (any, error) { return DecodeMoved(p) },
		func(v any) []byte { return v.(Moved).Append(nil) }},
}

func decodeOutput(p []byte) (any, error) {
	f, err := DecodeOutput(p)
	parts := outputParts{Handle: f.Handle, Epoch: f.Epoch, Audience: f.Audience, Frame: string(f.Frame)}
	for i := range f.Listed() {
		parts.Listed = append(parts.Listed, f.Member(i))
	}
	return parts, err
}

func decodeAcks(p []byte) (any, error) {
	var list ackList
	err := DecodeAcks(p, func(h wire.Handle, e wire.Epoch, a MemberAck) {
		list.Handle, list.Epoch = h, e
		list.Acks = append(list.Acks, a)
	})
	return list, err
}

func TestBodiesComeBackAsTheyWere(t *testing.T) {
	for _, b := range bodies {
		v, err := b.decode(b.sample)
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			continue
		}
		if again := b.encode(v); !bytes.Equal(again, b.sample) {
			t.Errorf("%s: % x came back as % x", b.name, b.sample, again)
		}
	}
	got, err := DecodeAttach(attach.Append(nil))
	if err != nil || !reflect.DeepEqual(got, attach) {
		t.Errorf("attach came back as %+v (%v)", got, err)
	}
	v, err := decodeAcks(acks)
	if want := (ackList{7, 2000, []MemberAck{{42, 5, 4, 6}, {43, 9, 8, 7}}}); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("acks came back as %+v (%v)", v, err)
	}
	v, err = decodeOutput(output)
	if o := v.(outputParts); err != nil || o.Audience != ToAllBut || !reflect.DeepEqual(o.Listed, []wire.MemberID{42, 43}) {
		t.Errorf("output came back as %+v (%v)", v, err)
	}
}

func TestTruncatedBodiesAreErrors(t *testing.T) {
	for _, b := range bodies {
		whole := b.fixed
		if whole == 0 {
			whole = len(b.sample)
		}
		for n := range len(b.sample) {
			_, err := b.decode(b.sample[:n])
			atEnd := b.name == "acks" && (n-12)%32 == 0 // a shorter list is a list too
			if n < whole || b.name == "acks" && !atEnd {
				if !errors.Is(err, wire.ErrShort) || !strings.Contains(err.Error(), b.name) {
					t.Errorf("%s cut to %d bytes: error %v, want one that names it", b.name, n, err)
				}
			} else if err != nil {
				t.Errorf("%s cut to %d bytes: %v", b.name, n, err)
			}
		}
	}
}

func TestAttachToNoRoomIsAnError(t *testing.T) {
	for _, room := range []wire.RoomID{"arena", "/lobby", "arena/", "Arena/lobby", "arena/a b", "arena/a/b"} {
		f := attach
		f.Room = room
		if _, err := DecodeAttach(f.Append(nil)); err == nil || errors.Is(err, wire.ErrShort) {
			t.Errorf("room %q: error %v, want one about its name", room, err)
		}
	}
}

func TestHotBodiesDoNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1024)
	payload := make([]byte, 32)
	listed := []wire.MemberID{1, 2, 3}
	input := AppendInput(nil, who, 9, payload)
	tell := append(AppendTell(nil, who), payload...)
	var members int
	each := func(wire.Handle, wire.Epoch, MemberAck) { members++ }
	for name, f := range map[string]func(){
		"append input":  func() { buf = AppendInput(buf[:0], who, 9, payload) },
		"append output": func() { buf = append(AppendOutputHead(buf[:0], 7, 1, ToOnly, listed), payload...) },
		"append acks":   func() { buf = MemberAck{Member: 1}.Append(AppendAcksHead(buf[:0], 7, 1)) },
		"append tell":   func() { buf = AppendTell(buf[:0], who) },
		"decode input":  func() { _, _, _, err := DecodeInput(input); check(err) },
		"decode output": func() { f, err := DecodeOutput(output); check(err); members += int(f.Member(1)) },
		"decode acks":   func() { check(DecodeAcks(acks, each)) },
		"decode tell":   func() { _, _, err := DecodeTell(tell); check(err) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// FuzzBodies decodes what a hostile process may send; what decodes must come
// back the same when encoded again.
func FuzzBodies(f *testing.F) {
	for i, b := range bodies {
		f.Add(uint8(i), b.sample)
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		b := bodies[int(which)%len(bodies)]
		v, err := b.decode(p)
		if err != nil {
			return
		}
		again, err := b.decode(b.encode(v))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%s: % x decodes to\n%+v, encoded again to\n%+v (%v)", b.name, p, v, again, err)
		}
	})
}

// Claims come last and are left out where there are none, so that peers of
// before them understand an attach and are understood.
func TestAttachWithClaims(t *testing.T) {
	old := attach.Append(nil)
	with := attach
	with.Claims = []byte(`{"sub":"ada"}`)
	body := with.Append(nil)
	if !bytes.Equal(body[:len(old)], old) {
		t.Error("claims change what comes before them")
	}
	got, err := DecodeAttach(body)
	if err != nil || !reflect.DeepEqual(got, with) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := DecodeAttach(old); err != nil || got.Claims != nil {
		t.Errorf("without claims: %+v, %v", got, err)
	}
	for n := len(old) + 1; n < len(body); n++ {
		if _, err := DecodeAttach(body[:n]); err == nil {
			t.Errorf("%d of %d bytes: taken", n, len(body))
		}
	}
	with.Claims = make([]byte, MaxClaims+1)
	if _, err := DecodeAttach(with.Append(nil)); err == nil {
		t.Error("claims above the bound: taken")
	}
}
