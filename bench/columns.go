//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

var (
	standingCost     = column[standing]{"CPU s/M", "%.2f", func(v standing) float64 { return v.CPU }}
	standingJoinCost = column[standing]{"CPU us/join", "%.0f", func(v standing) float64 { return v.JoinCPU }}
	standingJoins    = column[standing]{"joins/s", "%.0f", func(v standing) float64 { return v.Joins }}
	standingJoinP99  = column[standing]{"join p99 ms", "%.1f", func(v standing) float64 { return v.JoinP99 }}
	standingMemory   = column[standing]{"KiB/member", "%.2f", func(v standing) float64 { return v.Anon }}
	standingShare    = column[standing]{"CPU %", "%.0f", func(v standing) float64 { return v.Share }}
)

// standingGrid has what says something of a plan, with ratios to the baselines
// that have run.
func standingGrid(p plan, s []standing) grid {
	name := func(v standing) string { return v.System }
	if p.silent() {
		return gridOf(s, name, slices.Concat(
			beside(s, standingJoinCost), beside(s, standingJoins), beside(s, standingMemory),
			[]column[standing]{standingJoinP99, standingShare}))
	}
	return gridOf(s, name, slices.Concat(beside(s, standingCost), []column[standing]{
		{"low", "%.2f", func(v standing) float64 { return v.CPULow }},
		{"top", "%.2f", func(v standing) float64 { return v.CPUTop }},
		{"late p99 ms", "%.2f", func(v standing) float64 { return some(v.LateP99) }},
		{"input p50 ms", "%.3f", func(v standing) float64 { return some(v.InputP50) }},
		{"p99 ms", "%.3f", func(v standing) float64 { return some(v.InputP99) }},
		{"ticks %", "%.2f", func(v standing) float64 { return some(v.Ticks) }},
		{"lost", "%.0f", func(v standing) float64 { return v.Lost }},
		{"duplicated", "%.0f", func(v standing) float64 { return v.Duplicated }},
		standingMemory, standingJoins, standingShare,
		{"starved", "%.0f", func(v standing) float64 { return some(float64(v.Starved)) }},
	}))
}

// beside is a column, followed by its ratios to each baseline.
func beside(s []standing, c column[standing]) []column[standing] {
	all := []column[standing]{c}
	for _, base := range s {
		if base.System != "limpet" {
			all = append(all, column[standing]{"x " + base.System, "%.2f", func(v standing) float64 { return c.of(v) / some(c.of(base)) }})
		}
	}
	return all
}

func comparison(w io.Writer, p plan, s []standing, rounds int) {
	fmt.Fprintf(w, "\n%s, %d members, medians of %d interleaved rounds of %s\n", p.Scenario, p.members(), rounds, p.Duration)
	standingGrid(p, s).write(w)
}

// spreadGrid has a run's distributions.
func spreadGrid(r result) grid {
	type row struct {
		name string
		spread
	}
	rows := slices.DeleteFunc([]row{
		{"tick lateness, ms", r.Lateness}, {r.Plan.inputName() + ", ms", r.Input}, {"join, ms", r.Join},
	}, func(v row) bool { return v.Count == 0 })
	return gridOf(rows, func(v row) string { return v.name }, []column[row]{
		{"p50", "%.3f", func(v row) float64 { return v.P50 / 1e3 }},
		{"p99", "%.3f", func(v row) float64 { return v.P99 / 1e3 }},
		{"p99.9", "%.3f", func(v row) float64 { return v.P999 / 1e3 }},
		{"max", "%.3f", func(v row) float64 { return v.Max / 1e3 }},
	})
}

// processGrid has what a run's processes used. Where nothing was delivered, it
// tells by the second.
func processGrid(r result) grid {
	type of = func(process) float64
	metered := func(f of) of {
		return func(v process) float64 {
			if !v.Metered {
				return math.NaN()
			}
			return f(v)
		}
	}
	delivered := func(f of) of {
		return func(v process) float64 {
			if r.Deliveries == 0 {
				return math.NaN()
			}
			return f(v)
		}
	}
	return gridOf(r.Processes, func(v process) string { return v.Name }, []column[process]{
		{"CPU s/M", "%.2f", delivered(func(v process) float64 { return v.CPU })},
		{"CPU %", "%.1f", func(v process) float64 { return v.CPUShare }},
		{"RSS MiB", "%.1f", func(v process) float64 { return v.RSSMiB }},
		{"anon MiB", "%.1f", func(v process) float64 { return v.AnonMiB }},
		{"anon KiB/member", "%.2f", func(v process) float64 { return v.AnonKiB }},
		{"allocs/delivery", "%.4f", metered(delivered(func(v process) float64 { return v.Allocs }))},
		{"allocs/s", "%.0f", metered(func(v process) float64 { return v.AllocRate })},
		{"GCs", "%.0f", metered(func(v process) float64 { return v.GCs })},
		{"pause us", "%.0f", metered(func(v process) float64 { return v.GCPauseUS })},
		{"longest", "%.0f", metered(func(v process) float64 { return v.GCTopUS })},
		{"GC CPU %", "%.1f", metered(func(v process) float64 { return v.GCPercent })},
		{"assist us/s", "%.1f", metered(func(v process) float64 { return v.AssistUS })},
		{"goroutines", "%.0f", metered(func(v process) float64 { return v.Routines })},
	})
}

// joinGrid has what joins cost each process.
func joinGrid(r result) grid {
	return gridOf(r.JoinCosts, func(v joinCost) string { return v.Name }, []column[joinCost]{
		{"CPU us/join", "%.1f", func(v joinCost) float64 { return v.CPU }},
		{"allocs/join", "%.1f", func(v joinCost) float64 { return v.Allocs }},
		{"KiB/join", "%.2f", func(v joinCost) float64 { return v.Bytes / 1024 }},
		{"GCs", "%.0f", func(v joinCost) float64 { return v.GCs }},
		{"GC CPU %", "%.1f", func(v joinCost) float64 { return v.GCPercent }},
	})
}

// runGrid has what clients saw of each run.
func runGrid(all []result) grid {
	round := map[string]int{}
	name := func(r result) string {
		round[r.System]++
		return fmt.Sprintf("%s, %d", r.System, round[r.System])
	}
	columns := []column[result]{
		{"deliveries", "%.0f", func(r result) float64 { return float64(r.Deliveries) }},
		{"lost", "%.0f", func(r result) float64 { return float64(r.Lost) }},
		{"duplicated", "%.0f", func(r result) float64 { return float64(r.Duplicated) }},
		{"joins/s", "%.0f", func(r result) float64 { return r.JoinsPerSec }},
	}
	for _, d := range []struct {
		head string
		of   func(result) spread
	}{
		{"late", func(r result) spread { return r.Lateness }},
		{"input", func(r result) spread { return r.Input }},
		{"join", func(r result) spread { return r.Join }},
	} {
		columns = append(columns,
			column[result]{d.head + " p50 ms", "%.3f", func(r result) float64 { return some(d.of(r).P50 / 1e3) }},
			column[result]{"p99", "%.3f", func(r result) float64 { return some(d.of(r).P99 / 1e3) }},
			column[result]{"p99.9", "%.3f", func(r result) float64 { return some(d.of(r).P999 / 1e3) }},
			column[result]{"max", "%.3f", func(r result) float64 { return some(d.of(r).Max / 1e3) }})
	}
	columns = append(columns,
		column[result]{"CPU %", "%.0f", func(r result) float64 { return r.CPUShare }},
		column[result]{"load CPU %", "%.0f", func(r result) float64 { return r.LoadCPU }},
		column[result]{"store CPU %", "%.1f", func(r result) float64 { return some(r.StoreCPU) }})
	return gridOf(all, name, columns)
}
