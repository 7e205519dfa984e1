package actor

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// member is one membership's record.
type member struct {
	// What each input and ack looks at comes first, close together.
	id       wire.MemberID
	port     *port           // nil: dropped, or being joined
	gen      wire.Generation // of the connection that holds it
	proved   wire.Generation // the highest that its client is known to have heard of
	applied  wire.Input
	unacked  bool // waits in acks.dirty
	gone     bool
	instance wire.Instance
	durable  wire.Input
	delta    int64 // its count of reliable messages, less the room's toAll
	room     *Room

	user   string
	claims []byte   // of the connection that holds it
	seat   string   // the only one that its token allowed when it joined, "" for any; taken by nobody else
	joined wire.Seq // the room's sequence when it joined
	slot   int      // in port.members
	but    allBut   // AllBut(this member)

	asked   wire.Input // the input last asked for by Expect
	askedAt time.Time

	since      time.Time // dropped since
	prev, next *member   // in the room's awayList
	stamp      uint64    // marks the members of an audience
}

func (r *Room) newMember(id wire.MemberID, user string) *member {
	m := &member{room: r, id: id, user: user}
	m.but.m = m
	return m
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
func (m *member) User() string { return m.user }

// Claims is what the token of the member's connection says.
func (m *member) Claims() []byte { return m.claims }

// Seat is the one that its token allowed.
func (m *member) Seat() string { return m.seat }

// Connected is false while the member's connection is lost.
func (m *member) Connected() bool { return m.port != nil || m.room.joiner == m }

// awayList holds the dropped members, the one dropped first in front: since
// all have the same grace, that one's runs out first.
type awayList struct {
	first, last *member
	n           int
}

func (l *awayList) add(m *member) {
	l.n++
	m.prev, m.next = l.last, nil
	if l.last == nil {
		l.first = m
	} else {
		l.last.next = m
	}
	l.last = m
}

func (l *awayList) has(m *member) bool { return l.first == m || m.prev != nil }

func (l *awayList) remove(m *member) {
	if !l.has(m) {
		return
	}
	l.n--
	if m.prev == nil {
		l.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.prev, m.next = nil, nil
}

func (l *awayList) next(grace time.Duration) time.Time {
	if l.first == nil {
		return time.Time{}
	}
	return l.first.since.Add(grace)
}
