package wire

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// frameKind ties a frame's name in the document to its codec.
type frameKind struct {
	name   string
	typ    Type
	sample reflect.Type
	encode func(v any) []byte
	decode func(msg []byte) (any, error)
}

type appender interface{ Append([]byte) []byte }

func kindOf[F appender](name string, t Type, decode func([]byte) (F, error)) frameKind {
	return frameKind{
		name: name, typ: t, sample: reflect.TypeFor[F](),
		encode: func(v any) []byte { return v.(F).Append(nil) },
		decode: func(msg []byte) (any, error) { f, err := decode(msg); return f, err },
	}
}

// echo is the field of pings and pongs, which have no type of their own.
type echo struct{ Echo uint64 }

func echoKind(name string, t Type) frameKind {
	return frameKind{
		name: name, typ: t, sample: reflect.TypeFor[echo](),
		encode: func(v any) []byte { return AppendPing(nil, t, v.(echo).Echo) },
		decode: func(msg []byte) (any, error) { n, err := DecodePing(msg); return echo{n}, err },
	}
}

// The three classes of Message, each with the fields that it has on the wire.
type (
	reliable struct {
		Handle  Handle
		Seq     Seq
		Payload []byte
	}
	newest struct {
		Handle  Handle
		Key     uint32
		Payload []byte
	}
	fleeting struct {
		Handle  Handle
		Payload []byte
	}
)

func (f reliable) Append(b []byte) []byte {
	return Message{Type: TypeMessage, Handle: f.Handle, Seq: f.Seq, Payload: f.Payload}.Append(b)
}

func (f newest) Append(b []byte) []byte {
	return Message{Type: TypeLatest, Handle: f.Handle, Key: f.Key, Payload: f.Payload}.Append(b)
}

func (f fleeting) Append(b []byte) []byte {
	return Message{Type: TypeEphemeral, Handle: f.Handle, Payload: f.Payload}.Append(b)
}

func decodeReliable(msg []byte) (reliable, error) {
	m, err := DecodeMessage(msg)
	return reliable{m.Handle, m.Seq, m.Payload}, err
}

func decodeNewest(msg []byte) (newest, error) {
	m, err := DecodeMessage(msg)
	return newest{m.Handle, m.Key, m.Payload}, err
}

func decodeFleeting(msg []byte) (fleeting, error) {
	m, err := DecodeMessage(msg)
	return fleeting{m.Handle, m.Payload}, err
}

var clientFrames = []frameKind{
	kindOf("hello", TypeHello, DecodeHello),
	kindOf("join", TypeJoin, DecodeJoin),
	kindOf("resume", TypeResume, DecodeResume),
	kindOf("input", TypeInput, DecodeInput),
	kindOf("skip", TypeSkip, DecodeSkip),
	kindOf("leave", TypeLeave, DecodeLeave),
	echoKind("ping", TypePing),
	kindOf("list", TypeList, DecodeList),
	kindOf("find", TypeFind, DecodeFind),
	kindOf("browse", TypeBrowse, DecodeBrowse),
	kindOf("quit", TypeQuit, DecodeQuit),
}

var gatewayFrames = []frameKind{
	kindOf("welcome", TypeWelcome, DecodeWelcome),
	kindOf("joined", TypeJoined, DecodeJoined),
	kindOf("message", TypeMessage, decodeReliable),
	kindOf("latest", TypeLatest, decodeNewest),
	kindOf("ephemeral", TypeEphemeral, decodeFleeting),
	kindOf("ack", TypeAck, DecodeAck),
	kindOf("expect", TypeExpect, DecodeExpect),
	kindOf("attached", TypeAttached, DecodeAttached),
	kindOf("waiting", TypeWaiting, DecodeWaiting),
	kindOf("failed", TypeFailed, DecodeFailed),
	kindOf("skipped", TypeSkipped, DecodeSkipped),
	kindOf("store", TypeStore, DecodeStore),
	kindOf("left", TypeLeft, DecodeLeft),
	kindOf("error", TypeError, DecodeError),
	echoKind("pong", TypePong),
	kindOf("go away", TypeGoAway, DecodeGoAway),
	kindOf("rooms", TypeRooms, DecodeRooms),
	kindOf("page", TypePage, DecodePage),
}

func allFrames() []frameKind {
	return append(append([]frameKind(nil), clientFrames...), gatewayFrames...)
}

var hump = regexp.MustCompile(`([a-z])([A-Z])`)

// fieldName is a Go field's name as the document writes it.
func fieldName(s string) string { return strings.ToLower(hump.ReplaceAllString(s, "${1}_$2")) }

// leaves calls f for every field of a frame, nested ones too.
func leaves(v reflect.Value, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Filter]() {
			leaves(v.Field(i), f)
		} else {
			f(fieldName(field.Name), v.Field(i))
		}
	}
}

// toFields makes plain values of a frame: numbers, text, bytes in hexadecimal.
func toFields(frame any) map[string]any {
	fields := map[string]any{}
	leaves(reflect.ValueOf(frame), func(name string, v reflect.Value) { fields[name] = plain(v) })
	return fields
}

func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		f := v.Interface().(Filter)
		return hex.EncodeToString(f.JSON())
	case reflect.Slice:
		return hex.EncodeToString(v.Bytes())
	case reflect.Array:
		b := v.Interface().(Instance)
		return hex.EncodeToString(b[:])
	case reflect.Bool:
		if v.Bool() {
			return uint64(1)
		}
		return uint64(0)
	case reflect.String:
		return v.String()
	default:
		return v.Uint()
	}
}

// fromFields makes a frame of plain values; every field must be there.
func fromFields(sample reflect.Type, fields map[string]any) (frame any, err error) {
	v := reflect.New(sample).Elem()
	seen := 0
	leaves(v, func(name string, v reflect.Value) {
		value, ok := fields[name]
		if !ok {
			err = fmt.Errorf("field %s is missing", name)
			return
		}
		seen++
		if e := set(v, value); e != nil && err == nil {
			err = fmt.Errorf("field %s: %w", name, e)
		}
	})
	if err == nil && seen != len(fields) {
		err = fmt.Errorf("%d fields, want %d", len(fields), seen)
	}
	return v.Interface(), err
}

func set(v reflect.Value, value any) error {
	switch x := value.(type) {
	case uint64:
		if v.Kind() == reflect.Bool {
			v.SetBool(x == 1)
			return nil
		}
		if !v.CanUint() || v.OverflowUint(x) {
			return fmt.Errorf("%d does not fit %s", x, v.Type())
		}
		v.SetUint(x)
	case string:
		if v.Kind() == reflect.String {
			v.SetString(x)
			return nil
		}
		b, err := hex.DecodeString(x)
		if err != nil {
			return err
		}
		if v.Kind() == reflect.Struct {
			f, err := ParseFilter(b)
			v.Set(reflect.ValueOf(f))
			return err
		}
		if v.Kind() == reflect.Array {
			if len(b) != v.Len() {
				return fmt.Errorf("%d bytes, want %d", len(b), v.Len())
			}
			reflect.Copy(v, reflect.ValueOf(b))
			return nil
		}
		v.SetBytes(b)
	default:
		return fmt.Errorf("%T is no plain value", value)
	}
	return nil
}
