//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// pauses are how long clients heard nothing, by fault and mode.
type pauses map[[2]string][]time.Duration

func (p pauses) add(fault, mode string, d time.Duration) {
	p[[2]string{fault, mode}] = append(p[[2]string{fault, mode}], d)
}

// report prints the whole run's pauses and verdict.
func (r *campaign) report() {
	fmt.Fprintf(r.cfg.out, "\npauses that clients saw\n%-22s %-10s %8s %8s %8s %8s\n", "", "rooms", "clients", "p50", "p99", "max")
	for _, f := range faults {
		for _, m := range modes {
			r.row(f.name, m.name)
		}
	}
	fmt.Fprintf(r.cfg.out, "\nseed %d, %d of %d faults, %.0f s\n", r.cfg.seed, len(r.kinds()), len(faults), time.Since(r.began).Seconds())
	r.verdict.Print(r.cfg.out)
}

func (r *campaign) row(fault, mode string) {
	d := r.pauses[[2]string{fault, mode}]
	if len(d) == 0 {
		return
	}
	slices.Sort(d)
	at := func(q float64) string { return fmt.Sprintf("%.2f s", d[int(q*float64(len(d)-1))].Seconds()) }
	fmt.Fprintf(r.cfg.out, "%-22s %-10s %8d %8s %8s %8s\n", fault, mode, len(d), at(.5), at(.99), at(1))
}

// kinds are the faults that were made.
func (r *campaign) kinds() []string {
	made := map[string]bool{}
	for k := range r.pauses {
		made[k[0]] = true
	}
	return slices.Sorted(maps.Keys(made))
}
