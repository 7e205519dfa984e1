package actor

import (
	"fmt"
	"reflect"

	"github.com/limpet-games/limpet/rooms"
)

// ability is a method that a handler may have beside those of rooms.Handler, and
// the interface that has the room call it.
type ability struct {
	has, is    bool
	name, want string // want is the method's interface, and what that asks for
}

// checkAbilities finds methods that look like one of these and would never be
// called: with other parameters, alone where there have to be two, or on the
// pointer where New gives the value.
func checkAbilities(h rooms.Handler) error {
	t := reflect.TypeOf(h)
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	for _, a := range abilities(t, h) {
		if a.has && !a.is {
			return fmt.Errorf("handler %T has a method %s, but is no rooms.%s: it would never be called", h, a.name, a.want)
		}
	}
	return nil
}

// The names are constants at each call: where they come from a table, the linker
// keeps every exported method of the whole program.
func abilities(t reflect.Type, h rooms.Handler) []ability {
	has := func(_ reflect.Method, has bool) bool { return has }
	const dropper = "Dropper, which wants Dropped(rooms.Room, rooms.Member) and Back(rooms.Room, rooms.Member)"
	return []ability{
		{has(t.MethodByName("Start")), is[rooms.Starter](h), "Start", "Starter, which wants Start(rooms.Room, rooms.Start)"},
		{has(t.MethodByName("Tick")), is[rooms.Ticker](h), "Tick", "Ticker, which wants Tick(rooms.Room, time.Duration)"},
		{has(t.MethodByName("Sync")), is[rooms.Syncer](h), "Sync", "Syncer, which wants Sync(rooms.Room, rooms.Member)"},
		{has(t.MethodByName("Dropped")), is[rooms.Dropper](h), "Dropped", dropper},
		{has(t.MethodByName("Back")), is[rooms.Dropper](h), "Back", dropper},
		{has(t.MethodByName("Timer")), is[rooms.Timed](h), "Timer", "Timed, which wants Timer(rooms.Room, string)"},
		{has(t.MethodByName("State")), is[rooms.Stateful](h), "State", "Stateful, which wants State() any"},
		{has(t.MethodByName("Upgrade")), is[rooms.Upgrader](h), "Upgrade", "Upgrader, which wants Upgrade(uint32, func(any) error) error"},
		{has(t.MethodByName("Downgrade")), is[rooms.Downgrader](h), "Downgrade", "Downgrader, which wants Downgrade(uint32) (any, error)"},
		{has(t.MethodByName("Stop")), is[rooms.Stopper](h), "Stop", "Stopper, which wants Stop(rooms.Room)"},
		{has(t.MethodByName("Drain")), is[rooms.Drainer](h), "Drain", "Drainer, which wants Drain(rooms.Room, time.Duration) bool"},
		{has(t.MethodByName("Measure")), is[rooms.Measured](h), "Measure", "Measured, which wants Measure(rooms.Room, func(string, float64))"},
	}
}

func is[T any](h rooms.Handler) bool {
	_, ok := h.(T)
	return ok
}
