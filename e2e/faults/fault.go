//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/limpet-games/limpet/e2e/load"
)

// fault is one thing that goes wrong, and is mended again.
type fault struct {
	name, does string
	// make does it and returns when all is mended. It calls hit ahead of it with
	// who will notice.
	make func(ctx context.Context, r *campaign, hit hitting) (what string, err error)
}

// hitting takes down who will notice a fault.
type hitting func(who func(*load.Player) bool)

// deck deals faults so that each comes once before one comes again.
type deck struct{ of, left []fault }

func newDeck(only string) (deck, error) {
	if only == "" {
		return deck{of: faults}, nil
	}
	var d deck
	for _, f := range faults {
		if f.name == only {
			d.of = append(d.of, f)
		}
	}
	if len(d.of) == 0 {
		return d, fmt.Errorf("no fault is named %q; -only list prints those that are", only)
	}
	return d, nil
}

func (d *deck) draw(rng *rand.Rand) fault {
	if len(d.left) == 0 {
		d.left = append([]fault(nil), d.of...)
		rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}

// recoverWithin bounds how long after its mending a fault may be noticed.
const recoverWithin = 30 * time.Second

// make breaks something and takes down how long those whom it hit heard
// nothing.
func (r *campaign) make(ctx context.Context, f fault) error {
	hit := map[*load.Silence]string{} // to the mode
	began := time.Now()
	what, err := f.make(ctx, r, func(who func(*load.Player) bool) {
		for m, fleet := range r.fleets {
			for _, p := range fleet.Now() {
				if who(p) {
					p.Silence.Forget()
					hit[p.Silence] = m
				}
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s (%s): %w", f.name, what, err)
	}
	mended := time.Now()
	for s, m := range hit {
		for !s.HeardSince(mended) {
			if time.Since(mended) > recoverWithin {
				return fmt.Errorf("%s (%s): members of %s rooms hear nothing %s after all was mended%s", f.name, what, m, recoverWithin, r.silent(mended))
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	var worst time.Duration
	for s, m := range hit {
		d := s.Longest()
		worst = max(worst, d)
		r.pauses.add(f.name, m, d)
	}
	r.say("%-22s %-40s %4d clients, longest pause %.2f s, over after %.1f s", f.name, what, len(hit), worst.Seconds(), time.Since(began).Seconds())
	return nil
}

// silent lists some players that have heard nothing.
func (r *campaign) silent(since time.Time) string {
	var who strings.Builder
	n := 0
	for m, fleet := range r.fleets {
		for _, p := range fleet.Now() {
			if p.Silence.HeardSince(since) {
				continue
			}
			if n++; n <= 5 {
				fmt.Fprintf(&who, "\n  %s of %s/%s: %+v", p.Name, m, p.RoomName, p.Room.Status())
			}
		}
	}
	return fmt.Sprintf(": %d players%s", n, &who)
}
