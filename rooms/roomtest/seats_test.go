package roomtest_test

import (
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/roomtest"
)

// chairs says who sits where.
type chairs struct {
	state struct{ By map[string]string }
}

func (c *chairs) State() any { return &c.state }

func (c *chairs) Join(_ rooms.Room, m rooms.Member, _ []byte) error {
	if c.state.By == nil {
		c.state.By = map[string]string{}
	}
	c.state.By[m.Seat()] = m.User()
	return nil
}

func (c *chairs) Input(rooms.Room, rooms.Member, []byte) {}

func (c *chairs) Leave(_ rooms.Room, m rooms.Member, _ rooms.Reason) { delete(c.state.By, m.Seat()) }

// TestOneMemberASeat: a token that names a seat gets its bearer that one alone,
// nobody else has it meanwhile, and a restored room still knows whose it is.
func TestOneMemberASeat(t *testing.T) {
	red := map[string]any{"limpet": map[string]any{"seat": "red"}}
	blue := map[string]any{"limpet": map[string]any{"seat": "blue"}}
	handler := &chairs{}
	rt := roomtest.New(t, rooms.Kind{Name: "chairs", New: func() rooms.Handler { handler = &chairs{}; return handler }})
	join := func(user string, claims any) (*roomtest.Player, error) { return rt.TryJoinWith(user, nil, claims) }
	ann, err := join("ann", red)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join("bob", blue); err != nil {
		t.Errorf("another seat: %v", err)
	}
	if _, err := join("eve", nil); err != nil {
		t.Errorf("no seat in the token: %v", err)
	}
	taken := func(when string) {
		t.Helper()
		if _, err := join("mia", red); err == nil || err.Error() != "room_full: somebody has the seat that the token names" {
			t.Errorf("a seat that is taken, %s: %v", when, err)
		}
	}
	taken("at once")
	ann.Drop()
	taken("while its member is away")
	ann.Back()
	rt.Crash()
	taken("after a restore")
	if handler.state.By["red"] != "ann" || handler.state.By["blue"] != "bob" || handler.state.By[""] != "eve" {
		t.Errorf("seats: %v", handler.state.By)
	}
	ann.Leave()
	if _, err := join("mia", red); err != nil {
		t.Errorf("a seat that is free again: %v", err)
	}
}
