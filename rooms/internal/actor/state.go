package actor

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// stateFormat is the version of the layout of saved.
const stateFormat = 1

// maxSeq bounds what is read, so that counting on from it can't overflow.
const maxSeq wire.Seq = 1 << 60

// saved is a checkpoint's body, as CBOR.
type saved struct {
	Format   int               `cbor:"0,keyasint"`
	Epoch    wire.Epoch        `cbor:"1,keyasint"`
	Seq      wire.Seq          `cbor:"2,keyasint"`
	Members  []savedMember     `cbor:"3,keyasint"`
	Rand     []byte            `cbor:"4,keyasint"`
	Timers   []savedTimer      `cbor:"5,keyasint,omitempty"`
	Labels   map[string]string `cbor:"6,keyasint,omitempty"`
	Locked   bool              `cbor:"7,keyasint,omitempty"`
	Closed   bool              `cbor:"8,keyasint,omitempty"`
	Reason   string            `cbor:"9,keyasint,omitempty"`
	Kicked   []savedKick       `cbor:"10,keyasint,omitempty"`
	Departed []savedDeparted   `cbor:"11,keyasint,omitempty"`
	Poison   []savedPoison     `cbor:"12,keyasint,omitempty"`
	State    rawState          `cbor:"13,keyasint,omitzero"`
	Private  bool              `cbor:"18,keyasint,omitempty"`
	Seats    []savedSeat       `cbor:"19,keyasint,omitempty"`

	// Of journaled kinds alone.
	Live    *savedLive   `cbor:"14,keyasint,omitempty"`
	Lineage []savedEpoch `cbor:"15,keyasint,omitempty"`
	Log     []savedLog   `cbor:"16,keyasint,omitempty"`
	Now     int64        `cbor:"17,keyasint,omitempty"`
}

type savedMember struct {
	_        struct{} `cbor:",toarray"`
	ID       wire.MemberID
	User     string
	Gen      wire.Generation
	Proved   wire.Generation
	Instance []byte
	Applied  wire.Input
	Count    uint64
	Joined   wire.Seq
}

// savedLive is where a room is in the middle of its life, which its journal
// goes on from.
type savedLive struct {
	_         struct{} `cbor:",toarray"`
	Ticks     uint64
	Reserved  uint64
	Due       int64
	Left      int64
	Connected []wire.MemberID
	Away      []savedAway // in the order in which they were dropped
	Claims    [][]byte    // of those connected
}

type savedAway struct {
	_     struct{} `cbor:",toarray"`
	ID    wire.MemberID
	Since int64
}

type savedEpoch struct {
	_     struct{} `cbor:",toarray"`
	Epoch wire.Epoch
	Seq   wire.Seq
}

type savedLog struct {
	_       struct{} `cbor:",toarray"`
	Aud     peer.Audience
	Listed  []wire.MemberID
	Payload []byte
}

type savedTimer struct {
	_    struct{} `cbor:",toarray"`
	Name string
	Due  int64
}

type savedKick struct {
	_    struct{} `cbor:",toarray"`
	ID   wire.MemberID
	Text string
}

type savedDeparted struct {
	_    struct{} `cbor:",toarray"`
	ID   wire.MemberID
	Code wire.Code
}

type savedPoison struct {
	_        struct{} `cbor:",toarray"`
	Member   wire.MemberID
	Instance []byte
	N        wire.Input
}

// The encoding is deterministic, so that equal states are equal bytes. What
// the encoder lets pass the decoder must take: its own limits are lifted, and
// the size of a checkpoint is the store's to bound. The decoder checks that
// data is well formed before it allocates for it.
var (
	encMode = must(func() (cbor.UserBufferEncMode, error) {
		o := cbor.CoreDetEncOptions()
		o.Time = cbor.TimeRFC3339Nano
		return o.UserBufferEncMode()
	}())
	decMode = must(cbor.DecOptions{
		MaxArrayElements: math.MaxInt32,
		MaxMapPairs:      math.MaxInt32,
		MaxNestedLevels:  math.MaxUint16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fill puts all but the state into s, which is empty.
func (r *Room) fill(s *saved) {
	*s = saved{
		Format: stateFormat, Epoch: r.cfg.Epoch, Seq: r.seq,
		Members: slices.Grow(s.Members, len(r.members)), Rand: s.Rand,
		Labels: r.labels, Locked: r.locked, Private: r.private,
		Closed: r.ending.on, Reason: r.ending.text, Seats: r.seats(),
	}
	s.Rand, _ = r.source.AppendBinary(s.Rand) // never fails
	for _, m := range r.order {
		if !m.gone {
			s.Members = append(s.Members, savedMember{
				ID: m.id, User: m.pass.user, Gen: m.gen, Proved: m.proved, Instance: m.instance[:],
				Applied: m.applied, Count: m.count(), Joined: m.joined,
			})
		}
	}
	for _, t := range r.timers {
		s.Timers = append(s.Timers, savedTimer{Name: t.name, Due: t.due})
	}
	for _, k := range r.kicked.inOrder() {
		s.Kicked = append(s.Kicked, savedKick{ID: k.id, Text: k.text})
	}
	for _, d := range r.departed.inOrder() {
		s.Departed = append(s.Departed, savedDeparted{ID: d.id, Code: d.code})
	}
	for _, p := range r.poison {
		s.Poison = append(s.Poison, savedPoison{Member: p.Member, Instance: p.Instance[:], N: p.N})
	}
	if r.cfg.Kind.Durability.Journaled() {
		r.recordLife(s)
	}
}

// recordLife adds what a journaled room's next owner needs to go on in the
// middle of things, and to resume its members.
func (r *Room) recordLife(s *saved) {
	s.Now = r.now.UnixNano()
	for _, o := range r.lineage.past {
		s.Lineage = append(s.Lineage, savedEpoch{Epoch: o.epoch, Seq: o.seq})
	}
	for seq := r.kept.floor + 1; seq <= r.kept.last(); seq++ {
		e, payload := r.kept.get(seq)
		s.Log = append(s.Log, savedLog{Aud: e.aud, Listed: r.kept.listed(e), Payload: payload})
	}
	if r.stopped {
		return
	}
	l := &savedLive{Ticks: r.ticks.run, Reserved: max(r.reserved, r.ticks.run), Due: r.ticks.due.UnixNano(), Left: r.ticks.left}
	for _, m := range r.order {
		if !m.gone && m.port != nil {
			l.Connected = append(l.Connected, m.id)
			l.Claims = append(l.Claims, m.pass.claims)
		}
	}
	for m := r.away.first; m != nil; m = m.away.next {
		l.Away = append(l.Away, savedAway{ID: m.id, Since: m.away.since.UnixNano()})
	}
	s.Live = l
}

func (r *Room) encodeState() (b []byte, err error) {
	if r.state == nil {
		return nil, nil
	}
	defer catch(&err)
	return encMode.Marshal(r.state)
}

// CheckState says whether a new handler of the kind takes the state in a
// checkpoint's body, and gives the same state again.
func CheckState(kind rooms.Kind, body []byte) error {
	var s saved
	if err := decMode.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("decode checkpoint: %w", err)
	}
	var r Room
	if err := r.game.make(kind); err != nil {
		return err
	}
	if err := r.restoreState(s.State); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	again, err := r.encodeState()
	if err != nil {
		return fmt.Errorf("encode restored state: %w", err)
	}
	if !bytes.Equal(again, s.State) {
		return fmt.Errorf("restored state differs from the one saved: %d bytes of CBOR, were %d", len(again), len(s.State))
	}
	return nil
}

// catch turns a panic of the state's own methods into an error.
func catch(err *error) {
	if v := recover(); v != nil {
		*err = &Panic{Value: v, Stack: debug.Stack()}
	}
}

// restore takes up a checkpoint's body. Members start as dropped.
func (r *Room) restore(body []byte) error {
	var s saved
	if err := decMode.Unmarshal(body, &s); err != nil {
		return err
	}
	if s.Format != stateFormat {
		return fmt.Errorf("format %d: this build reads %d", s.Format, stateFormat)
	}
	if s.Seq > maxSeq {
		return fmt.Errorf("sequence %d is out of range", s.Seq)
	}
	if err := r.source.UnmarshalBinary(s.Rand); err != nil {
		return err
	}
	r.seq, r.base = s.Seq, origin{s.Epoch, s.Seq}
	r.kept.reset(s.Seq)
	r.acks.counted = s.Seq
	r.locked, r.private = s.Locked, s.Private
	r.ending = ending{on: s.Closed, text: clip(s.Reason), confirmed: s.Closed}
	if err := errors.Join(r.restoreMembers(s.Members), r.restoreSettings(&s)); err != nil {
		return err
	}
	r.restoreSeats(s.Seats)
	if err := r.restorePast(&s); err != nil {
		return err
	}
	if err := r.restoreLife(&s); err != nil {
		return err
	}
	return r.upgradeState(s.State)
}

// restoreLife takes up what recordLife added.
func (r *Room) restoreLife(s *saved) error {
	if s.Now == 0 { // of a kind that keeps no journal: its former positions are not taken up
		return nil
	}
	r.lineage.epoch = s.Epoch
	for _, o := range s.Lineage[max(0, len(s.Lineage)-maxLineage):] {
		r.lineage.past = append(r.lineage.past, origin{o.Epoch, o.Seq})
	}
	if n := wire.Seq(len(s.Log)); n > 0 && n <= r.seq {
		r.kept.reset(r.seq - n)
		for _, e := range s.Log {
			r.kept.add(e.Aud, e.Listed, e.Payload)
		}
	}
	if at := time.Unix(0, s.Now); s.Live != nil || at.After(r.now) {
		r.now, r.wall = at, at
	}
	l := s.Live
	if l == nil {
		return nil
	}
	r.live = true
	r.ticks.open(r)
	r.ticks.run, r.reserved = l.Ticks, l.Reserved
	r.ticks.due, r.ticks.left = time.Unix(0, l.Due), l.Left
	for i, id := range l.Connected {
		m := r.members[id]
		if m == nil || m.port != nil {
			return fmt.Errorf("connected member %d: not one, or twice", id)
		}
		r.away.remove(m)
		if i < len(l.Claims) && len(l.Claims[i]) > 0 {
			m.pass = newPass(m.pass.user, l.Claims[i], m.pass.seat)
		}
		r.bind(m, limbo{})
	}
	for _, a := range l.Away {
		m := r.members[a.ID]
		if m == nil || m.port != nil {
			return fmt.Errorf("dropped member %d: not one, or connected", a.ID)
		}
		r.away.remove(m)
		r.away.add(m, time.Unix(0, a.Since))
	}
	return nil
}

func (r *Room) restoreMembers(list []savedMember) error {
	for _, s := range list {
		switch {
		case s.ID == 0 || s.ID > wire.MaxMemberID || r.members[s.ID] != nil:
			return fmt.Errorf("member %d: not one, or twice", s.ID)
		case len(s.User) > wire.MaxUserLen:
			return fmt.Errorf("member %d: name of %d bytes", s.ID, len(s.User))
		case s.Applied > maxInput || s.Joined > r.seq || s.Gen > 3<<30:
			return fmt.Errorf("member %d: counters out of range", s.ID)
		}
		m := r.newMember(s.ID, newPass(s.User, nil, ""))
		if err := instance(&m.instance, s.Instance); err != nil {
			return fmt.Errorf("member %d: %w", s.ID, err)
		}
		m.gen, m.proved = s.Gen, s.Proved
		m.applied, m.durable = s.Applied, s.Applied
		m.delta, m.joined = int64(s.Count), s.Joined
		r.enlist(m)
		r.setAway(m)
	}
	return nil
}

func instance(i *wire.Instance, b []byte) error {
	if len(b) != len(i) {
		return fmt.Errorf("client instance of %d bytes, want %d", len(b), len(i))
	}
	copy(i[:], b)
	return nil
}

func (r *Room) restoreSettings(s *saved) error {
	if err := wire.CheckLabels(s.Labels); err != nil {
		return err
	}
	r.labels = s.Labels
	if len(s.Timers) > rooms.MaxTimers {
		return fmt.Errorf("%d timers: a room has at most %d", len(s.Timers), rooms.MaxTimers)
	}
	for _, t := range s.Timers {
		r.StopTimer(t.Name)
		r.addTimer(timer{t.Name, t.Due})
	}
	return nil
}

// restorePast takes up what the room remembers of members and inputs that are
// over. Lists that are longer than this build's keep their newest.
func (r *Room) restorePast(s *saved) error {
	for _, k := range s.Kicked {
		r.kicked.add(kickedID{id: k.ID, text: clip(k.Text)})
	}
	for _, d := range s.Departed {
		r.departed.add(departedID{d.ID, d.Code})
	}
	for _, p := range s.Poison {
		q := Poison{Member: p.Member, N: p.N}
		if err := instance(&q.Instance, p.Instance); err != nil {
			return fmt.Errorf("poisoned input of member %d: %w", p.Member, err)
		}
		r.addPoison(q)
	}
	return nil
}

// restoreState fills the handler's state. Fields that the checkpoint does not
// have keep what New gave them; maps and slices that New filled are emptied
// first, so that what was deleted stays deleted.
func (r *Room) restoreState(b []byte) (err error) {
	if r.state == nil || len(b) == 0 {
		return nil
	}
	defer catch(&err)
	empty(reflect.ValueOf(r.state).Elem())
	return decMode.Unmarshal(b, r.state)
}

func empty(v reflect.Value) {
	switch v.Kind() {
	case reflect.Map:
		if v.Len() > 0 {
			v.Set(reflect.MakeMap(v.Type()))
		}
	case reflect.Slice:
		if v.Len() > 0 {
			v.SetZero()
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				empty(v.Field(i))
			}
		}
	}
}
