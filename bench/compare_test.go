//go:build linux

package main

import (
	"slices"
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
