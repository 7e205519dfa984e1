// Package served lists the kinds of the end-to-end tests' room host.
package served

import (
	"time"

	"github.com/limpet-games/limpet/e2e/faulty"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/pace"
	"github.com/limpet-games/limpet/rooms"
)

// Kinds are all of them.
func Kinds() []rooms.Kind {
	brief := ledger.Kind("ledger-brief", 100*time.Millisecond)
	brief.EmptyAfter = 100 * time.Millisecond
	slow := ledger.Kind("ledger-slow", time.Second)
	slow.TickRate = 5
	bulk := ledger.BulkKind("bulk")
	steady, journal := ledger.Kind("ledger-steady", time.Second), ledger.JournalKind("ledger-steady-journal")
	steady.Grace, journal.Grace = 10*time.Minute, 10*time.Minute
	return []rooms.Kind{
		steady,
		journal,
		ledger.Kind("ledger", time.Second),
		brief,
		slow,
		bulk,
		ledger.JournalKind("ledger-journal"),
		ledger.DegradingKind("ledger-degrading"),
		ledger.FleetingKind("ledger-none"),
		pace.Kind("pace", rooms.Checkpoint(time.Second)),
		pace.Kind("pace-none", rooms.None()),
		ledger.TableKind("table"),
		faulty.Kind("faulty"), faulty.Kind("steady"),
		ledger.IdleKind("idle-a"), ledger.IdleKind("idle-b"), ledger.IdleKind("idle-c"), ledger.IdleKind("idle-d"),
	}
}
