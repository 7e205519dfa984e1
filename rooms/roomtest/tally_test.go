package roomtest_test

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// tally is a small kind: members add numbers, everybody hears the sum.
type tally struct {
	Book struct {
		Sum    int
		Scores map[rooms.MemberID]int
	}
	ticks int
}

func tallyKind() rooms.Kind {
	return rooms.Kind{Name: "tally", New: func() rooms.Handler {
		t := &tally{}
		t.Book.Scores = map[rooms.MemberID]int{}
		return t
	}, MaxMembers: 3, Grace: 10 * time.Second, TickRate: 10}
}

func (t *tally) State() any { return &t.Book }

func (t *tally) Join(r rooms.Room, m rooms.Member, data []byte) error {
	if string(data) == "late" {
		return rooms.Refuse("too late")
	}
	t.Book.Scores[m.ID()] = 0
	return nil
}

func (t *tally) Sync(r rooms.Room, m rooms.Member) { m.Send(t.sum()) }

func (t *tally) Input(r rooms.Room, m rooms.Member, data []byte) {
	switch s := string(data); s {
	case "boom":
		panic("boom")
	case "big":
		r.All().Send(make([]byte, 1<<17))
	case "kick":
		r.Kick(m, "asked for it")
	case "close":
		r.Close("all done")
	case "lock":
		r.SetLocked(true)
	case "in 5s":
		r.SetTimer("remind", 5*time.Second)
	case "spot":
		r.AllBut(m).Latest(7, []byte(m.User()))
	default:
		n, _ := strconv.Atoi(s)
		t.Book.Sum += n
		t.Book.Scores[m.ID()] += n
		r.All().Send(t.sum())
	}
}

func (t *tally) Timer(r rooms.Room, name string)                    { r.All().Send([]byte(name)) }
func (t *tally) Tick(rooms.Room, time.Duration)                     { t.ticks++ }
func (t *tally) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) { delete(t.Book.Scores, m.ID()) }
func (t *tally) Dropped(r rooms.Room, m rooms.Member)               { r.All().Ephemeral([]byte("-" + m.User())) }
func (t *tally) Back(r rooms.Room, m rooms.Member)                  { r.AllBut(m).Ephemeral([]byte("+" + m.User())) }
func (t *tally) sum() []byte                                        { b, _ := json.Marshal(t.Book.Sum); return b }
