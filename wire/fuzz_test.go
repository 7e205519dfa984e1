package wire

import (
	"reflect"
	"testing"
)

// FuzzFromClients decodes what a hostile client may send.
func FuzzFromClients(f *testing.F) { fuzz(f, clientFrames) }

// FuzzFromGateways decodes what a hostile gateway may send.
func FuzzFromGateways(f *testing.F) { fuzz(f, gatewayFrames) }

func fuzz(f *testing.F, kinds []frameKind) {
	for _, k := range kinds {
		f.Add(k.encode(reflect.Zero(k.sample).Interface()))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, k := range kinds {
			if k.typ == TypeOf(msg) {
				recode(t, k, msg)
			} else if _, err := k.decode(append([]byte{byte(k.typ)}, msg...)); err == nil {
				recode(t, k, append([]byte{byte(k.typ)}, msg...))
			}
		}
	})
}

// FuzzRoomID checks that what parses is safe to stand in a key or a log.
func FuzzRoomID(f *testing.F) {
	f.Add("arena/lobby")
	f.Add("arena/")
	f.Add("a/b/c")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseRoom(s)
		if err != nil {
			return
		}
		if Room(id.Kind(), id.Name()) != id || CheckKind(id.Kind()) != nil || CheckName(id.Name()) != nil {
			t.Fatalf("%q parses, but its parts don't make it", s)
		}
		for _, c := range []byte(s) {
			if c <= ' ' || c == '{' || c == '}' || c > '~' {
				t.Fatalf("%q parses with byte %q", s, c)
			}
		}
	})
}

// FuzzFilter reads what a client may say it wants.
func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"pool":"gold","labels":{"map":"reef"},"seats":2,"build":"v1"}`))
	f.Add([]byte(`{"labels":{"pool":"gold"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseFilter(text)
		if err != nil {
			return
		}
		n := v.Normal()
		if err := n.Check(); err != nil {
			t.Fatalf("%q is a filter, but not its normal form: %v", text, err)
		}
		if n.Key() != v.Key() || !v.Matches(v.Made()) || !v.Lists(v.Made()) {
			t.Fatalf("%q: key %s, normal %s; a room made for it has %v", text, v.Key(), n.Key(), v.Made())
		}
		again, err := ParseFilter(v.JSON())
		if err == nil && again.Key() != v.Key() {
			t.Fatalf("%q became %q", text, v.JSON())
		}
	})
}
