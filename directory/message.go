package directory

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/wire"
)

// Calls between nodes. Their bodies are CBOR with small integers for keys;
// keys that a build does not know are ignored.
const (
	callLocate     uint8 = 0x10 // locateCall -> Location, on hosts
	callEntries    uint8 = 0x11 // entriesCall -> nothing, on hosts
	callActivate   uint8 = 0x12 // activateCall -> activateReply, on hosts
	callOpen       uint8 = 0x13 // openCall -> openReply, on hosts
	callConfirm    uint8 = 0x14 // confirmCall -> confirmReply
	callBuried     uint8 = 0x15 // buriedCall -> nothing
	callPing       uint8 = 0x16 // nothing -> nothing
	callRestarting uint8 = 0x17 // restartingCall -> nothing
	callReserve    uint8 = 0x18 // Reservation -> reserveReply, on hosts
)

// Bounds of calls.
const (
	maxBody     = 1 << 20 // of a call or a reply, in bytes
	maxBatch    = 512     // changes in one callEntries
	maxOpen     = 256     // rooms in one openReply
	maxHops     = 2       // forwards of one callLocate
	maxListHost = 1024    // hosts asked by one list
)

var (
	encoding = must(cbor.EncOptions{}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  6,
		MaxArrayElements: 1024,
		MaxMapPairs:      64,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type place struct {
	Room        wire.RoomID      `cbor:"1,keyasint"`
	Node        NodeID           `cbor:"2,keyasint"`
	Addr        string           `cbor:"3,keyasint"`
	Epoch       wire.Epoch       `cbor:"4,keyasint"`
	Incarnation wire.Incarnation `cbor:"5,keyasint"`
}

func (p *place) check() error {
	if err := checkRoom(p.Room); err != nil {
		return err
	}
	if len(p.Addr) > maxAddr {
		return fmt.Errorf("address of %d bytes: want at most %d", len(p.Addr), maxAddr)
	}
	return checkNode(p.Node)
}

type locateCall struct {
	Room  wire.RoomID `cbor:"1,keyasint"`
	Mode  wire.Mode   `cbor:"2,keyasint"`
	After wire.Epoch  `cbor:"3,keyasint"`
	Not   NodeID      `cbor:"4,keyasint,omitempty"`
	Hops  uint8       `cbor:"5,keyasint"`

	Filter   *wire.Filter  `cbor:"6,keyasint,omitempty"`
	Member   wire.MemberID `cbor:"7,keyasint,omitempty"`
	NotRooms []wire.RoomID `cbor:"8,keyasint,omitempty"`
}

func newLocateCall(q *Request, hops uint8) locateCall {
	c := locateCall{Room: q.Room, Mode: q.Mode, After: q.After, Not: q.Not, Hops: hops}
	if q.Mode == wire.ModeAny {
		c.Member, c.NotRooms = q.Member, q.NotRooms
		if !q.Filter.IsZero() {
			c.Filter = &q.Filter
		}
	}
	return c
}

func (c *locateCall) request() Request {
	q := Request{Room: c.Room, Mode: c.Mode, After: c.After, Not: c.Not, Member: c.Member, NotRooms: c.NotRooms}
	if c.Filter != nil {
		q.Filter = *c.Filter
	}
	return q
}

func (c *locateCall) check() error {
	if c.Not != "" {
		if err := checkNode(c.Not); err != nil {
			return err
		}
	}
	q := c.request()
	return q.check()
}

// check says what is wrong with a request.
func (q *Request) check() error {
	if len(q.NotRooms) > MaxNotRooms {
		return fmt.Errorf("%d rooms to pass over: want at most %d", len(q.NotRooms), MaxNotRooms)
	}
	if err := q.Filter.Check(); err != nil {
		return err
	}
	return checkRequest(q.Room, q.Mode)
}

// checkRequest says what is wrong with the room of a request.
func checkRequest(room wire.RoomID, mode wire.Mode) error {
	if mode > wire.ModeAny {
		return fmt.Errorf("mode %d: want 0 to %d", mode, wire.ModeAny)
	}
	if mode == wire.ModeAny {
		return wire.CheckKind(room.Kind())
	}
	return checkRoom(room)
}

// change tells that a room lives somewhere, or no longer does.
type change struct {
	place
	Gone bool `cbor:"6,keyasint,omitempty"`
}

type entriesCall struct {
	Changes []change `cbor:"1,keyasint"`
}

func (c *entriesCall) check() error {
	if len(c.Changes) > maxBatch {
		return fmt.Errorf("%d changes: want at most %d", len(c.Changes), maxBatch)
	}
	for i := range c.Changes {
		if err := c.Changes[i].check(); err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
	}
	return nil
}

type activateCall struct {
	Room  wire.RoomID `cbor:"1,keyasint"`
	Mode  wire.Mode   `cbor:"2,keyasint"`
	Floor wire.Epoch  `cbor:"3,keyasint"`
	Made  *Made       `cbor:"4,keyasint,omitempty"` // with ModeCreate
}

func (c *activateCall) check() error {
	if c.Mode > wire.ModeJoinOrCreate {
		return fmt.Errorf("mode %d: want 0 to %d", c.Mode, wire.ModeJoinOrCreate)
	}
	if c.Made != nil {
		if err := c.Made.check(c.Mode); err != nil {
			return err
		}
	}
	return checkRoom(c.Room)
}

func (m *Made) check(mode wire.Mode) error {
	if mode != wire.ModeCreate {
		return fmt.Errorf("labels with mode %d: only a room that is made has them", mode)
	}
	if m.By != "" {
		if err := checkNode(m.By); err != nil {
			return err
		}
	}
	return wire.CheckLabels(m.Labels)
}

// activateReply holds one of the two. Other errors cross as errors.
type activateReply struct {
	At   *place `cbor:"1,keyasint,omitempty"`
	Held *held  `cbor:"2,keyasint,omitempty"`
}

type held struct {
	Node  NodeID     `cbor:"1,keyasint"`
	Epoch wire.Epoch `cbor:"2,keyasint"`
}

func (r *activateReply) check() error {
	switch {
	case r.At != nil:
		return r.At.check()
	case r.Held != nil:
		return checkNode(r.Held.Node)
	}
	return fmt.Errorf("neither a place nor a holder")
}

type openCall struct {
	Kind string `cbor:"1,keyasint"`
	Most int    `cbor:"2,keyasint"`

	Filter wire.Filter `cbor:"3,keyasint"`
	ByName bool        `cbor:"4,keyasint,omitempty"` // a page, behind After
	After  string      `cbor:"5,keyasint,omitempty"`
}

func (c *openCall) check() error {
	if c.Most < 0 || c.Most > maxOpen {
		return fmt.Errorf("most is %d: want 0 to %d", c.Most, maxOpen)
	}
	if len(c.After) > wire.MaxRoomNameLen {
		return fmt.Errorf("page after a name of %d bytes", len(c.After))
	}
	if err := c.Filter.Check(); err != nil {
		return err
	}
	return wire.CheckKind(c.Kind)
}

type openReply struct {
	Rooms []OpenRoom `cbor:"1,keyasint"`
	More  bool       `cbor:"2,keyasint,omitempty"`
	Has   uint64     `cbor:"3,keyasint,omitempty"` // rooms of the host in all
}

func (r *openReply) check() error {
	if len(r.Rooms) > maxOpen {
		return fmt.Errorf("%d rooms: want at most %d", len(r.Rooms), maxOpen)
	}
	for i := range r.Rooms {
		if err := r.Rooms[i].check(); err != nil {
			return fmt.Errorf("room %d: %w", i, err)
		}
	}
	return nil
}

func (o *OpenRoom) check() error {
	if err := checkRoom(o.Room); err != nil {
		return err
	}
	if o.Members < 0 || o.Max < 0 || o.Reserved < 0 {
		return fmt.Errorf("room with %d members of %d, %d reserved", o.Members, o.Max, o.Reserved)
	}
	return wire.CheckLabels(o.Labels)
}

func (c *Reservation) check() error {
	if c.Member == 0 {
		return errors.New("a seat for nobody")
	}
	if err := c.Filter.Check(); err != nil {
		return err
	}
	return checkRoom(c.Room)
}

// reserveReply is the room as it is afterwards, nil where it is not there, and
// why no seat is held, 0 where one is.
type reserveReply struct {
	Room    *OpenRoom `cbor:"1,keyasint,omitempty"`
	Refused wire.Code `cbor:"2,keyasint,omitempty"`
	Text    string    `cbor:"3,keyasint,omitempty"`
}

func (r *reserveReply) check() error {
	if r.Room == nil {
		if r.Refused == 0 {
			return errors.New("neither a room nor a refusal")
		}
		return nil
	}
	return r.Room.check()
}

type confirmCall struct {
	Node NodeID `cbor:"1,keyasint"`
	Addr string `cbor:"2,keyasint"`
}

func (c *confirmCall) check() error {
	if len(c.Addr) > maxAddr {
		return fmt.Errorf("address of %d bytes: want at most %d", len(c.Addr), maxAddr)
	}
	return checkNode(c.Node)
}

type confirmReply struct {
	Gone bool `cbor:"1,keyasint"`
}

func (*confirmReply) check() error { return nil }

type buriedCall struct {
	Node NodeID `cbor:"1,keyasint"`
}

func (c *buriedCall) check() error { return checkNode(c.Node) }

func checkRoom(room wire.RoomID) error {
	_, err := wire.ParseRoom(string(room))
	return err
}

func checkNode(id NodeID) error {
	if len(id) > maxNodeID {
		return fmt.Errorf("node id of %d bytes: want at most %d", len(id), maxNodeID)
	}
	_, err := ParseNodeID(string(id))
	return err
}

func encode(v any) []byte { return must(encoding.Marshal(v)) }

// checked is a body that says what is wrong with it.
type checked[T any] interface {
	*T
	check() error
}

// decode reads a body and checks it. Its errors are refusals.
func decode[T any, P checked[T]](body []byte) (T, error) {
	var v, zero T
	if len(body) > maxBody {
		return zero, wire.Refuse(wire.CodeTooBig, fmt.Sprintf("directory message of %d bytes: want at most %d", len(body), maxBody))
	}
	err := decoding.Unmarshal(body, &v)
	if err == nil {
		err = P(&v).check()
	}
	if err != nil {
		return zero, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("%T: %v", v, err))
	}
	return v, nil
}

// decodeReply is decode for what a node answered: that it can't be read is
// that node's fault, not the asker's.
func decodeReply[T any, P checked[T]](body []byte) (T, error) {
	v, err := decode[T, P](body)
	if err != nil {
		err = wire.Refuse(wire.CodeUnavailable, "unreadable answer: "+err.Error())
	}
	return v, err
}
