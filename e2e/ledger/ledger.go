// Package ledger is a room kind for end-to-end tests: it writes down every
// input of every client in the order in which it was applied, and tells all
// members of each. Once a second it tells them of a pulse, which follows from its
// ticks and its random source alone, and some more often at a glance, unreliably.
package ledger

import (
	"encoding/json"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// Input is what a client sends: its own name and count, apart from the
// protocol's numbering, so that the record does not rest on what it checks.
type Input struct {
	Client string `json:"c"`
	N      uint64 `json:"n"`
}

// Poison is an input on which a ledger's code fails.
const Poison = "poison"

// Note is what members are told of each applied input, reliably.
type Note struct {
	Input
	Total uint64 `json:"total"` // applied in the room so far
}

// Pulse is what members are told every second, reliably.
type Pulse struct {
	Pulse uint64 `json:"pulse"` // ticks so far
	Draw  uint64 `json:"draw"`  // of the room's random source
}

// Glance is what members are told now and then, as the latest of GlanceKey and
// ephemerally: both come in order, and not ahead of the notes before them.
type Glance struct {
	Glance uint64 `json:"glance"` // of the room so far
	Behind uint64 `json:"behind"` // inputs applied by then
}

// GlanceKey is that of the latest glance.
const GlanceKey = 1

// TickRate is how often a ledger ticks, a second.
const TickRate = 10

// Kind makes ledger rooms with a checkpoint every interval.
func Kind(name string, interval time.Duration) rooms.Kind {
	return rooms.Kind{
		Name:       name,
		New:        func() rooms.Handler { return &ledger{book: &Book{Applied: map[string]Spans{}}} },
		TickRate:   TickRate,
		MaxMembers: 2000,
		Durability: rooms.Checkpoint(interval),
	}
}

// JournalKind makes ledger rooms that never go back.
func JournalKind(name string) rooms.Kind {
	k := Kind(name, time.Second)
	k.Durability = rooms.Journal()
	return k
}

// DegradingKind makes journaled ledger rooms that play on without their store.
func DegradingKind(name string) rooms.Kind {
	k := Kind(name, time.Second)
	k.Durability = rooms.Journal().Degrading()
	return k
}

// FleetingKind makes ledger rooms that end with their host.
func FleetingKind(name string) rooms.Kind {
	k := Kind(name, time.Second)
	k.Durability = rooms.None()
	return k
}

type ledger struct{ book *Book }

func (l *ledger) State() any { return l.book }

func (l *ledger) Join(rooms.Room, rooms.Member, []byte) error { return nil }

// Sync sends the whole book, wrapped so that it can't be taken for a note.
func (l *ledger) Sync(_ rooms.Room, m rooms.Member) {
	b, err := json.Marshal(struct {
		Book *Book `json:"book"`
	}{l.book})
	if err == nil {
		m.Send(b)
	}
}

func (l *ledger) Input(r rooms.Room, m rooms.Member, data []byte) {
	var in Input
	if string(data) == Poison {
		panic("poisoned")
	}
	if json.Unmarshal(data, &in) != nil || in.N == 0 {
		return // a question: the asker wants the book
	}
	l.book.Applied[in.Client] = l.book.Applied[in.Client].Add(in.N)
	l.book.Total++
	if b, err := json.Marshal(Note{in, l.book.Total}); err == nil {
		r.All().Send(b)
	}
	if l.book.Total%8 == 0 {
		l.glance(r)
	}
}

func (l *ledger) glance(r rooms.Room) {
	l.book.Glances++
	if b, err := json.Marshal(Glance{l.book.Glances, l.book.Total}); err == nil {
		r.All().Latest(GlanceKey, b)
		r.All().Ephemeral(b)
	}
}

// Measure gives operators' queries what the book comes to.
func (l *ledger) Measure(_ rooms.Room, set func(string, float64)) {
	set("applied", float64(l.book.Total))
	set("clients", float64(len(l.book.Applied)))
}

func (l *ledger) Tick(r rooms.Room, _ time.Duration) {
	l.book.Ticks++
	switch l.book.Ticks % TickRate {
	default:
		return
	case TickRate / 2:
		l.glance(r)
		return
	case 0:
	}
	if b, err := json.Marshal(Pulse{l.book.Ticks, r.Rand().Uint64()}); err == nil {
		r.All().Send(b)
	}
}

func (l *ledger) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
