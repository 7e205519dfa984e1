//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// column is one of a comparison, whose rows are systems.
type column struct {
	head, format string
	of           func(standing) float64
}

func (c column) text(v standing) string { return fmt.Sprintf(c.format, c.of(v)) }

var (
	cpuCost       = column{"CPU s/M", "%.2f", func(v standing) float64 { return v.CPU }}
	cpuLow        = column{"low", "%.2f", func(v standing) float64 { return v.CPULow }}
	cpuTop        = column{"top", "%.2f", func(v standing) float64 { return v.CPUTop }}
	cpuShare      = column{"CPU %", "%.0f", func(v standing) float64 { return v.Share }}
	starvedRounds = column{"starved", "%.0f", func(v standing) float64 { return float64(v.Starved) }}
	latenessP99   = column{"late p99 ms", "%.2f", func(v standing) float64 { return v.LateP99 }}
	inputP50      = column{"input p50 ms", "%.3f", func(v standing) float64 { return v.InputP50 }}
	inputP99      = column{"p99 ms", "%.3f", func(v standing) float64 { return v.InputP99 }}
	ticks         = column{"ticks %", "%.2f", func(v standing) float64 { return v.Ticks }}
	lost          = column{"lost", "%.0f", func(v standing) float64 { return v.Lost }}
	duplicated    = column{"duplicated", "%.0f", func(v standing) float64 { return v.Duplicated }}
	costOfJoin    = column{"CPU us/join", "%.0f", func(v standing) float64 { return v.JoinCPU }}
	joinRate      = column{"joins/s", "%.0f", func(v standing) float64 { return v.Joins }}
	joinP99       = column{"join p99 ms", "%.1f", func(v standing) float64 { return v.JoinP99 }}
	memory        = column{"KiB/member", "%.2f", func(v standing) float64 { return v.Anon }}
)

// columns are those that say something of a plan.
func columns(p plan, s []standing) []column {
	var all []column
	add := func(c ...column) { all = append(all, c...) }
	if p.silent() {
		for _, c := range []column{costOfJoin, joinRate, memory} {
			add(c)
			add(beside(s, c)...)
		}
		add(joinP99, cpuShare)
		return all
	}
	add(cpuCost, cpuLow, cpuTop)
	add(beside(s, cpuCost)...)
	for _, c := range []column{latenessP99, inputP50, inputP99, ticks} {
		if slices.ContainsFunc(s, func(v standing) bool { return c.of(v) != 0 }) {
			add(c)
		}
	}
	add(lost, duplicated, memory, joinRate, cpuShare)
	if slices.ContainsFunc(s, func(v standing) bool { return v.Starved > 0 }) {
		add(starvedRounds)
	}
	return all
}

// beside are a column's ratios to each baseline that has run.
func beside(s []standing, c column) []column {
	var all []column
	for _, base := range s {
		if base.System == "limpet" || c.of(base) == 0 {
			continue
		}
		all = append(all, column{"x " + base.System, "%.2f", func(v standing) float64 { return c.of(v) / c.of(base) }})
	}
	return all
}

func comparison(w io.Writer, p plan, s []standing, rounds int) {
	fmt.Fprintf(w, "\n%s, %d members, medians of %d interleaved rounds of %s\n", p.Scenario, p.members(), rounds, p.Duration)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(column) string) {
		cells := []string{name}
		for _, c := range columns(p, s) {
			cells = append(cells, cell(c))
		}
		fmt.Fprintf(t, "%s\t\n", strings.Join(cells, "\t"))
	}
	row("", func(c column) string { return c.head })
	for _, v := range s {
		row(v.System, func(c column) string { return c.text(v) })
	}
	t.Flush()
}
