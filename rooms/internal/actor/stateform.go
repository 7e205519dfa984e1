package actor

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/rooms"
)

// checkState finds states of which a part would be saved as nothing, or could
// not be used after a restore.
func checkState(state any) error {
	v := reflect.ValueOf(state)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("handler's State returned %T, want a pointer that is not nil", state)
	}
	f := form{seen: map[reflect.Type]bool{}}
	f.walk(v.Type().Elem(), "")
	if f.fault != "" {
		return fmt.Errorf("handler's State returned %T, %s", state, f.fault)
	}
	return nil
}

// Unsaved names the fields within the state of a kind's handlers that are not
// saved, because they are not exported or their tag is "-".
func Unsaved(kind rooms.Kind) []string {
	var g game
	if g.make(kind) != nil || g.state == nil {
		return nil
	}
	f := form{seen: map[reflect.Type]bool{}}
	f.walk(reflect.TypeOf(g.state).Elem(), "")
	return f.unsaved
}

// form is what the types of a state say about how it is saved.
type form struct {
	seen    map[reflect.Type]bool
	fault   string   // the first one
	unsaved []string // as TYPE.FIELD
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	memberType = reflect.TypeFor[rooms.Member]()
	roomType   = reflect.TypeFor[rooms.Room]()
)

// walk looks at type t, which is at path within the state.
func (f *form) walk(t reflect.Type, path string) {
	if f.seen[t] || savesItself(t) {
		return
	}
	f.seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		if t == memberType || t == roomType {
			f.found(path, t, "which is valid during calls only: keep a member's ID")
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		f.walk(t.Elem(), path)
	case reflect.Map:
		f.walk(t.Key(), path)
		f.walk(t.Elem(), path)
	case reflect.Struct:
		f.fields(t, path)
	}
}

func (f *form) fields(t reflect.Type, path string) {
	exported := t.NumField() == 0 // an empty struct is whole
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() && !field.Anonymous {
			f.unsaved = append(f.unsaved, t.String()+"."+field.Name)
			continue
		}
		exported = true
		if tag(field) == "-" {
			f.unsaved = append(f.unsaved, t.String()+"."+field.Name)
			continue
		}
		f.walk(field.Type, strings.TrimPrefix(path+"."+field.Name, "."))
	}
	if !exported {
		f.found(path, t, "which has no exported fields: nothing of it would be saved")
	}
}

func (f *form) found(path string, t reflect.Type, what string) {
	switch {
	case f.fault != "":
	case path == "":
		f.fault = what
	default:
		f.fault = fmt.Sprintf("with a %s in %s, %s", t, path, what)
	}
}

// tag is the field's tag for CBOR, which is that for JSON where there is none.
func tag(f reflect.StructField) string {
	if s, ok := f.Tag.Lookup("cbor"); ok {
		return s
	}
	return f.Tag.Get("json")
}

// savesItself says whether values of t have an encoding of their own.
func savesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t == timeType || p.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) || p.Implements(reflect.TypeFor[cbor.Marshaler]())
}
