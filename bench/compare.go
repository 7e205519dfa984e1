//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// compare interleaves the systems: each round runs every one, so that what else
// the machine does meets all alike.
func (r *runner) compare(ctx context.Context, systems []string, p plan, rounds int) ([]result, error) {
	var all []result
	for round := range rounds {
		for i := range systems {
			name := systems[(i+round)%len(systems)] // none is always first
			res, err := r.run(ctx, name, p)
			if err != nil {
				return all, err
			}
			all = append(all, res)
			if r.progress != nil {
				fmt.Fprintf(r.progress, "round %d of %d, %s: %.2f s/M, lateness p99 %.2f ms, input p50 %.3f p99 %.3f ms, lost %d\n",
					round+1, rounds, name, res.CPU, res.Lateness.P99/1e3, res.Input.P50/1e3, res.Input.P99/1e3, res.Lost)
			}
		}
	}
	return all, nil
}

// standing is one system's medians over the rounds.
type standing struct {
	System                          string
	CPU, CPULow, CPUTop             float64
	LateP99, InputP50, InputP99     float64
	Ticks, Lost, Anon, Joins, Share float64
	Starved                         int // rounds that the CPU leaves out
}

// starvedBelow is the share of ticks, in percent, below which a round says
// nothing of the cost: a server that is kept from the CPU reads and writes more
// at once, and looks cheap.
const starvedBelow = 97

// cost is the CPU of each round that was not starved, or of all where all were.
func cost(runs []result) (cpu []float64, starved int) {
	for _, r := range runs {
		if r.Plan.Echo || r.Ticks >= starvedBelow {
			cpu = append(cpu, r.CPU)
		}
	}
	starved = len(runs) - len(cpu)
	if len(cpu) == 0 {
		for _, r := range runs {
			cpu = append(cpu, r.CPU)
		}
	}
	return cpu, starved
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// standings are in the order of systems.
func standings(systems []string, all []result) []standing {
	var out []standing
	for _, name := range systems {
		of := func(f func(result) float64) []float64 {
			var v []float64
			for _, r := range all {
				if r.System == name {
					v = append(v, f(r))
				}
			}
			return v
		}
		var runs []result
		for _, r := range all {
			if r.System == name {
				runs = append(runs, r)
			}
		}
		cpu, starved := cost(runs)
		if len(cpu) == 0 {
			continue
		}
		out = append(out, standing{
			System: name, CPU: median(cpu), CPULow: slices.Min(cpu), CPUTop: slices.Max(cpu),
			LateP99:  median(of(func(r result) float64 { return r.Lateness.P99 / 1e3 })),
			InputP50: median(of(func(r result) float64 { return r.Input.P50 / 1e3 })),
			InputP99: median(of(func(r result) float64 { return r.Input.P99 / 1e3 })),
			Ticks:    median(of(func(r result) float64 { return r.Ticks })),
			Lost:     slices.Max(of(func(r result) float64 { return float64(r.Lost) })),
			Anon:     median(of(func(r result) float64 { return r.AnonKiB })),
			Joins:    median(of(func(r result) float64 { return r.JoinsPerSec })),
			Share:    median(of(func(r result) float64 { return r.CPUShare })),
			Starved:  starved,
		})
	}
	return out
}

// ratio of a system's CPU to another's, medians of one interleaved run; 0 where
// one is missing.
func ratio(s []standing, a, b string) float64 {
	var x, y float64
	for _, v := range s {
		switch v.System {
		case a:
			x = v.CPU
		case b:
			y = v.CPU
		}
	}
	if y == 0 {
		return 0
	}
	return x / y
}

func comparison(w io.Writer, p plan, s []standing, rounds int) {
	fmt.Fprintf(w, "\n%s, %d members, medians of %d interleaved rounds of %s\n", p.Scenario, p.members(), rounds, p.Duration)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tCPU s/M\tlow\ttop\tx gorilla\tx rawc\tx rawgo\tx colyseus\tlate p99 ms\tinput p50 ms\tp99 ms\tticks %%\tlost\tanon KiB\tjoins/s\tCPU %%\tstarved\t\n")
	for _, v := range s {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.3f\t%.2f\t%.0f\t%.1f\t%.0f\t%.0f\t%d\t\n",
			v.System, v.CPU, v.CPULow, v.CPUTop, ratio(s, v.System, "gorilla"), ratio(s, v.System, "rawc"), ratio(s, v.System, "rawgo"), ratio(s, v.System, "colyseus"),
			v.LateP99, v.InputP50, v.InputP99, v.Ticks, v.Lost, v.Anon, v.Joins, v.Share, v.Starved)
	}
	t.Flush()
}
