//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestStarvedRoundsDoNotCount(t *testing.T) {
	runs := []result{{CPU: 17, Ticks: 100}, {CPU: 9, Ticks: 52}, {CPU: 18, Ticks: 101}}
	if cpu, starved := cost(runs); !slices.Equal(cpu, []float64{17, 18}) || starved != 1 {
		t.Errorf("%v, %d starved", cpu, starved)
	}
	if cpu, starved := cost(runs[1:2]); !slices.Equal(cpu, []float64{9}) || starved != 1 {
		t.Errorf("%v, %d starved", cpu, starved)
	}
	if cpu, starved := cost([]result{{CPU: 40, Plan: plan{Echo: true}}}); len(cpu) != 1 || starved != 0 {
		t.Errorf("echo: %v, %d starved", cpu, starved)
	}
}

func TestComparisonShowsWhatAScenarioIsAbout(t *testing.T) {
	s := []standing{{System: "limpet", CPU: 8, JoinCPU: 160, Joins: 5000, Anon: 2}, {System: "rawc", CPU: 4, JoinCPU: 40, Joins: 20000, Anon: 0.5}}
	for _, c := range []struct {
		plan             plan
		limpet, baseline string
		heads            []string
	}{
		{plan{}, "limpet 8.00 2.00 0.00 0.00 0 0 2.00 5000 0", "rawc 4.00 1.00 0.00 0.00 0 0 0.50 20000 0",
			[]string{"CPU s/M", "x rawc", "lost"}},
		{plan{Echo: true}, "limpet 160 4.00 5000 0.25 2.00 4.00 0.0 0", "rawc 40 1.00 20000 1.00 0.50 1.00 0.0 0",
			[]string{"CPU us/join", "x rawc", "joins/s", "KiB/member"}},
	} {
		var b strings.Builder
		comparison(&b, c.plan, s, 5)
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		for i, want := range []string{c.limpet, c.baseline} {
			if got := strings.Join(strings.Fields(lines[2+i]), " "); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		for _, head := range c.heads {
			if !strings.Contains(lines[1], head) {
				t.Errorf("no %q in %q", head, lines[1])
			}
		}
		for _, head := range []string{"x limpet", "x gorilla", "starved", "late p99"} {
			if strings.Contains(lines[1], head) {
				t.Errorf("%q in %q", head, lines[1])
			}
		}
	}
}

func TestPairsShowTheMedianOfTheirRatios(t *testing.T) {
	var all []result
	for _, v := range [][2]float64{{1, 2}, {3, 2}, {2.2, 2}} {
		all = append(all, result{System: "slow", CPU: v[0]}, result{System: "arena", CPU: v[1]})
	}
	g := pairGrid("slow", "arena", all)
	if got := strings.Join(g.Rows[0], " "); got != "CPU s/M 2.20 2.00 1.10 1.10 0.50 1.50" {
		t.Errorf("got %q", got)
	}
}
