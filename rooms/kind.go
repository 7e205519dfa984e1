package rooms

import (
	"fmt"
	"time"
)

// Kind is a sort of room that a host serves. The zero value of every option
// means its default.
type Kind struct {
	Name string         // in ids and URLs: a-z, 0-9, '-', '_', '.'
	New  func() Handler // makes the handler of one room

	TickRate   int        // calls of Tick a second, 1 to 128; default 20 for a Ticker
	MaxMembers int        // seats; default 50
	Durability Durability // default Checkpoint(time.Second)
	// StateVersion is the version of what State returns. Raise it when a new
	// build's state is not what an older one's decodes to, and make the handler
	// an Upgrader. Checkpoints of a newer version are refused.
	StateVersion uint32
	// OneWay says that a build with a lower StateVersion is not to get the kind's
	// rooms back once this one has saved them. Without it, and without a
	// Downgrader, a rollout that raises StateVersion is refused.
	OneWay bool
	// Placement is how hosts are chosen for the kind's rooms; default the less
	// loaded of two drawn at random.
	Placement Placement

	Grace      time.Duration // how long a dropped member keeps its place, from 1 ms; default 30 s
	EmptyAfter time.Duration // how long an empty room stays in memory, from 1 ms; default 30 s
	// ResumeMessages and ResumeBytes bound the reliable messages kept for
	// members that come back; default 1024 and 256 KiB.
	ResumeMessages int
	ResumeBytes    int
	// Mailbox bounds events that wait for the room; default 4096. A full one
	// answers new inputs with "busy", and their clients send them again.
	Mailbox int
}

// Durability is what a kind's rooms survive. Make one with None, Checkpoint or
// Journal.
type Durability struct {
	none     bool
	interval time.Duration
	journal  bool
	degrades bool
}

// None keeps rooms in memory only: a crash ends them.
func None() Durability { return Durability{none: true} }

// Checkpoint saves a changed room at most every interval (100 ms to 1 h).
// After a crash the room goes back at most that far, and clients' kept inputs
// are applied again.
func Checkpoint(interval time.Duration) Durability { return Durability{interval: interval} }

// JournalCheckpoints is the time between checkpoints of a journaled room.
const JournalCheckpoints = 5 * time.Second

// Journal writes every event to the store before anything that depends on it is
// heard: after a crash the room is where it was, and no member sees it go back.
// Output waits for the store, about a round trip. The handler must be
// deterministic: given the same calls in the same order, with the same Now and
// Rand, it does and says the same; so it ranges over no map, reads no clock and
// no file where that decides what it does. Messages of more than a few
// kilobytes per input make checkpoints big: they hold the resume window.
//
// While the store does not answer the room stands still, with its inputs
// queued; see Degrading.
func Journal() Durability { return Durability{interval: JournalCheckpoints, journal: true} }

// Degrading is Journal for a room that plays on when the store has not answered
// for a second, as Checkpoint(JournalCheckpoints) would: a crash before the
// store is back takes it back to where the store last answered.
func (d Durability) Degrading() Durability {
	d.degrades = true
	return d
}

// Journaled says whether events are written to a journal.
func (d Durability) Journaled() bool { return d.journal }

// Degrades says whether a journaled room plays on without its store.
func (d Durability) Degrades() bool { return d.degrades }

// Interval is the time between checkpoints, 0 for None.
func (d Durability) Interval() time.Duration { return d.interval }

// Checked returns the kind with defaults filled in, or what is wrong with it.
func (k Kind) Checked() (Kind, error) {
	if err := checkName(k.Name); err != nil {
		return k, err
	}
	if k.New == nil {
		return k, fmt.Errorf("kind %s: New is not set", k.Name)
	}
	if err := k.Placement.check(); err != nil {
		return k, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	if k.Durability == (Durability{}) {
		k.Durability = Checkpoint(time.Second)
	}
	for _, f := range []struct {
		what          string
		v             *int
		def, low, top int
	}{
		{"TickRate", &k.TickRate, 20, 1, 128},
		{"MaxMembers", &k.MaxMembers, 50, 1, 100_000},
		{"ResumeMessages", &k.ResumeMessages, 1024, 1, 1 << 20},
		{"ResumeBytes", &k.ResumeBytes, 256 << 10, 1 << 10, 1 << 30},
		{"Mailbox", &k.Mailbox, 4096, 16, 1 << 20},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.low || *f.v > f.top {
			return k, fmt.Errorf("kind %s: %s is %d, want %d to %d", k.Name, f.what, *f.v, f.low, f.top)
		}
	}
	for _, f := range []struct {
		what string
		v    *time.Duration
	}{{"Grace", &k.Grace}, {"EmptyAfter", &k.EmptyAfter}} {
		if *f.v == 0 {
			*f.v = 30 * time.Second
		}
		if *f.v < time.Millisecond { // a number without its unit is nanoseconds
			return k, fmt.Errorf("kind %s: %s is %s, want 1ms or more", k.Name, f.what, *f.v)
		}
	}
	if d := k.Durability; !d.none && (d.interval < 100*time.Millisecond || d.interval > time.Hour) {
		return k, fmt.Errorf("kind %s: checkpoint interval is %s, want 100ms to 1h", k.Name, d.interval)
	}
	return k, nil
}

func checkName(s string) error {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("kind %q: use a-z, 0-9, '-', '_' and '.'", s)
		}
	}
	if len(s) == 0 || len(s) > 32 {
		return fmt.Errorf("kind %q: want 1 to 32 characters", s)
	}
	return nil
}
