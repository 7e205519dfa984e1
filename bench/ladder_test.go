//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
)

// round is a run with p99s in ms and ticks in percent.
func round(clients int, late, input, ticks float64, lost uint64) result {
	return result{System: "limpet", Plan: plan{Clients: clients}, Lateness: spread{P99: late * 1e3}, Input: spread{P99: input * 1e3}, Ticks: ticks, Lost: lost}
}

func TestALadderEndsWhereTwoStepsInARowMiss(t *testing.T) {
	c := climb{"limpet", make([]int, len(criteria)), make([]int, len(criteria))}
	for _, r := range []result{
		round(1000, 3, 52, 100, 0), round(1500, 60, 52, 100, 0), round(2000, 4, 51, 99.9, 0),
		round(2500, 4, 51, 99.9, 1), round(3000, 8, 60, 100, 0), round(3500, 4, 51, 100, 0), // too late for the first
		round(4000, 40, 120, 98, 5), round(4500, 40, 120, 96, 0),
	} {
		if !c.up() {
			t.Fatalf("the climb is over at %d", r.Plan.Clients)
		}
		c.take(r)
	}
	if c.take(round(5000, 1, 1, 96, 0)); c.up() {
		t.Error("it climbs without its ticks")
	}
	if want := []int{2000, 3500, 4000}; !slices.Equal(c.most, want) {
		t.Errorf("most %v, want %v", c.most, want)
	}
	var b strings.Builder
	climbGrid([]climb{c, {"gorilla", []int{1000, 2500, 0}, nil}}).write(&b)
	if got := strings.Join(strings.Fields(strings.Split(b.String(), "\n")[1]), " "); got != "limpet 2000 2.00 3500 1.40 4000" {
		t.Errorf("got %q", got)
	}
}
