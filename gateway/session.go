package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// standing is how a session stands with its room.
//
//	claiming -> live -> lost -> asked -> live
//	            live -> behind -> catching -> live
//	    any of them -> over
//
// Only one that is live hears the room.
type standing uint8

const (
	claiming standing = iota // its join or resume waits for the room's answer
	live                     // attached
	lost                     // its host is gone or the room moved on: attach it again
	asked                    // a re-attach waits for the room's answer
	behind                   // its client reads too slowly: attach it again when that has caught up; see behind.go
	catching                 // the re-attach of one that was behind waits for the room's answer
	over                     // ended
)

// homeless tells those who wait for their room.
func (s standing) homeless() bool { return s == lost || s == asked }

// late tells those for whom the room waits.
func (s standing) late() bool { return s == behind || s == catching }

// asking tells those for whom an attach is under way.
func (s standing) asking() bool { return s == asked || s == catching }

// again is how one stands who is not attached where the room is now. Who was
// behind has to catch up there too.
func (s standing) again() standing {
	if s.late() {
		return behind
	}
	return lost
}

// session is the membership of one connection in one room.
type session struct {
	// What each input and delivery looks at comes first.
	route      *route          // static
	member     wire.MemberID   // static
	standing   standing        // guarded by route.mu
	generation wire.Generation // guarded by route.mu
	conn       *conn           // static
	at         wire.Position   // of the last reliable message queued for its socket; guarded by route.mu

	next    *session // of the connection's; guarded by conn.mu, as counted
	counted bool     // it is no request any more

	// Guarded by route.mu.
	abandoned   bool  // nobody waits for the claim any more
	index       int32 // in route.live
	incarnation wire.Incarnation
	claim       *claim   // nil once that is answered
	trouble     *trouble // nil before the first

	data string // what it joined with; static
}

// claim is what a session asks of its room before it has the seat.
type claim struct {
	ref    uint32 // of the join or resume
	why    peer.Why
	answer chan *wire.Error // takes one
}

// trouble is when a session has lost its room, or its room it.
type trouble struct {
	behindAt  time.Time // when it last fell behind
	askedAt   time.Time // when it last asked to be attached again
	notBefore time.Time // of the next time
}

// troubled is the session's trouble, to be changed. route.mu is held.
func (s *session) troubled() *trouble {
	if s.trouble == nil {
		s.trouble = new(trouble)
	}
	return s.trouble
}

// troubles is the session's trouble, of which there may be none. route.mu is held.
func (s *session) troubles() trouble {
	if s.trouble == nil {
		return trouble{}
	}
	return *s.trouble
}

// newMember draws a member's id, which no other room or gateway is likely ever
// to draw again.
func newMember() wire.MemberID {
	for {
		var b [8]byte
		rand.Read(b[:])
		if m := wire.MemberID(binary.BigEndian.Uint64(b[:])) & wire.MaxMemberID; m != 0 {
			return m
		}
	}
}

func (s *session) who() peer.Who {
	return peer.Who{Handle: s.route.handle, Member: s.member, Generation: s.generation}
}

// attach is what asks the room to take the session up. route.mu is held.
func (s *session) attach(why peer.Why) peer.Attach {
	return peer.Attach{
		Handle: s.route.handle, Member: s.member, Generation: s.generation, Instance: s.conn.instance,
		Why: why, Incarnation: s.incarnation, At: s.at, Room: s.route.room, User: s.conn.id.User, Data: []byte(s.data), Claims: s.conn.id.Claims,
	}
}

// forward sends a member's message to the room, with the part of head that
// names the member still to be filled in.
func (s *session) forward(kind peer.Kind, head, tail []byte) error {
	r := s.route
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s.standing != live || r.host == nil {
		return errNoHost
	}
	binary.BigEndian.PutUint32(head, uint32(r.handle))
	binary.BigEndian.PutUint64(head[4:], uint64(s.member))
	binary.BigEndian.PutUint32(head[12:], uint32(s.generation))
	return r.host.link.Send(kind, head, tail)
}

// token is a fresh resume token. route.mu is held.
func (s *session) token(now time.Time) []byte {
	return s.conn.g.tokens.issue(token{
		room: s.route.room, incarnation: s.incarnation, epoch: s.route.at.Epoch, member: s.member,
		generation: s.generation, user: s.conn.id.User, expires: now.Add(s.conn.g.limits.TokenFor).Unix(), data: hashData([]byte(s.data)),
	})
}
