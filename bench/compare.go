//go:build linux

package main

import (
	"context"
	"slices"
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
			if r.rounds {
				r.progress.line("round %d of %d, %s: %s", round+1, rounds, name, res.brief())
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
	Duplicated                      float64
	JoinCPU, JoinP99                float64
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

func runsOf(system string, all []result) (runs []result) {
	for _, r := range all {
		if r.System == system {
			runs = append(runs, r)
		}
	}
	return runs
}

// standings are in the order of systems.
func standings(systems []string, all []result) []standing {
	var out []standing
	for _, name := range systems {
		runs := runsOf(name, all)
		of := func(f func(result) float64) (v []float64) {
			for _, r := range runs {
				v = append(v, f(r))
			}
			return v
		}
		cpu, starved := cost(runs)
		if len(cpu) == 0 {
			continue
		}
		out = append(out, standing{
			System: name, CPU: median(cpu), CPULow: slices.Min(cpu), CPUTop: slices.Max(cpu),
			LateP99:    median(of(func(r result) float64 { return r.Lateness.P99 / 1e3 })),
			InputP50:   median(of(func(r result) float64 { return r.Input.P50 / 1e3 })),
			InputP99:   median(of(func(r result) float64 { return r.Input.P99 / 1e3 })),
			Ticks:      median(of(func(r result) float64 { return r.Ticks })),
			Lost:       slices.Max(of(func(r result) float64 { return float64(r.Lost) })),
			Duplicated: slices.Max(of(func(r result) float64 { return float64(r.Duplicated) })),
			Anon:       median(of(func(r result) float64 { return r.AnonKiB })),
			Joins:      median(of(func(r result) float64 { return r.JoinsPerSec })),
			JoinCPU:    median(of(func(r result) float64 { return r.JoinCPU })),
			JoinP99:    median(of(func(r result) float64 { return r.Join.P99 / 1e3 })),
			Share:      median(of(func(r result) float64 { return r.CPUShare })),
			Starved:    starved,
		})
	}
	return out
}
