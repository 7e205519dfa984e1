package wire

import (
	"errors"
	"fmt"
)

// Find asks for a membership of any room of a kind that its filter takes, or
// of a new one. The answer is as a join's.
type Find struct {
	Ref    uint32
	Kind   string
	Filter Filter
	Data   []byte
}

// Browse asks for open rooms of a kind by name, from the first behind After
// on. With Watch, pages with changes follow until Quit.
type Browse struct {
	Ref    uint32
	Watch  bool
	Most   uint16
	Kind   string
	After  string
	Filter Filter
}

// Quit ends a browse that watches.
type Quit struct{ Ref uint32 }

// Page answers a browse: JSON is an array of rooms. An Update holds those that
// have changed since the last page, and, with gone set, those that left it.
type Page struct {
	Ref             uint32
	Update          bool
	Asked, Answered uint16 // hosts
	Covered         uint16 // thousandths of the asked hosts' rooms that the answers cover
	Next            string // where the next page begins; "": this is the last
	JSON            []byte
}

// Append encodes the frame onto b. A filter above MaxFilter does not decode.
func (f Find) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeFind)), f.Ref)
	b = AppendStr8(b, f.Kind)
	b = AppendBytes16(b, f.Filter.JSON())
	return AppendBytes16(b, f.Data)
}

// DecodeFind decodes a message of TypeFind.
func DecodeFind(msg []byte) (Find, error) {
	r := body(msg)
	f := Find{Ref: r.U32("ref"), Kind: r.Str8("kind", MaxKindLen)}
	filter := r.Bytes16("filter", MaxFilter)
	f.Data = r.Bytes16("data", MaxJoinData)
	f.Filter = r.filter(f.Kind, filter)
	return done(f, &r, "find")
}

// filter parses a filter, and checks the kind of its rooms.
func (r *Reader) filter(kind string, text []byte) Filter {
	if r.err != nil {
		return Filter{}
	}
	f, err := ParseFilter(text)
	r.Fail(errors.Join(CheckKind(kind), err))
	return f
}

// Append encodes the frame onto b. A filter above MaxFilter does not decode.
func (f Browse) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypeBrowse)), f.Ref)
	b = be.AppendUint16(append(b, bit(f.Watch)), f.Most)
	b = AppendStr8(AppendStr8(b, f.Kind), f.After)
	return AppendBytes16(b, f.Filter.JSON())
}

// DecodeBrowse decodes a message of TypeBrowse.
func DecodeBrowse(msg []byte) (Browse, error) {
	r := body(msg)
	f := Browse{Ref: r.U32("ref"), Watch: r.U8("watch") == 1, Most: r.U16("most")}
	f.Kind, f.After = r.Str8("kind", MaxKindLen), r.Str8("after", MaxRoomNameLen)
	f.Filter = r.filter(f.Kind, r.Bytes16("filter", MaxFilter))
	if r.err == nil && f.Ref == 0 {
		r.Fail(fmt.Errorf("ref 0: a browse needs one"))
	}
	return done(f, &r, "browse")
}

// Append encodes the frame onto b.
func (f Quit) Append(b []byte) []byte { return be.AppendUint32(append(b, byte(TypeQuit)), f.Ref) }

// DecodeQuit decodes a message of TypeQuit.
func DecodeQuit(msg []byte) (Quit, error) {
	r := body(msg)
	return done(Quit{Ref: r.U32("ref")}, &r, "quit")
}

// Append encodes the frame onto b.
func (f Page) Append(b []byte) []byte {
	b = be.AppendUint32(append(b, byte(TypePage)), f.Ref)
	b = be.AppendUint16(append(b, bit(f.Update)), f.Asked)
	b = AppendStr8(be.AppendUint16(be.AppendUint16(b, f.Answered), f.Covered), f.Next)
	return append(b, f.JSON...)
}

// DecodePage decodes a message of TypePage.
func DecodePage(msg []byte) (Page, error) {
	r := body(msg)
	f := Page{Ref: r.U32("ref"), Update: r.U8("update") == 1, Asked: r.U16("asked"), Answered: r.U16("answered"), Covered: r.U16("covered")}
	f.Next = r.Str8("next", MaxRoomNameLen)
	f.JSON = r.Rest("rooms", MaxPayload)
	return done(f, &r, "page")
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}
