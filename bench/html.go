//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var reportText string

var report = template.Must(template.New("report").Parse(reportText))

// plot is a picture with its title.
type plot struct {
	Title string
	Plot  template.HTML
}

// detail is what the report has of one run's processes.
type detail struct {
	Title            string
	Processes, Joins grid
	Trail            *trailed
}

type trailed struct {
	Plot   template.HTML
	Growth grid
}

// page writes a report that needs nothing beside itself.
func page(w io.Writer, p plan, s []standing, all []result) error {
	return report.Execute(w, map[string]any{
		"Plan": p, "Members": p.members(), "Rooms": p.rooms(), "Play": p.play(), "About": scenarios[p.Scenario].about,
		"Standings": standingGrid(p, s), "Bars": barPlots(p, s, all), "Curves": curvePlots(p, all),
		"Runs": runGrid(all), "Details": details(all),
	})
}

func barPlots(p plan, s []standing, all []result) (plots []plot) {
	add := func(title string, c column[standing], rounds func([]result) []float64) {
		plots = append(plots, plot{title, bars(title, s, c, all, rounds)})
	}
	each := func(of func(result) float64) func([]result) []float64 {
		return func(runs []result) (v []float64) {
			for _, r := range runs {
				v = append(v, of(r))
			}
			return v
		}
	}
	if p.silent() {
		add("CPU microseconds a join", standingJoinCost, each(func(r result) float64 { return r.JoinCPU }))
		add("Joins a second", standingJoins, each(func(r result) float64 { return r.JoinsPerSec }))
	} else {
		add("CPU seconds per million deliveries", standingCost, func(runs []result) []float64 { v, _ := cost(runs); return v })
	}
	add("Memory, KiB a member", standingMemory, each(func(r result) float64 { return r.AnonKiB }))
	return plots
}

func curvePlots(p plan, all []result) (plots []plot) {
	for _, c := range []struct {
		title string
		of    func(result) spread
	}{
		{"tick lateness by percentile", func(r result) spread { return r.Lateness }},
		{p.inputName() + " by percentile", func(r result) spread { return r.Input }},
		{"join by percentile", func(r result) spread { return r.Join }},
	} {
		if drawn := curves(c.title, all, c.of); drawn != "" {
			plots = append(plots, plot{strings.ToUpper(c.title[:1]) + c.title[1:], drawn})
		}
	}
	return plots
}

func details(all []result) (out []detail) {
	round := map[string]int{}
	for _, r := range all {
		round[r.System]++
		d := detail{Title: fmt.Sprintf("Processes of %s, round %d", r.System, round[r.System]), Processes: processGrid(r)}
		d.Joins = joinGrid(r)
		if len(r.Trail) > 0 {
			d.Trail = &trailed{drawTrail(r.Trail), growthGrid(growths(r.Trail))}
		}
		out = append(out, d)
	}
	return out
}
