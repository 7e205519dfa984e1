// Command bad is a build of the end-to-end tests' room host that must not get
// far: its rooms' code fails as soon as it starts.
package main

import (
	"time"

	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/host"
)

// faulty is a ledger that does not start.
type faulty struct{ rooms.Handler }

// Start fails.
func (faulty) Start(rooms.Room, rooms.Start) { panic("a bad build") }

func main() {
	k := ledger.Kind("ledger", time.Second)
	k.TickRate = 0 // faulty has no Tick
	make_ := k.New
	k.New = func() rooms.Handler { return faulty{make_()} }
	host.Main(k)
}
