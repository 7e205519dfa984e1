package check

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// guarantees are the promises of the design and the rules that hold them.
var guarantees = []struct {
	name, says string
	rules      []string
}{
	{"G1", "a membership lasts until its client ends it", []string{"membership"}},
	{"G2", "inputs are applied once and in order", []string{"inputs", "acks"}},
	{"G3", "messages come once and in order, or their loss is told", []string{"outputs", "protocol", "window"}},
	{"G3", "newer values are not followed by older ones", []string{"values"}},
	{"G4", "one writer a room", []string{"one writer"}},
	{"G5", "nobody goes back to an older owner or connection", []string{"epochs"}},
	{"G6", "read your writes", []string{"read your writes"}},
	{"G6", "monotonic reads", []string{"monotonic reads"}},
	{"G6", "monotonic writes", []string{"monotonic writes"}},
	{"G6", "writes follow reads", []string{"writes follow reads"}},
	{"G7", "what was confirmed as durable is there", []string{"durable"}},
	{"G7", "journaled rooms never go back", []string{"rollback"}},
}

// Verdict says which promises a history keeps, and what it was that was judged.
type Verdict struct {
	Rooms, Lost, Journaled int // rooms; those that are kept nowhere; journaled ones
	Records, Events        int
	Attaches, Messages     int
	Rewinds, Gaps, Drops   int
	Sent, Applied, Durable uint64 // inputs
	Skipped                uint64 // left out with a word
	Missing, Twice, Undone uint64 // without a word; applied more than once; ended with their rooms or clients
	Disordered             uint64 // applied after a later one
	Wakes, Owners          int    // woken hosts; epochs

	Problems []Problem
}

// Add adds what another history came to.
func (v *Verdict) Add(o Verdict) {
	v.Rooms, v.Lost, v.Journaled = v.Rooms+o.Rooms, v.Lost+o.Lost, v.Journaled+o.Journaled
	v.Records, v.Events = v.Records+o.Records, v.Events+o.Events
	v.Attaches, v.Messages = v.Attaches+o.Attaches, v.Messages+o.Messages
	v.Rewinds, v.Gaps, v.Drops = v.Rewinds+o.Rewinds, v.Gaps+o.Gaps, v.Drops+o.Drops
	v.Sent, v.Applied, v.Durable = v.Sent+o.Sent, v.Applied+o.Applied, v.Durable+o.Durable
	v.Skipped, v.Missing = v.Skipped+o.Skipped, v.Missing+o.Missing
	v.Twice, v.Undone, v.Disordered = v.Twice+o.Twice, v.Undone+o.Undone, v.Disordered+o.Disordered
	v.Wakes, v.Owners = v.Wakes+o.Wakes, v.Owners+o.Owners
	v.Problems = append(v.Problems, o.Problems...)
}

// Print writes the counts, a line for each promise, and the first problems.
func (v *Verdict) Print(w io.Writer) {
	fmt.Fprintf(w, "%d rooms (%d journaled, %d kept nowhere), %d memberships, %d events\n",
		v.Rooms, v.Journaled, v.Lost, v.Records, v.Events)
	fmt.Fprintf(w, "inputs: %d sent, %d applied, %d durable, %d lost, %d duplicated, %d out of order, %d skipped, %d ended with their room or tab\n",
		v.Sent, v.Applied, v.Durable, v.Missing, v.Twice, v.Disordered, v.Skipped, v.Undone)
	fmt.Fprintf(w, "clients: %d messages, %d attaches, %d rewinds, %d gaps, %d connections lost; %d epochs, %d woken hosts\n",
		v.Messages, v.Attaches, v.Rewinds, v.Gaps, v.Drops, v.Owners, v.Wakes)
	for _, g := range guarantees {
		n := v.broken(g.rules)
		word := "holds"
		if n > 0 {
			word = fmt.Sprintf("BROKEN %d times", n)
		}
		fmt.Fprintf(w, "  %s %-55s %s\n", g.name, g.says, word)
	}
	if n := v.broken([]string{"history"}); n > 0 {
		fmt.Fprintf(w, "  the history itself does not fit: %d times\n", n)
	}
	for i, p := range v.Problems {
		if i == 40 {
			fmt.Fprintf(w, "  ... and %d more\n", len(v.Problems)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", p)
	}
}

func (v *Verdict) broken(rules []string) (n int) {
	for _, p := range v.Problems {
		if slices.Contains(rules, p.Rule) {
			n++
		}
	}
	return n
}

// Judge checks a history and counts what is in it.
func Judge(h History) Verdict {
	c := check(h)
	v := Verdict{Rooms: len(c.order), Wakes: len(h.Wakes), Problems: c.problems}
	slices.SortStableFunc(v.Problems, func(a, b Problem) int { return cmp.Compare(a.Rule, b.Rule) })
	for _, r := range c.order {
		v.Owners += len(r.owners)
		switch {
		case r.Lost:
			v.Lost++
		case r.Journaled:
			v.Journaled++
		}
		for _, rec := range r.records {
			v.count(r, rec)
		}
	}
	return v
}

func (v *Verdict) count(r *room, rec *record) {
	v.Records++
	v.Events += len(rec.Events)
	for _, e := range rec.Events {
		switch e.Kind {
		case Message:
			v.Messages++
		case Joined, Resumed, Attached:
			v.Attaches++
		case Rewound:
			v.Rewinds++
		case Gap:
			v.Gaps++
		case Dropped:
			v.Drops++
		}
	}
	v.Sent += rec.sent
	v.Durable += rec.durable
	if r.Lost {
		v.Applied += rec.applied
		v.Undone += rec.sent - rec.applied
		return
	}
	v.Applied += rec.applied
	v.Twice += rec.twice
	v.Disordered += rec.disordered
	v.Skipped += uint64(len(rec.excused))
	v.Missing += rec.missing
	v.Undone += rec.undone
}
