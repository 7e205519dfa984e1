package ledger

import "github.com/limpet-games/limpet/rooms"

// Next is a ledger's kind as a later build has it: its state has another form,
// which the former build takes for an empty book.
func Next(k rooms.Kind) rooms.Kind {
	k.StateVersion++
	k.New = func() rooms.Handler {
		l := &later{volume: volume{Bound: &Book{Applied: map[string]Spans{}}}}
		l.book = l.volume.Bound
		return l
	}
	return k
}

type volume struct{ Bound *Book }

type later struct {
	ledger
	volume volume
}

func (l *later) State() any { return &l.volume }

// Upgrade takes up a book of the former build.
func (l *later) Upgrade(_ uint32, decode func(any) error) error { return decode(l.book) }

// Downgrade gives the book as the former build has it.
func (l *later) Downgrade(uint32) (any, error) { return l.book, nil }
