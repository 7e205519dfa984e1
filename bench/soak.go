//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/limpet-games/limpet/bench/system"
)

// moment is what the processes held at one time.
type moment struct {
	Seconds   float64 `json:"seconds"`
	Processes []held  `json:"processes"`
}

type held struct {
	Name        string  `json:"name"`
	AnonMiB     float64 `json:"anon_mib"`
	LiveMiB     float64 `json:"heap_live_mib"` // at the last collection
	Goroutines  float64 `json:"goroutines"`
	Descriptors float64 `json:"descriptors"`
}

// watchEvery is between two moments of a soak.
const watchEvery = 10 * time.Second

// watch notes what the processes hold.
func (r *result) watch(sys *system.System, at time.Duration) error {
	m := moment{Seconds: at.Seconds()}
	for _, p := range sys.Procs {
		u, err := p.Usage()
		if err != nil {
			return fmt.Errorf("usage of %s: %w", p.Name, err)
		}
		m.Processes = append(m.Processes, held{
			Name: p.Name, AnonMiB: float64(u.Anon) / (1 << 20), LiveMiB: u.Metrics["go_gc_heap_live_bytes"] / (1 << 20),
			Goroutines: u.Metrics["go_goroutines"], Descriptors: u.Metrics["process_open_fds"],
		})
	}
	r.Trail = append(r.Trail, m)
	return nil
}

// growth is how something a process holds changed in the course of a run.
type growth struct {
	Process, What string
	Early, Late   float64 // medians of the first and of the last third
	Low, Top      float64
}

func (g growth) percent() float64 {
	if g.Early == 0 {
		return 0
	}
	return 100 * (g.Late/g.Early - 1)
}

// growths compare the thirds of a trail; none for one too short.
func growths(trail []moment) (all []growth) {
	if len(trail) < 6 {
		return nil
	}
	third := len(trail) / 3
	for i, p := range trail[0].Processes {
		for _, what := range []struct {
			name string
			of   func(held) float64
		}{
			{"anon MiB", func(h held) float64 { return h.AnonMiB }}, {"live heap MiB", func(h held) float64 { return h.LiveMiB }},
			{"goroutines", func(h held) float64 { return h.Goroutines }}, {"descriptors", func(h held) float64 { return h.Descriptors }},
		} {
			var v []float64
			for _, m := range trail {
				v = append(v, what.of(m.Processes[i]))
			}
			all = append(all, growth{Process: p.Name, What: what.name, Early: median(v[:third]), Late: median(v[len(v)-third:]),
				Low: slices.Min(v), Top: slices.Max(v)})
		}
	}
	return all
}

// growthTable prints what a soak is for.
func growthTable(w io.Writer, trail []moment) {
	if all := growths(trail); all != nil {
		growthGrid(all).write(w)
	}
}

func growthGrid(all []growth) grid {
	return gridOf(all, func(g growth) string { return g.Process + " " + g.What }, []column[growth]{
		{"first third", "%.1f", func(g growth) float64 { return g.Early }},
		{"last third", "%.1f", func(g growth) float64 { return g.Late }},
		{"grew %", "%+.1f", growth.percent},
		{"low", "%.1f", func(g growth) float64 { return g.Low }},
		{"top", "%.1f", func(g growth) float64 { return g.Top }},
	})
}
