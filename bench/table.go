//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table prints one run.
func table(w io.Writer, r result) {
	p := r.Plan
	fmt.Fprintf(w, "\n%s, %s: %d members in %d rooms, %g inputs/s each, %d x %d bytes at %d Hz, %.0f s\n",
		r.System, p.Scenario, r.Members, p.rooms(), p.Rate, p.Messages, p.Size, p.Tick, r.Seconds)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tp50\tp99\tp99.9\tmax\t\n")
	for _, row := range []struct {
		name string
		s    spread
	}{{"tick lateness, ms", r.Lateness}, {"input to state, ms", r.Input}, {"join, ms", r.Join}} {
		if row.s.Count > 0 {
			fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t\n", row.name, row.s.P50/1e3, row.s.P99/1e3, row.s.P999/1e3, row.s.Max/1e3)
		}
	}
	t.Flush()
	fmt.Fprintf(w, "  deliveries %d (%.0f/s), lost %d, duplicated %d, inputs %d, asked again %d, connections broken %d\n",
		r.Deliveries, float64(r.Deliveries)/r.Seconds, r.Lost, r.Duplicated, r.Inputs, r.Expected, r.Broken)
	if r.Ticks > 0 {
		fmt.Fprintf(w, "  ticks delivered %.2f %%\n", r.Ticks)
	}
	fmt.Fprintf(w, "  joins %.0f/s, %.0f us of CPU each, %d refused and asked again\n", r.JoinsPerSec, r.JoinCPU, r.Refused)
	if p.Storm {
		joinTable(w, r.JoinCosts)
	}
	fmt.Fprintf(w, "  CPU %.2f s per million deliveries, %.0f %% of one CPU; load generator %.0f %%\n", r.CPU, r.CPUShare, r.LoadCPU)
	t = tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tCPU s/M\tRSS MiB\tanon MiB\tanon KiB/member\tallocs/delivery\tGCs\tpause us\tlongest\tGC CPU %%\tassist us/1000\tgoroutines\t\n")
	for _, q := range r.Processes {
		fmt.Fprintf(t, "%s\t%.2f\t%.1f\t%.1f\t%.2f\t%.4f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f\t\n",
			q.Name, q.CPU, q.RSSMiB, q.AnonMiB, q.AnonKiB, q.Allocs, q.GCs, q.GCPauseUS, q.GCTopUS, q.GCPercent, q.AssistUS, q.Routines)
	}
	t.Flush()
	growthTable(w, r.Trail)
	if g := r.Gates; g.WritesPerDelivery > 0 {
		fmt.Fprintf(w, "  client writes per delivery %.4f, reads per input %.3f; outputs per room tick %.4f; link writes: %.3f per room tick, %.3f per input; socket calls per delivery %.3f\n",
			g.WritesPerDelivery, g.ReadsPerInput, g.OutputsPerTick, g.LinkWritesPerTick, g.LinkWritesPerInput, g.CallsPerDelivery)
	}
}

// joinTable prints what joins cost each process.
func joinTable(w io.Writer, costs []joinCost) {
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tCPU us/join\tallocs/join\tKiB/join\tGCs\tGC CPU %%\t\n")
	for _, c := range costs {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t%.0f\t%.1f\t\n", c.Name, c.CPU, c.Allocs, c.Bytes/1024, c.GCs, c.GCPercent)
	}
	t.Flush()
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
		text += fmt.Sprintf("input p50 %.3f p99 %.3f ms, ", r.Input.P50/1e3, r.Input.P99/1e3)
	}
	return text + fmt.Sprintf("lost %d", r.Lost)
}
