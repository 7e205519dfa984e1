package actor

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/limpet-games/limpet/rooms"
)

// game is the room's handler and what else it can do.
type game struct {
	handler rooms.Handler
	starter rooms.Starter
	ticker  rooms.Ticker
	syncer  rooms.Syncer
	dropper rooms.Dropper
	timed   rooms.Timed
	stopper rooms.Stopper
	state   any // pointer to the handler's state, nil where it has none
}

func (g *game) make(kind rooms.Kind) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{Value: v, Stack: debug.Stack()}
		}
	}()
	h := kind.New()
	g.handler = h
	g.starter, _ = h.(rooms.Starter)
	g.ticker, _ = h.(rooms.Ticker)
	g.syncer, _ = h.(rooms.Syncer)
	g.dropper, _ = h.(rooms.Dropper)
	g.timed, _ = h.(rooms.Timed)
	g.stopper, _ = h.(rooms.Stopper)
	if h == nil {
		return fmt.Errorf("kind %s: New returned no handler", kind.Name)
	}
	if err := checkAbilities(h); err != nil {
		return fmt.Errorf("kind %s: %w", kind.Name, err)
	}
	if s, ok := h.(rooms.Stateful); ok {
		g.state = s.State()
		if err := checkState(g.state); err != nil {
			return fmt.Errorf("kind %s: %w", kind.Name, err)
		}
	}
	return nil
}

// Check finds, in a kind as its program gives it, what would never be called or
// saved. A New that panics is found out when a room starts.
func Check(k rooms.Kind) error {
	var g game
	err := g.make(k)
	if p := (*Panic)(nil); errors.As(err, &p) {
		return nil
	}
	if err == nil && k.TickRate != 0 && g.ticker == nil {
		return fmt.Errorf("kind %s: TickRate is %d, but handler %T has no method Tick(rooms.Room, time.Duration)", k.Name, k.TickRate, g.handler)
	}
	return err
}

// Handler is the room's handler, for tests of it.
func (r *Room) Handler() rooms.Handler { return r.handler }
