//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/limpet-games/limpet/bench/load"
)

// progress tells what is going on: on a terminal by one line that is written
// over each second, elsewhere by a line now and then.
type progress struct {
	w    io.Writer
	live bool // a terminal
	next time.Duration
}

// plainEvery is between two lines where there is no terminal.
const plainEvery = 30 * time.Second

func progressTo(f *os.File) *progress {
	return &progress{w: f, live: term.IsTerminal(int(f.Fd())), next: plainEvery}
}

// clear takes a live line away, and begins anew to count the time of a run.
func (p *progress) clear() {
	p.next = plainEvery
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// line stays.
func (p *progress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// play tells how a run is going.
func (p *progress) play(system string, s load.Stats) {
	text := fmt.Sprintf("%s: %2.0f s, %d deliveries, %d lost", system, s.For.Seconds(), s.Deliveries, s.Lost)
	switch {
	case !s.Playing:
		text = fmt.Sprintf("%s: %2.0f s, %d joined", system, s.For.Seconds(), s.Joined)
	case s.Lateness.TotalCount() > 0:
		text += fmt.Sprintf(", lateness p99 %.1f ms", float64(s.Lateness.ValueAtPercentile(99))/1e6)
	case s.Input.TotalCount() > 0:
		text += fmt.Sprintf(", round trip p99 %.3f ms", float64(s.Input.ValueAtPercentile(99))/1e6)
	}
	switch {
	case p.live:
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	case s.For >= p.next:
		p.next = s.For + plainEvery
		fmt.Fprintln(p.w, text)
	}
}
