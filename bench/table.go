//go:build linux

package main

import (
	"fmt"
	"io"
)

// table prints one run.
func table(w io.Writer, r result) {
	p := r.Plan
	fmt.Fprintf(w, "\n%s, %s: %d clients, %d members in %d rooms, %s, %.0f s\n",
		r.System, p.Scenario, p.Clients, r.Members, p.rooms(), p.play(), r.Seconds)
	spreadGrid(r).write(w)
	fmt.Fprintf(w, "  deliveries %d (%.0f/s), lost %d, duplicated %d, inputs %d, asked again %d, connections broken %d\n",
		r.Deliveries, float64(r.Deliveries)/r.Seconds, r.Lost, r.Duplicated, r.Inputs, r.Expected, r.Broken)
	if r.Ticks > 0 {
		fmt.Fprintf(w, "  ticks delivered %.2f %%\n", r.Ticks)
	}
	fmt.Fprintf(w, "  joins %.0f/s, %.0f us of CPU each, %d refused and asked again\n", r.JoinsPerSec, r.JoinCPU, r.Refused)
	if p.Storm {
		joinGrid(r).write(w)
	}
	cost := ""
	if r.Deliveries > 0 {
		cost = fmt.Sprintf("%.2f s per million deliveries, ", r.CPU)
	}
	fmt.Fprintf(w, "  CPU %s%.0f %% of one CPU; beside it the load generator %.0f %%, the store %.1f %%\n", cost, r.CPUShare, r.LoadCPU, r.StoreCPU)
	processGrid(r).write(w)
	growthTable(w, r.Trail)
	if g := r.Gates; g.WritesPerDelivery > 0 {
		fmt.Fprintf(w, "  client writes per delivery %.4f, reads per input %.3f; outputs per room tick %.4f; link writes: %.3f per room tick, %.3f per input; socket calls per delivery %.3f\n",
			g.WritesPerDelivery, g.ReadsPerInput, g.OutputsPerTick, g.LinkWritesPerTick, g.LinkWritesPerInput, g.CallsPerDelivery)
	}
}

// brief is a round's result in a line.
func (r result) brief() string {
	if r.Plan.silent() {
		return fmt.Sprintf("%.0f joins/s, %.0f us of CPU each, p99 %.1f ms, %.2f KiB a member", r.JoinsPerSec, r.JoinCPU, r.Join.P99/1e3, r.AnonKiB)
	}
	text := fmt.Sprintf("%.2f s/M, ", r.CPU)
	if r.Lateness.Count > 0 {
		text += fmt.Sprintf("lateness p99 %.2f ms, ", r.Lateness.P99/1e3)
	}
	if r.Input.Count > 0 {
		text += fmt.Sprintf("%s p50 %.3f p99 %.3f ms, ", r.Plan.inputName(), r.Input.P50/1e3, r.Input.P99/1e3)
	}
	return text + fmt.Sprintf("lost %d", r.Lost)
}
