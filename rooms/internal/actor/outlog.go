package actor

import (
	"encoding/binary"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// outlog keeps the last reliable messages with their audiences, at most
// maxEntries of them in at most maxBytes; the oldest goes. One log serves every
// member's resume. It grows to its bounds only as it is used.
type outlog struct {
	maxEntries, maxBytes int

	floor   wire.Seq // the log holds every message after it
	entries []logged // ring
	first   int      // the oldest one's place
	n       int
	buf     []byte // ring of records, each in one piece
	tail    int    // where the next record goes
}

// logged is a message in the log. Its record is the listed members' ids, then
// the payload.
type logged struct {
	aud       peer.Audience
	named     int
	off, size int
}

func newOutlog(maxEntries, maxBytes int) outlog {
	return outlog{maxEntries: maxEntries, maxBytes: maxBytes}
}

// last is the newest message's number.
func (l *outlog) last() wire.Seq { return l.floor + wire.Seq(l.n) }

// add logs the next message. One that is above maxBytes by itself empties the
// log: nothing before it can be resumed over it.
func (l *outlog) add(aud peer.Audience, listed []wire.MemberID, payload []byte) {
	size := 8*len(listed) + len(payload)
	if size > l.maxBytes {
		l.reset(l.last() + 1)
		return
	}
	if l.n == l.maxEntries {
		l.evict()
	}
	off := l.place(max(size, 1))
	b := l.buf[off:off]
	for _, id := range listed {
		b = binary.BigEndian.AppendUint64(b, uint64(id))
	}
	copy(l.buf[off+len(b):], payload)
	l.growEntries()
	l.entries[(l.first+l.n)%len(l.entries)] = logged{aud, len(listed), off, size}
	l.n++
	l.tail = off + max(size, 1)
}

// reset empties the log; messages after floor follow.
func (l *outlog) reset(floor wire.Seq) {
	l.floor, l.first, l.n, l.tail = floor, 0, 0, 0
}

func (l *outlog) evict() {
	l.first = (l.first + 1) % len(l.entries)
	l.n--
	l.floor++
}

// place finds room for a record of size bytes, growing the buffer first and
// then dropping old messages.
func (l *outlog) place(size int) int {
	for {
		if off, ok := l.fit(size); ok {
			return off
		}
		if len(l.buf) < l.maxBytes {
			l.growBuf(size)
		} else {
			l.evict()
		}
	}
}

// fit finds room without making any.
func (l *outlog) fit(size int) (off int, ok bool) {
	if l.n == 0 {
		return 0, size <= len(l.buf)
	}
	head := l.entries[l.first].off
	switch {
	case l.tail <= head: // the records wrap around
		return l.tail, head-l.tail >= size
	case len(l.buf)-l.tail >= size:
		return l.tail, true
	default:
		return 0, head >= size
	}
}

// growBuf doubles the buffer, up to its bound, and moves the records together.
func (l *outlog) growBuf(size int) {
	next := make([]byte, min(max(2*len(l.buf), len(l.buf)+size, 512), l.maxBytes))
	at := 0
	for i := range l.n {
		e := &l.entries[(l.first+i)%len(l.entries)]
		copy(next[at:], l.buf[e.off:e.off+e.size])
		e.off = at
		at += max(e.size, 1)
	}
	l.buf, l.tail = next, at
}

func (l *outlog) growEntries() {
	if l.n < len(l.entries) {
		return
	}
	next := make([]logged, min(max(2*l.n, 16), l.maxEntries))
	for i := range l.n {
		next[i] = l.entries[(l.first+i)%len(l.entries)]
	}
	l.entries, l.first = next, 0
}

// get returns a message that the log holds: floor < seq <= last. The payload
// is valid until the next add.
func (l *outlog) get(seq wire.Seq) (logged, []byte) {
	e := l.entries[(l.first+int(seq-l.floor-1))%len(l.entries)]
	return e, l.buf[e.off+8*e.named : e.off+e.size]
}

// listed is who a message's audience names.
func (l *outlog) listed(e logged) []wire.MemberID {
	ids := make([]wire.MemberID, e.named)
	for i := range ids {
		ids[i] = wire.MemberID(binary.BigEndian.Uint64(l.buf[e.off+8*i:]))
	}
	return ids
}

// addresses says whether a message went to a member, provided that it was one
// by then.
func (l *outlog) addresses(e logged, id wire.MemberID) bool {
	if e.aud == peer.ToAll {
		return true
	}
	for i := range e.named {
		if wire.MemberID(binary.BigEndian.Uint64(l.buf[e.off+8*i:])) == id {
			return e.aud == peer.ToOnly
		}
	}
	return e.aud == peer.ToAllBut
}

// addressed counts the messages to m after from.
func (l *outlog) addressed(m *member, from wire.Seq) (n int) {
	for seq := from + 1; seq <= l.last(); seq++ {
		if e, _ := l.get(seq); l.addresses(e, m.id) {
			n++
		}
	}
	return n
}
