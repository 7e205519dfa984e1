//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
)

// criterion is what a round must keep to. Latencies in ms, ticks in percent.
type criterion struct {
	name        string
	late, input float64 // p99, at most
	ticks       float64 // at least
	whole       bool    // nothing lost or duplicated
}

// criteria are from the strictest to the loosest.
var criteria = []criterion{
	{"late 5, input 55 ms, all ticks", 5, 55, 99.5, true},
	{"late 50, input 100 ms, 97 % of ticks", 50, 100, 97, false},
	{"late 50 ms, 97 % of ticks", 50, math.Inf(1), 97, false},
}

func (c criterion) met(r result) bool {
	return r.Lateness.P99/1e3 <= c.late && r.Input.P99/1e3 <= c.input && r.Ticks >= c.ticks &&
		!(c.whole && r.Lost+r.Duplicated > 0)
}

// climb is how far a system has come: by criterion, the most clients with which it
// was met, and at how many steps in a row it has not been.
type climb struct {
	system string
	most   []int
	missed []int
}

// enough is how many steps in a row that miss a criterion end the climb by it: the
// machine alone makes one miss.
const enough = 2

// up reports whether there is a criterion left to climb by.
func (c *climb) up() bool {
	return slices.ContainsFunc(c.missed, func(n int) bool { return n < enough })
}

// take judges a step.
func (c *climb) take(r result) {
	for i, k := range criteria {
		switch {
		case c.missed[i] >= enough:
		case k.met(r):
			c.most[i], c.missed[i] = r.Plan.Clients, 0
		default:
			c.missed[i]++
		}
	}
}

// ladder plays with more and more clients, all systems at each step in turn, until
// each has failed or there are more than top.
func (r *runner) ladder(ctx context.Context, systems []string, p plan, step, top int) ([]result, []climb, error) {
	var all []result
	climbs := make([]climb, len(systems))
	for i, name := range systems {
		climbs[i] = climb{name, make([]int, len(criteria)), make([]int, len(criteria))}
	}
	for n := 0; p.Clients <= top; p.Clients, n = p.Clients+step, n+1 {
		for i := range climbs {
			c := &climbs[(i+n)%len(climbs)]
			if !c.up() {
				continue
			}
			res, err := r.run(ctx, c.system, p)
			if err != nil {
				return all, climbs, err
			}
			r.progress.line("%d clients, %s: CPU %.0f %%, ticks %.1f %%, %s", p.Clients, c.system, res.CPUShare, res.Ticks, res.brief())
			all = append(all, res)
			c.take(res)
		}
	}
	return all, climbs, nil
}

// stepGrid has every run of a ladder.
func stepGrid(all []result) grid {
	return gridOf(all, func(r result) string { return fmt.Sprintf("%s %d", r.System, r.Plan.Clients) }, []column[result]{
		{"CPU s/M", "%.2f", func(r result) float64 { return r.CPU }},
		{"CPU %", "%.0f", func(r result) float64 { return r.CPUShare }},
		{"load %", "%.0f", func(r result) float64 { return r.LoadCPU }},
		{"ticks %", "%.2f", func(r result) float64 { return r.Ticks }},
		{"late p50", "%.1f", func(r result) float64 { return r.Lateness.P50 / 1e3 }},
		{"p99 ms", "%.1f", func(r result) float64 { return r.Lateness.P99 / 1e3 }},
		{"input p50", "%.1f", func(r result) float64 { return r.Input.P50 / 1e3 }},
		{"p99 ms", "%.1f", func(r result) float64 { return r.Input.P99 / 1e3 }},
		{"lost", "%.0f", func(r result) float64 { return float64(r.Lost) }},
		{"criteria met", "%.0f", func(r result) float64 {
			n := 0
			for _, k := range criteria {
				if k.met(r) {
					n++
				}
			}
			return float64(n)
		}},
	})
}

// climbGrid has the most clients of each system, with ratios to the others'.
func climbGrid(climbs []climb) grid {
	var columns []column[climb]
	for i, k := range criteria {
		most := func(c climb) float64 { return float64(c.most[i]) }
		columns = append(columns, column[climb]{k.name, "%.0f", most})
		for _, base := range climbs {
			if base.system != "limpet" {
				columns = append(columns, column[climb]{"x " + base.system, "%.2f", func(c climb) float64 { return most(c) / some(most(base)) }})
			}
		}
	}
	return gridOf(climbs, func(c climb) string { return c.system }, columns)
}

func ladderTables(w io.Writer, p plan, all []result, climbs []climb) {
	fmt.Fprintf(w, "\n%s with more and more clients, rounds of %s, until %d steps in a row miss\n", p.Scenario, p.Duration, enough)
	stepGrid(all).write(w)
	fmt.Fprintln(w, "\nthe most clients, by what was kept to")
	climbGrid(climbs).write(w)
}
