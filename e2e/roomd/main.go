// Command roomd is the room host of the end-to-end tests: the sample games'
// host with a ledger beside them.
package main

import (
	"time"

	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() {
	host.Main(
		ledger.Kind("ledger", time.Second),
		ledger.Kind("ledger-fast", 100*time.Millisecond),
		ledger.JournalKind("ledger-journal"),
	)
}
