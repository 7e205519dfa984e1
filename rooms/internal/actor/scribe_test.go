package actor

import (
	"encoding/binary"
	"slices"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// scribe writes down each instance's inputs in its state, and tells an
// audience that the input names. What it sent to whom goes to the world.
type scribe struct {
	w    *world
	book struct {
		Applied map[string][]uint64
		Said    uint64
	}
}

func (s *scribe) State() any { return &s.book }

func (s *scribe) Join(r rooms.Room, m rooms.Member, _ []byte) error {
	s.say(r, r.All(), all(r))
	return nil
}

func (s *scribe) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {
	s.say(r, r.All(), all(r))
}

func (s *scribe) Sync(r rooms.Room, m rooms.Member)    { s.say(r, m, []rooms.MemberID{m.ID()}) }
func (s *scribe) Dropped(r rooms.Room, m rooms.Member) { s.say(r, r.AllBut(m), but(r, m)) }
func (s *scribe) Back(r rooms.Room, m rooms.Member)    { s.say(r, r.AllBut(m), but(r, m)) }

// Input is the instance, the number, and a word that says what to do.
func (s *scribe) Input(r rooms.Room, m rooms.Member, data []byte) {
	key, n, word := string(data[:16]), binary.BigEndian.Uint64(data[16:]), data[24]
	list := s.book.Applied[key]
	if len(list) > 0 && list[len(list)-1] >= n {
		s.w.t.Fatalf("input %d after %d: twice or out of order", n, list[len(list)-1])
	}
	s.book.Applied[key] = append(list, n)
	var ms []rooms.Member
	var ids []rooms.MemberID
	i := 0
	for o := range r.Members {
		if word>>(i%8)&1 == 1 {
			ms, ids = append(ms, o, o), append(ids, o.ID())
		}
		i++
	}
	switch word % 5 {
	case 0:
		s.say(r, r.All(), all(r))
	case 1:
		s.say(r, r.AllBut(m), but(r, m))
	case 2:
		s.say(r, r.Only(ms...), ids)
	case 3:
		s.say(r, m, []rooms.MemberID{m.ID()})
	case 4:
		if word > 200 && len(ms) > 0 {
			r.Kick(ms[0], "out")
		}
	}
}

func (s *scribe) say(r rooms.Room, a rooms.Audience, to []rooms.MemberID) {
	before := r.(*Room).seq
	s.book.Said++
	a.Send(binary.BigEndian.AppendUint64(nil, s.book.Said))
	seq := r.(*Room).seq
	if len(to) == 0 {
		return // Only nobody takes no number; All of nobody is checked by none
	}
	if seq != before+1 {
		s.w.t.Fatalf("a reliable message went from %d to %d", before, seq)
	}
	for _, id := range to {
		s.w.sent[id] = append(s.w.sent[id], sentMark{s.w.epoch, seq, s.book.Said})
	}
}

func all(r rooms.Room) (ids []rooms.MemberID) {
	for m := range r.Members {
		ids = append(ids, m.ID())
	}
	return ids
}

func but(r rooms.Room, not rooms.Member) []rooms.MemberID {
	return slices.DeleteFunc(all(r), func(id rooms.MemberID) bool { return id == not.ID() })
}

type sentMark struct {
	epoch wire.Epoch
	seq   wire.Seq
	said  uint64
}
