//go:build linux

package main

import "testing"

func TestGrowthsCompareThirds(t *testing.T) {
	var trail []moment
	for i := range 30 {
		trail = append(trail, moment{Seconds: float64(10 * i), Processes: []held{
			{Name: "roomd", AnonMiB: 20, LiveMiB: 5 + float64(i%2), Goroutines: 100, Descriptors: 30},
			{Name: "gatewayd", AnonMiB: 20 + float64(i), LiveMiB: 5, Goroutines: 100, Descriptors: 30},
		}})
	}
	for _, g := range growths(trail) {
		want := 0.0
		if g.Process == "gatewayd" && g.What == "anon MiB" {
			want = 100 * (44.5/24.5 - 1)
		}
		if got := g.percent(); got != want {
			t.Errorf("%s %s grew %.2f %%, want %.2f", g.Process, g.What, got, want)
		}
	}
	if growths(trail[:5]) != nil {
		t.Error("five moments say something")
	}
}
