package actor

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// baggageFormat is the version of the layout of baggage.
const baggageFormat = 1

// quietFor is how long members have to follow a move before they count as
// dropped.
const quietFor = 3 * time.Second

// baggage is what a live move carries beside the checkpoint: what a restored
// room does without. A journaled room's checkpoint has all but Base.
type baggage struct {
	Format  int            `cbor:"0,keyasint"`
	Base    packedOrigin   `cbor:"1,keyasint"`
	Past    []packedOrigin `cbor:"2,keyasint,omitempty"`
	Floor   wire.Seq       `cbor:"3,keyasint"`
	Log     []packedEntry  `cbor:"4,keyasint,omitempty"`
	Away    []packedAway   `cbor:"5,keyasint,omitempty"` // the one dropped first comes first
	Tick    int64          `cbor:"6,keyasint,omitempty"` // when the next one is due, in nanoseconds since 1970
	Skipped int64          `cbor:"7,keyasint,omitempty"` // ticks left out before it
	Claims  []packedClaims `cbor:"8,keyasint,omitempty"` // of those connected who have any
	Behind  []packedBehind `cbor:"9,keyasint,omitempty"` // members whose last inputs are not in the store
}

type packedBehind struct {
	_       struct{} `cbor:",toarray"`
	ID      wire.MemberID
	Durable wire.Input
}

type packedOrigin struct {
	_     struct{} `cbor:",toarray"`
	Epoch wire.Epoch
	Seq   wire.Seq
}

type packedEntry struct {
	_        struct{} `cbor:",toarray"`
	Audience peer.Audience
	Listed   int
	Record   []byte // the listed members, then the payload
}

type packedAway struct {
	_   struct{} `cbor:",toarray"`
	ID  wire.MemberID
	For int64 // nanoseconds
}

type packedClaims struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.MemberID
	Claims []byte
}

// Pack returns what goes with a checkpoint when the room moves live: the resume
// log, who is connected, and which positions the next copy goes on from. It
// changes nothing: the room may as well go on here.
func (r *Room) Pack(now time.Time) ([]byte, error) { return r.pack(now, true) }

// PackUnsaved is Pack for a checkpoint that the store does not get: the next
// copy knows what is not durable yet.
func (r *Room) PackUnsaved(now time.Time) ([]byte, error) { return r.pack(now, false) }

func (r *Room) pack(now time.Time, saved bool) ([]byte, error) {
	if r.failure != nil {
		return nil, r.failure
	}
	b := baggage{Format: baggageFormat, Base: packedOrigin{Epoch: r.base.epoch, Seq: r.base.seq}, Floor: r.seq}
	if !r.cfg.Kind.Durability.Journaled() {
		r.packLife(&b, now)
	}
	for _, m := range r.order {
		if !saved && !m.gone && m.durable < m.applied {
			b.Behind = append(b.Behind, packedBehind{ID: m.id, Durable: m.durable})
		}
	}
	out, err := encMode.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("pack room %s: %w", r.cfg.Room, err)
	}
	return out, nil
}

func (r *Room) packLife(b *baggage, now time.Time) {
	b.Floor, b.Tick, b.Skipped = r.kept.floor, r.ticks.due.UnixNano(), r.ticks.left
	for _, o := range r.lineage.upTo(r.seq) {
		b.Past = append(b.Past, packedOrigin{Epoch: o.epoch, Seq: o.seq})
	}
	for i := range r.kept.n {
		e := r.kept.entries[(r.kept.first+i)%len(r.kept.entries)]
		b.Log = append(b.Log, packedEntry{Audience: e.aud, Listed: e.named, Record: r.kept.buf[e.off : e.off+e.size]})
	}
	for m := r.away.first; m != nil; m = m.away.next {
		b.Away = append(b.Away, packedAway{ID: m.id, For: int64(now.Sub(m.away.since))})
	}
	for _, m := range r.order {
		if !m.gone && m.port != nil && len(m.pass.claims) > 0 {
			b.Claims = append(b.Claims, packedClaims{ID: m.id, Claims: m.pass.claims})
		}
	}
}

// unpack takes up what Pack gave, on top of a restored checkpoint of the same
// moment.
func (r *Room) unpack(p []byte) error {
	var b baggage
	if err := decMode.Unmarshal(p, &b); err != nil {
		return err
	}
	if b.Format != baggageFormat {
		return fmt.Errorf("baggage format %d: this build reads %d", b.Format, baggageFormat)
	}
	for _, u := range b.Behind {
		if m := r.members[u.ID]; m != nil {
			m.durable = min(m.durable, u.Durable)
		}
	}
	r.base = origin{b.Base.Epoch, b.Base.Seq}
	if r.live { // its checkpoint had the rest
		return nil
	}
	if b.Floor > r.seq || r.seq-b.Floor != wire.Seq(len(b.Log)) {
		return fmt.Errorf("resume log of %d messages from %d: want it to end at %d", len(b.Log), b.Floor, r.seq)
	}
	for _, o := range b.Past[max(0, len(b.Past)-maxLineage):] {
		r.lineage.past = append(r.lineage.past, origin{o.Epoch, o.Seq})
	}
	if err := r.unpackLog(&b); err != nil {
		return err
	}
	r.unpackMembers(&b)
	if b.Tick != 0 {
		r.ticks.due, r.ticks.left = time.Unix(0, b.Tick), max(0, b.Skipped)
	}
	return nil
}

func (r *Room) unpackLog(b *baggage) error {
	r.kept.reset(b.Floor)
	var listed []wire.MemberID
	for _, e := range b.Log {
		if e.Audience > peer.ToAllBut || e.Listed < 0 || e.Listed > len(e.Record)/8 {
			return fmt.Errorf("resume log: %d members listed in %d bytes, audience %d", e.Listed, len(e.Record), e.Audience)
		}
		listed = listed[:0]
		for i := range e.Listed {
			listed = append(listed, wire.MemberID(binary.BigEndian.Uint64(e.Record[8*i:])))
		}
		r.kept.add(e.Audience, listed, e.Record[8*e.Listed:])
	}
	return nil
}

// unpackMembers tells those who were dropped before the move from those whose
// gateways are about to follow it. Restoring has put all in the away list.
func (r *Room) unpackMembers(b *baggage) {
	dropped := make(map[*member]bool, len(b.Away))
	for _, a := range b.Away {
		m := r.members[a.ID]
		if m == nil || m.away == nil {
			continue
		}
		r.away.remove(m)
		r.away.add(m, r.now.Add(-min(time.Duration(max(a.For, 0)), r.cfg.Kind.Grace)))
		dropped[m] = true
	}
	for _, m := range r.order {
		if m.away != nil && !dropped[m] {
			r.away.remove(m)
			r.bind(m, limbo{})
		}
	}
	for _, c := range b.Claims {
		if m := r.members[c.ID]; m != nil {
			m.pass = newPass(m.pass.user, c.Claims, m.pass.seat)
		}
	}
}

// carryOn goes on in the middle of a journaled room's life, of which nothing is
// to be replayed: it moved here live.
func (r *Room) carryOn(now time.Time) error {
	r.on, r.last = true, r.cfg.JournalBase
	r.setClock(now)
	if err := r.startReplayed(); err != nil {
		return err
	}
	r.record(Entry{Kind: EntryMoved, Epoch: r.cfg.Epoch})
	r.succeedEpoch(r.cfg.Epoch)
	r.await()
	return r.failure
}

// await gives the members who were connected where the room comes from some
// time to follow. Until then they are in limbo, and count as connected.
func (r *Room) await() {
	if r.ports[Port(limbo{})] != nil {
		r.quiet = r.wall.Add(quietFor)
	}
}

// awaited says whether a member has not followed a move yet.
func (r *Room) awaited(m *member) bool {
	return !r.quiet.IsZero() && m.port != nil && m.port.out == Port(limbo{})
}

// unquiet drops the members who have not followed a move.
func (r *Room) unquiet() {
	if r.quiet.IsZero() || r.quiet.After(r.wall) {
		return
	}
	r.quiet, r.unseen = time.Time{}, unseen{}
	if r.runs() {
		r.losePort(limbo{})
	}
}

// ReadyToMove asks the handler whether now is a good moment to move; left is
// how long it may still put it off. A handler that can't be asked is ready.
func (r *Room) ReadyToMove(now time.Time, left time.Duration) (ready bool) {
	d, asks := r.handler.(rooms.Drainer)
	if !asks || !r.begin(now) || !r.runs() {
		return true
	}
	r.enter(nil, 0)
	defer r.guard()
	return d.Drain(r, left)
}

// Awaited says whether somebody waits for a checkpoint to be stored: what is to
// follow it does not go with Pack.
func (r *Room) Awaited() bool {
	return r.durable && (r.urgent || len(r.held) > 0 || len(r.barriers) > 0)
}

// Touch has the next checkpoint taken although nothing changed: the last
// Encode came to nothing.
func (r *Room) Touch() { r.dirty = true }

// Bounds of what is kept of latest messages for members who are about to
// follow a move; the oldest goes.
const (
	maxUnseen      = 1024
	maxUnseenBytes = 256 << 10
)

// unseen keeps the latest messages that were sent since a move for those who
// have not followed it yet: nobody tells them to ask for full state.
type unseen struct {
	list  []unseenLatest
	bytes int
}

type unseenLatest struct {
	key     uint32
	aud     peer.Audience
	listed  []wire.MemberID
	payload []byte
}

func (u *unseen) add(key uint32, aud peer.Audience, listed []wire.MemberID, payload []byte) {
	u.list = append(u.list, unseenLatest{key, aud, slices.Clone(listed), slices.Clone(payload)})
	u.bytes += len(payload)
	for len(u.list) > maxUnseen || u.bytes > maxUnseenBytes {
		u.bytes -= len(u.list[0].payload)
		u.list = u.list[1:]
	}
}

// followed sends a member the latest messages that it has not seen.
func (r *Room) followed(m *member) {
	for _, l := range r.unseen.list {
		if l.aud != peer.ToAll && slices.Contains(l.listed, m.id) != (l.aud == peer.ToOnly) {
			continue
		}
		f := wire.Message{Type: wire.TypeLatest, Handle: m.port.handle, Key: l.key, Payload: l.payload}
		r.frame = f.Append(r.frame[:0])
		r.tell(m, r.frame)
	}
	if q := r.ports[Port(limbo{})]; q == nil || len(q.members) == 0 {
		r.unseen, r.quiet = unseen{}, time.Time{}
		if q != nil {
			r.closePort(q)
		}
	}
}
