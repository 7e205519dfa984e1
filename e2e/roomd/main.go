// Command roomd is the room host of the end-to-end tests: the sample games'
// host with a ledger beside them.
package main

import (
	"github.com/limpet-games/limpet/e2e/roomd/served"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() { host.Main(served.Kinds()...) }
