package directory

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/wire"
)

func someNode() Node {
	return Node{
		ID: MakeNodeID("h1", 7), Role: RoleHost, Draining: true, Load: Load{Rooms: 3, Members: 70_000, CPU: 42, Memory: 61, Full: true},
		Link: "10.1.2.3:7001", Ops: "127.0.0.1:7002", Build: "v1.2.3", Kinds: []string{"arena", "chat"},
		Placements: map[string]string{"chat": "labels:region,zone"}, Labels: map[string]string{"region": "eu", "zone": "b"}, started: 1_700_000_000_000,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	want := someNode()
	b := appendMeta(nil, &want)
	got := Node{ID: want.ID}
	if err := decodeMeta(append(b, "of a later build"...), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	early := want // says nothing that came later
	early.Labels, early.Placements, early.Load.Memory, early.Load.Full = nil, nil, 0, false
	for n := range b {
		if err := decodeMeta(b[:n], &Node{}); err == nil && n != len(appendMeta(nil, &early)) {
			t.Errorf("the first %d of %d bytes were taken for metadata", n, len(b))
		}
	}
}

// The layout is frozen: nodes of different builds gossip with each other.
func TestMetaGolden(t *testing.T) {
	n := Node{Role: RoleHost, Load: Load{Rooms: 1, Members: 2, CPU: 3}, Link: "a:1", Ops: "b:2", Build: "c", Kinds: []string{"d"}, started: 4}
	const want = "010200" + "0001" + "00000002" + "03" + "0000000000000004" + "03613a31" + "03623a32" + "0163" + "01" + "0164"
	if got := fmt.Sprintf("%x", appendMeta(nil, &n)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n.Load.Memory, n.Load.Full = 5, true
	n.Placements, n.Labels = map[string]string{"d": "hash"}, map[string]string{"r": "eu"}
	const later = want + "05" + "01" + "01" + "00" + "0468617368" + "01" + "0172" + "026575"
	if got := fmt.Sprintf("%x", appendMeta(nil, &n)); got != later {
		t.Errorf("got  %s\nwant %s", got, later)
	}
}

func TestMetaThatDoesNotFit(t *testing.T) {
	cfg := MembersConfig{Name: "h1", Boot: 1, Role: RoleHost}
	for i := range 20 {
		cfg.Kinds = append(cfg.Kinds, fmt.Sprintf("%s-%02d", strings.Repeat("k", 28), i))
	}
	_, err := NewMembers(cfg)
	if err == nil || !strings.Contains(err.Error(), "480") {
		t.Errorf("20 kinds with long names: %v", err)
	}
	cfg.Kinds = cfg.Kinds[:10]
	if _, err := NewMembers(cfg); err != nil {
		t.Errorf("10 kinds with long names: %v", err)
	}
	cfg.Kinds, cfg.Labels = nil, map[string]string{"region": strings.Repeat("u", maxLabelBytes+1)}
	if _, err := NewMembers(cfg); err == nil || !strings.Contains(err.Error(), "label region") {
		t.Errorf("a label of %d bytes: %v", maxLabelBytes+1, err)
	}
}

func TestMembersConfigIsChecked(t *testing.T) {
	good := MembersConfig{Name: "h1", Boot: 1, Role: RoleHost, Kinds: []string{"chat"}, Seeds: []string{"host.example:7946"}}
	if _, err := NewMembers(good); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*MembersConfig){
		"empty name":       func(c *MembersConfig) { c.Name = "" },
		"name with a hash": func(c *MembersConfig) { c.Name = "a#b" },
		"boot 0":           func(c *MembersConfig) { c.Boot = 0 },
		"no role":          func(c *MembersConfig) { c.Role = 0 },
		"bad kind":         func(c *MembersConfig) { c.Kinds = []string{"Chat"} },
		"seed, no port":    func(c *MembersConfig) { c.Seeds = []string{"host.example"} },
		"advertised name":  func(c *MembersConfig) { c.AdvertiseAddr = "host.example" },
		"long address":     func(c *MembersConfig) { c.LinkAddr = strings.Repeat("x", 200) },
		"long build":       func(c *MembersConfig) { c.Build = strings.Repeat("x", 200) },
	} {
		c := good
		spoil(&c)
		if _, err := NewMembers(c); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestParseNodeID(t *testing.T) {
	if got, err := ParseNodeID("h-1#00000000000000ff"); err != nil || got != MakeNodeID("h-1", 255) || got.Name() != "h-1" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, s := range []string{"", "h1", "#00000000000000ff", "h1#ff", "h1#00000000000000FF", "h1#000000000000zzzz", "h 1#00000000000000ff"} {
		if _, err := ParseNodeID(s); err == nil {
			t.Errorf("%q is taken for a node's id", s)
		}
	}
}

func FuzzMeta(f *testing.F) {
	n := someNode()
	f.Add(appendMeta(nil, &n))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		var n Node
		if decodeMeta(p, &n) != nil {
			return
		}
		b := appendMeta(nil, &n)
		var again Node
		if err := decodeMeta(b, &again); err != nil || !reflect.DeepEqual(n, again) {
			t.Errorf("%+v became %+v: %v", n, again, err)
		}
	})
}

func someBodies() map[uint8][]byte {
	reef := wire.Filter{Pool: "gold", Labels: map[string]string{"map": "reef"}, Seats: 2, Build: "v1"}
	at := place{Room: "chat/a", Node: MakeNodeID("h1", 1), Addr: "127.0.0.1:1", Epoch: 5, Incarnation: 4}
	return map[uint8][]byte{
		0:            encode(at),
		callLocate:   encode(locateCall{Room: "chat/a", Mode: wire.ModeJoinOrCreate, After: 9, Not: MakeNodeID("h2", 2), Hops: 1}),
		callEntries:  encode(entriesCall{Changes: []change{{place: at}, {place: at, Gone: true}}}),
		callActivate: encode(activateCall{Room: "chat/a", Floor: 3}),
		1:            encode(activateReply{Held: &held{Node: MakeNodeID("h1", 1), Epoch: 3}}),
		2:            encode(activateReply{At: &at}),
		callOpen:     encode(openCall{Kind: "chat", Most: 9}),
		3:            encode(openReply{Rooms: []OpenRoom{{Room: "chat/a", Members: 1, Max: 2, Labels: map[string]string{"map": "sea"}}}}),
		callConfirm:  encode(confirmCall{Node: MakeNodeID("h1", 1), Addr: "127.0.0.1:1"}),
		4:            encode(confirmReply{Gone: true}),
		callBuried:   encode(buriedCall{Node: MakeNodeID("h1", 1)}),
		5:            encode(locateCall{Room: "chat/", Mode: wire.ModeAny, Filter: &reef, Member: 9, NotRooms: []wire.RoomID{"chat/b"}}),
		6:            encode(activateCall{Room: "chat/a", Mode: wire.ModeCreate, Made: &Made{Labels: map[string]string{"map": "reef"}, By: at.Node}}),
		7:            encode(openCall{Kind: "chat", Most: 9, Filter: reef, ByName: true, After: "a"}),
		8:            encode(openReply{Rooms: []OpenRoom{{Room: "chat/a", Max: 2, Reserved: 1, Epoch: 5, Rev: 7, By: at.Node, AgeMS: 12}}, More: true, Has: 3}),
		callReserve:  encode(Reservation{Room: "chat/a", Member: 9, Filter: reef}),
		9:            encode(reserveReply{Room: &OpenRoom{Room: "chat/a", Members: 2, Max: 2}, Refused: wire.CodeRoomFull, Text: "no seat"}),
	}
}

// recode decodes a body and encodes it again.
func recode(kind uint8, p []byte) (out []byte, err error) {
	switch kind {
	case 0:
		return again[place](p)
	case callLocate, 5:
		return again[locateCall](p)
	case callEntries:
		return again[entriesCall](p)
	case callActivate, 6:
		return again[activateCall](p)
	case 1, 2:
		return again[activateReply](p)
	case callOpen, 7:
		return again[openCall](p)
	case 3, 8:
		return again[openReply](p)
	case callConfirm:
		return again[confirmCall](p)
	case 4:
		return again[confirmReply](p)
	case callBuried:
		return again[buriedCall](p)
	case callReserve:
		return again[Reservation](p)
	case 9:
		return again[reserveReply](p)
	}
	return nil, fmt.Errorf("kind %d", kind)
}

func again[T any, P checked[T]](p []byte) ([]byte, error) {
	v, err := decode[T, P](p)
	if err != nil {
		return nil, err
	}
	return encode(v), nil
}

func TestBodiesRoundTrip(t *testing.T) {
	for kind, body := range someBodies() {
		got, err := recode(kind, body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("kind %#x: %x became %x, %v", kind, body, got, err)
		}
		for n := range body {
			if _, err := recode(kind, body[:n]); err == nil {
				t.Errorf("kind %#x: the first %d of %d bytes were taken for a body", kind, n, len(body))
			}
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	many := entriesCall{}
	for range maxBatch + 1 {
		many.Changes = append(many.Changes, change{place: place{Room: "chat/a", Node: MakeNodeID("h1", 1)}})
	}
	for what, err := range map[string]error{
		"too many changes":               second(decode[entriesCall](encode(many))),
		"too many open":                  second(decode[openReply](encode(openReply{Rooms: make([]OpenRoom, maxOpen+1)}))),
		"no such mode":                   second(decode[locateCall](encode(locateCall{Room: "chat/a", Mode: 9}))),
		"no such room":                   second(decode[locateCall](encode(locateCall{Room: "chat/a b"}))),
		"any, no kind":                   second(decode[locateCall](encode(locateCall{Mode: wire.ModeAny}))),
		"activate any":                   second(decode[activateCall](encode(activateCall{Room: "chat/a", Mode: wire.ModeAny}))),
		"no such node":                   second(decode[buriedCall](encode(buriedCall{Node: "x"}))),
		"empty reply":                    second(decode[activateReply](encode(activateReply{}))),
		"body too big":                   second(decode[buriedCall](make([]byte, maxBody+1))),
		"a seat for nobody":              second(decode[Reservation](encode(Reservation{Room: "chat/a"}))),
		"a filter that is none":          second(decode[Reservation](encode(Reservation{Room: "chat/a", Member: 1, Filter: wire.Filter{Seats: -1}}))),
		"no answer":                      second(decode[reserveReply](encode(reserveReply{}))),
		"labels of a room that is there": second(decode[activateCall](encode(activateCall{Room: "chat/a", Made: &Made{}}))),
		"too many passed over":           second(decode[locateCall](encode(locateCall{Room: "chat/", Mode: wire.ModeAny, NotRooms: make([]wire.RoomID, MaxNotRooms+1)}))),
		"negative seats":                 second(decode[openReply](encode(openReply{Rooms: []OpenRoom{{Room: "chat/a", Members: -1}}}))),
		"negative most":                  second(decode[openCall](encode(openCall{Kind: "chat", Most: -1}))),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	full := entriesCall{Changes: many.Changes[:maxBatch]}
	if _, err := decode[entriesCall](encode(full)); err != nil {
		t.Errorf("a full batch: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzBodies(f *testing.F) {
	for kind, body := range someBodies() {
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind uint8, p []byte) {
		once, err := recode(kind, p)
		if err != nil {
			return
		}
		twice, err := recode(kind, once)
		if err != nil || len(once) != len(twice) {
			t.Errorf("%x became %x: %v", once, twice, err)
		}
	})
}
