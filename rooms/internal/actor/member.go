package actor

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// member is one membership's record. There are many, and most do nothing: what
// few of them need is behind pointers.
type member struct {
	// What each input and ack looks at comes first, close together.
	id       wire.MemberID
	port     *port           // nil: dropped, or being joined
	gen      wire.Generation // of the connection that holds it
	proved   wire.Generation // the highest that its client is known to have heard of
	applied  wire.Input
	durable  wire.Input
	delta    int64  // its count of reliable messages, less the room's toAll
	stamp    uint64 // marks the members of an audience
	slot     int32  // in port.members
	unacked  bool   // waits in acks.dirty
	gone     bool
	room     *Room
	instance wire.Instance
	joined   wire.Seq // the room's sequence when it joined
	pass     *pass    // not to be changed
	away     *absence // nil: it is not in the room's awayList
}

// pass is what a member's token said of it.
type pass struct {
	user   string
	claims []byte // of the connection that holds the member
	seat   string // the only one allowed when it joined, "" for any; taken by nobody else
}

// anonymous is the pass of those of whom nothing was said.
var anonymous pass

func newPass(user string, claims []byte, seat string) *pass {
	if user == "" && len(claims) == 0 && seat == "" {
		return &anonymous
	}
	return &pass{user, claims, seat}
}

// gap is the input that a member was last asked for, by Expect.
type gap struct {
	next wire.Input
	at   time.Time
}

func (r *Room) newMember(id wire.MemberID, p *pass) *member {
	return &member{room: r, id: id, pass: p}
}

// count is how many reliable messages have been addressed to the member.
func (m *member) count() uint64 { return uint64(int64(m.room.toAll) + m.delta) }

// durableInput is what the member's client may forget inputs up to.
func (m *member) durableInput() wire.Input {
	if m.room.durable {
		return m.durable
	}
	return m.applied
}

// enlist makes m a member.
func (r *Room) enlist(m *member) {
	r.members[m.id] = m
	r.order = append(r.order, m)
	r.changed, r.dirty = true, true
}

// strike takes m out of the members, without calling the handler.
func (r *Room) strike(m *member) {
	m.gone = true
	r.holes++
	delete(r.members, m.id)
	delete(r.gaps, m.id)
	r.away.remove(m)
	r.unbind(m)
	r.forgetPoison(m.id)
	r.changed, r.dirty = true, true
}

// Members calls yield for every member, in the order in which they joined.
func (r *Room) Members(yield func(rooms.Member) bool) {
	for i, n := 0, len(r.order); i < n; i++ {
		if m := r.order[i]; !m.gone && !yield(m) {
			return
		}
	}
}

// Member finds a member, or nil.
func (r *Room) Member(id rooms.MemberID) rooms.Member {
	if m := r.members[wire.MemberID(id)]; m != nil {
		return m
	}
	return nil
}

// Len is how many members there are, dropped ones too.
func (r *Room) Len() int { return len(r.members) }

// Connected is how many members are connected.
func (r *Room) Connected() int { return len(r.members) - r.away.n }

// own is the record behind a handler's member, nil where it has none here.
func (r *Room) own(m rooms.Member) *member {
	if m == nil {
		return nil
	}
	if own, ok := m.(*member); ok && own.room == r {
		return own
	}
	return r.members[wire.MemberID(m.ID())]
}

// ID names the member in the room's state.
func (m *member) ID() rooms.MemberID { return rooms.MemberID(m.id) }

// User is the name under which the member was admitted.
func (m *member) User() string { return m.pass.user }

// Claims is what the token of the member's connection says.
func (m *member) Claims() []byte { return m.pass.claims }

// Seat is the one that its token allowed.
func (m *member) Seat() string { return m.pass.seat }

// Connected is false while the member's connection is lost.
func (m *member) Connected() bool { return m.port != nil || m.room.joiner == m }

// awayList holds the dropped members, the one dropped first in front: since
// all have the same grace, that one's runs out first.
type awayList struct {
	first, last *member
	n           int
}

// absence is a dropped member's place in the list.
type absence struct {
	since      time.Time
	prev, next *member
}

func (l *awayList) add(m *member, since time.Time) {
	l.n++
	m.away = &absence{since: since, prev: l.last}
	if l.last == nil {
		l.first = m
	} else {
		l.last.away.next = m
	}
	l.last = m
}

func (l *awayList) remove(m *member) {
	a := m.away
	if a == nil {
		return
	}
	l.n--
	if a.prev == nil {
		l.first = a.next
	} else {
		a.prev.away.next = a.next
	}
	if a.next == nil {
		l.last = a.prev
	} else {
		a.next.away.prev = a.prev
	}
	m.away = nil
}

func (l *awayList) next(grace time.Duration) time.Time {
	if l.first == nil {
		return time.Time{}
	}
	return l.first.away.since.Add(grace)
}
