// Package ledger is a room kind for end-to-end tests: it writes down every
// input of every client in the order in which it was applied, and tells all
// members of each.
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

// Book is a room's state, and what a member gets as its full state.
type Book struct {
	Applied map[string][]uint64 `json:"applied"` // by client, in order
	Total   uint64              `json:"total"`
}

// Note is what members are told of each applied input, reliably.
type Note struct {
	Input
	Total uint64 `json:"total"` // applied in the room so far
}

// Kind makes ledger rooms with a checkpoint every interval.
func Kind(name string, interval time.Duration) rooms.Kind {
	return rooms.Kind{
		Name:       name,
		New:        func() rooms.Handler { return &ledger{book: Book{Applied: map[string][]uint64{}}} },
		TickRate:   10,
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

type ledger struct{ book Book }

func (l *ledger) State() any { return &l.book }

func (l *ledger) Join(rooms.Room, rooms.Member, []byte) error { return nil }

// Sync sends the whole book, wrapped so that it can't be taken for a note.
func (l *ledger) Sync(_ rooms.Room, m rooms.Member) {
	b, err := json.Marshal(struct {
		Book Book `json:"book"`
	}{l.book})
	if err == nil {
		m.Send(b)
	}
}

func (l *ledger) Input(r rooms.Room, m rooms.Member, data []byte) {
	var in Input
	if json.Unmarshal(data, &in) != nil || in.N == 0 {
		return // a question: the asker wants the book
	}
	l.book.Applied[in.Client] = append(l.book.Applied[in.Client], in.N)
	l.book.Total++
	if b, err := json.Marshal(Note{in, l.book.Total}); err == nil {
		r.All().Send(b)
	}
}

func (l *ledger) Tick(r rooms.Room, _ time.Duration) {}

func (l *ledger) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
