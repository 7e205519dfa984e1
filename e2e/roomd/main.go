// Command roomd is the room host of the end-to-end tests: the sample games'
// host with a ledger beside them.
package main

import (
	"time"

	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/pace"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() {
	brief := ledger.Kind("ledger-brief", 100*time.Millisecond)
	brief.EmptyAfter = 100 * time.Millisecond
	steady, journal := ledger.Kind("ledger-steady", time.Second), ledger.JournalKind("ledger-steady-journal")
	steady.Grace, journal.Grace = 10*time.Minute, 10*time.Minute
	host.Main(
		steady,
		journal,
		ledger.Kind("ledger", time.Second),
		brief,
		ledger.JournalKind("ledger-journal"),
		ledger.DegradingKind("ledger-degrading"),
		ledger.FleetingKind("ledger-none"),
		pace.Kind("pace", rooms.Checkpoint(time.Second)),
		pace.Kind("pace-none", rooms.None()),
		ledger.TableKind("table"),
		ledger.IdleKind("idle-a"), ledger.IdleKind("idle-b"), ledger.IdleKind("idle-c"), ledger.IdleKind("idle-d"),
	)
}
