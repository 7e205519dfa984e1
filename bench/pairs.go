//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// pairs plays a scenario and another one with Limpet in turn, and prints how they
// differ: what noise hides in two runs shows in many short ones.
func (r *runner) pairs(ctx context.Context, o options, p plan) error {
	other, err := planned(o.beside)
	if err != nil {
		return err
	}
	other.Clients, other.Duration, other.Pin, other.Store = p.Clients, p.Duration, p.Pin, p.Store
	plans := []plan{p, other}
	var all []result
	for round := 0; round < o.rounds && err == nil; round++ {
		var runs []result
		if runs, err = r.pair(ctx, plans, round); err == nil {
			all = append(all, runs...)
		}
	}
	if len(all) == 0 {
		return err
	}
	fmt.Printf("\nlimpet, %d clients: %s beside %s, medians of %d pairs of %s\n", p.Clients, p.Scenario, other.Scenario, len(all)/2, p.Duration)
	pairGrid(p.Scenario, other.Scenario, all).write(os.Stdout)
	return errors.Join(err, write(o, p, standings([]string{p.Scenario, other.Scenario}, all), all))
}

// pair plays both plans; the round decides on the order.
func (r *runner) pair(ctx context.Context, plans []plan, round int) ([]result, error) {
	runs := make([]result, len(plans))
	for i := range plans {
		k := (i + round) % len(plans)
		run, err := r.run(ctx, "limpet", plans[k])
		if err != nil {
			return nil, err
		}
		run.System = plans[k].Scenario
		r.progress.line("pair %d, %s: %s", round+1, run.System, run.brief())
		runs[k] = run
	}
	return runs, nil
}

// pairGrid has what two scenarios measured, and by how much they differ within the
// pairs.
func pairGrid(name, other string, all []result) grid {
	these, those := runsOf(name, all), runsOf(other, all)
	type row struct {
		name   string
		a, b   float64
		ratios []float64
	}
	var rows []row
	for _, m := range []struct {
		name string
		of   func(result) float64
	}{
		{"CPU s/M", func(r result) float64 { return r.CPU }},
		{"tick lateness p50, ms", func(r result) float64 { return r.Lateness.P50 / 1e3 }},
		{"tick lateness p99, ms", func(r result) float64 { return r.Lateness.P99 / 1e3 }},
		{"input to state p99, ms", func(r result) float64 { return r.Input.P99 / 1e3 }},
		{"ticks %", func(r result) float64 { return r.Ticks }},
	} {
		v := row{name: m.name}
		var as, bs []float64
		for i := range these {
			a, b := m.of(these[i]), m.of(those[i])
			as, bs, v.ratios = append(as, a), append(bs, b), append(v.ratios, a/some(b))
		}
		v.a, v.b = median(as), median(bs)
		rows = append(rows, v)
	}
	return gridOf(rows, func(v row) string { return v.name }, []column[row]{
		{name, "%.2f", func(v row) float64 { return v.a }},
		{other, "%.2f", func(v row) float64 { return v.b }},
		{"ratio", "%.2f", func(v row) float64 { return v.a / some(v.b) }},
		{"of pairs", "%.2f", func(v row) float64 { return median(v.ratios) }},
		{"low", "%.2f", func(v row) float64 { return slices.Min(v.ratios) }},
		{"top", "%.2f", func(v row) float64 { return slices.Max(v.ratios) }},
	})
}
