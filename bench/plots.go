//go:build linux

package main

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

var colours = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"}

// bars draws each system's standing, with the range of its rounds.
func bars(title string, s []standing, c column[standing], all []result, rounds func([]result) []float64) template.HTML {
	low, high, top := make([]float64, len(s)), make([]float64, len(s)), 1e-9
	for i, v := range s {
		of := rounds(runsOf(v.System, all))
		low[i], high[i] = slices.Min(of), slices.Max(of)
		top = max(top, high[i])
	}
	x := func(v float64) float64 { return 110 + 450*max(0, v)/top }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 640 %d" role="img" aria-label="%s">`, 34*len(s)+10, template.HTMLEscapeString(title))
	for i, v := range s {
		y := 34*i + 8
		fmt.Fprintf(&b, `<text x="100" y="%d" text-anchor="end">%s</text>`, y+16, template.HTMLEscapeString(v.System))
		fmt.Fprintf(&b, `<rect x="110" y="%d" width="%.1f" height="22" fill="%s"/>`, y, x(c.of(v))-110, colours[i%len(colours)])
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000"/>`, x(low[i]), x(high[i]), y+11, y+11)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">`+c.format+`</text>`, x(high[i])+8, y+16, c.of(v))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// curves draws the runs' distributions: time over percentile, the tail spread
// out, time on a logarithmic scale; nothing where none has any.
func curves(title string, all []result, of func(result) spread) template.HTML {
	low, top := math.Inf(1), 0.0
	for _, r := range all {
		for _, pt := range of(r).Curve {
			low, top = min(low, max(1, pt.US)), max(top, pt.US)
		}
	}
	if top == 0 {
		return ""
	}
	lowLog, span := math.Log10(low), max(0.3, math.Log10(top)-math.Log10(low))
	x := func(q float64) float64 { return 60 + 130*min(4, -math.Log10(max(1e-4, 1-q/100))) }
	y := func(us float64) float64 { return 230 - 210*(math.Log10(max(low, us))-lowLog)/span }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 640 260" role="img" aria-label="%s">`, template.HTMLEscapeString(title))
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="20" y2="230" stroke="#ddd"/><text x="%.1f" y="248" text-anchor="middle">%g</text>`, x(q), x(q), x(q), q)
	}
	for _, us := range marks(low, top) {
		fmt.Fprintf(&b, `<line x1="60" x2="580" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="54" y="%.1f" text-anchor="end">%g ms</text>`, y(us), y(us), y(us)+4, us/1e3)
	}
	seen := map[string]int{}
	for _, r := range all {
		if len(of(r).Curve) == 0 {
			continue
		}
		if _, ok := seen[r.System]; !ok {
			seen[r.System] = len(seen)
			fmt.Fprintf(&b, `<text x="590" y="%d" fill="%s">%s</text>`, 30+16*seen[r.System], colours[seen[r.System]%len(colours)], template.HTMLEscapeString(r.System))
		}
		var pts []string
		for _, pt := range of(r).Curve {
			pts = append(pts, fmt.Sprintf("%.1f,%.1f", x(pt.Percentile), y(pt.US)))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="%s"/>`, colours[seen[r.System]%len(colours)], strings.Join(pts, " "))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// marks are 1, 2 and 5 of each decade between two times, or the decades alone
// where that would be many.
func marks(low, top float64) (all []float64) {
	steps := []float64{1, 2, 5}
	if top/low > 1e3 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(low)); math.Pow(10, e) <= top; e++ {
		for _, step := range steps {
			if v := step * math.Pow(10, e); v >= low && v <= top {
				all = append(all, v)
			}
		}
	}
	return all
}

// drawTrail draws each process's anonymous memory over a soak.
func drawTrail(trail []moment) template.HTML {
	top, end := 1.0, 1.0
	for _, m := range trail {
		end = max(end, m.Seconds)
		for _, p := range m.Processes {
			top = max(top, p.AnonMiB)
		}
	}
	var b strings.Builder
	b.WriteString(`<svg viewBox="0 0 640 260" role="img" aria-label="anonymous memory over time">`)
	for i := range 5 {
		y := 230 - 52.5*float64(i)
		fmt.Fprintf(&b, `<line x1="60" x2="580" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="54" y="%.1f" text-anchor="end">%.0f MiB</text>`, y, y, y+4, top*float64(i)/4)
	}
	fmt.Fprintf(&b, `<text x="580" y="248" text-anchor="end">%.0f s</text>`, end)
	for i, p := range trail[0].Processes {
		var pts []string
		for _, m := range trail {
			pts = append(pts, fmt.Sprintf("%.1f,%.1f", 60+520*m.Seconds/end, 230-210*m.Processes[i].AnonMiB/top))
		}
		c := colours[i%len(colours)]
		fmt.Fprintf(&b, `<text x="590" y="%d" fill="%s">%s</text>`, 30+16*i, c, template.HTMLEscapeString(p.Name))
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="%s"/>`, c, strings.Join(pts, " "))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
