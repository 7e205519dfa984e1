package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms/host"
)

type drainFlags struct {
	opsFlags
	dryRun, watch, cancel bool
	deadline, patience    time.Duration
	pause                 time.Duration
	rate, atOnce          int
}

func (d *drainFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet drain", "Empties a host: it takes no new rooms, and its rooms move to others, live. "+
		"The host then stays out of service, to be stopped or given back with --cancel.")
	f.Operands("HOST", 1, 1)
	d.register(f)
	f.Bool(&d.dryRun, "dry-run", "only say what would go where, and whether it fits")
	f.Bool(&d.watch, "watch", "follow the drain until it is over; its exit status tells how it went")
	f.Bool(&d.cancel, "cancel", "stop the drain: the host serves again")
	f.Duration(&d.deadline, "deadline", 5*time.Minute, time.Second, 24*time.Hour, "rooms that have not moved by then stay, and the drain has failed")
	f.Duration(&d.patience, "round-limit", 30*time.Second, 0, 24*time.Hour, "how long games may put the move off, to end a round")
	f.Int(&d.rate, "rate", 200, 1, 100_000, "rooms a second, at most")
	f.Int(&d.atOnce, "at-once", 8, 1, 64, "rooms that move at a time, at most")
	f.Duration(&d.pause, "pause", 25*time.Millisecond, time.Millisecond, time.Minute, "rooms should stand still no longer than this: where they do, fewer move at a time, unless the deadline asks for more")
	return f
}

// drainAnswer is what a host says when it is told to drain.
type drainAnswer struct {
	Plan  host.Plan         `json:"plan"`
	Drain *host.DrainStatus `json:"drain,omitempty"`
}

func runDrain(ctx context.Context, args []string, std streams) int {
	var d drainFlags
	f := d.flags()
	if status, ok := d.parse(f, args, std); !ok {
		return status
	}
	if d.cancel && (d.dryRun || d.watch) {
		return f.Bad(errors.New("--cancel goes with neither --dry-run nor --watch"))
	}
	done, err := d.run(ctx, f.Args()[0], std.out)
	if err != nil {
		fmt.Fprintf(std.err, "limpet drain: %v\n", err)
		return 1
	}
	if !done {
		return 1
	}
	return 0
}

// run reports whether what was asked for was done.
func (d *drainFlags) run(ctx context.Context, name string, out io.Writer) (bool, error) {
	if d.cancel {
		var s host.DrainStatus
		if err := d.call(ctx, "/v1/drain/cancel", map[string]string{"host": name}, &s); err != nil {
			return false, err
		}
		return true, d.say(out, s, func() { fmt.Fprintf(out, "%s serves again; %d rooms had moved, %d stayed\n", name, s.Moved, s.Left) })
	}
	if d.watch && d.draining(ctx, name) {
		return d.follow(ctx, name, out)
	}
	order := struct {
		Host string `json:"host"`
		daemon.DrainOrder
	}{name, daemon.DrainOrder{DryRun: d.dryRun, Deadline: d.deadline.Seconds(), Patience: max(d.patience.Seconds(), 0.001), Rate: float64(d.rate), AtOnce: d.atOnce, Pause: d.pause.Seconds()}}
	var a drainAnswer
	if err := d.call(ctx, "/v1/drain", order, &a); err != nil {
		return false, err
	}
	if d.dryRun {
		return a.Plan.Fits, d.say(out, a, func() { printPlan(out, a.Plan) })
	}
	if !d.watch {
		return true, d.say(out, a, func() {
			printPlan(out, a.Plan)
			fmt.Fprintf(out, "%s drains; limpet drain %s --watch follows it, --cancel stops it\n", name, name)
		})
	}
	if !d.json {
		printPlan(out, a.Plan)
	}
	return d.follow(ctx, name, out)
}

// draining reports whether the host drains already: then there is nothing to
// start.
func (d *drainFlags) draining(ctx context.Context, name string) bool {
	var s host.DrainStatus
	err := d.call(ctx, "/v1/drain?host="+url.QueryEscape(name), nil, &s)
	return err == nil && s.State == host.DrainRunning
}

func (d *drainFlags) say(out io.Writer, v any, text func()) error {
	if d.json {
		return printJSON(out, v)
	}
	text()
	return nil
}

const (
	watchEvery = 200 * time.Millisecond
	silentFor  = 5 * time.Second // of a host whose drain is followed: it may be busy, or restart
)

// follow shows the drain's progress until it is over.
func (d *drainFlags) follow(ctx context.Context, name string, out io.Writer) (bool, error) {
	bar := progress{out: out, redraw: isTerminal(out) && !d.json, quiet: d.json}
	heard := time.Now()
	for {
		var s host.DrainStatus
		err := d.call(ctx, "/v1/drain?host="+url.QueryEscape(name), nil, &s)
		switch {
		case err == nil:
			heard = time.Now()
			bar.show(s)
		case time.Since(heard) > silentFor || ctx.Err() != nil:
			bar.end()
			return false, err
		}
		if err == nil && s.State != host.DrainRunning {
			bar.end()
			return s.State == host.DrainDone, d.say(out, s, func() { printDrain(out, s) })
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// progress is one line that is redrawn, or a line a second where it can't be.
type progress struct {
	out           io.Writer
	redraw, quiet bool
	last          time.Time
}

func (p *progress) show(s host.DrainStatus) {
	if p.quiet || !p.redraw && time.Since(p.last) < time.Second {
		return
	}
	p.last = time.Now()
	const width = 30
	full := width
	if s.Total > 0 {
		full = width * (s.Total - min(s.Left, s.Total)) / s.Total
	}
	eta := "-"
	if s.ETA >= 0 {
		eta = (time.Duration(s.ETA*10) * 100 * time.Millisecond).String()
	}
	line := fmt.Sprintf("[%s%s] %d of %d rooms left, %.0f/s, ETA %s", strings.Repeat("#", full), strings.Repeat(".", width-full), s.Left, s.Total, s.Rate, eta)
	switch {
	case s.Waits != "":
		line += ", " + s.Waits
	case len(s.Blockers) > 0:
		line += fmt.Sprintf(", waiting for %s", s.Blockers[0].Room)
	}
	if p.redraw {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

func (p *progress) end() {
	if p.redraw {
		fmt.Fprintln(p.out)
	}
}

func printPlan(out io.Writer, p host.Plan) {
	fmt.Fprintf(out, "%d rooms with %d members\n", p.Rooms, p.Members)
	for _, t := range p.Targets {
		fmt.Fprintf(out, "  %d to %s, which has room for %d\n", len(t.Rooms), t.Host, t.Free)
	}
	if !p.Fits {
		fmt.Fprintf(out, "they don't fit: %d have no place, like %s\n", len(p.Unplaced), p.Unplaced[0])
	}
}

func printDrain(out io.Writer, s host.DrainStatus) {
	fmt.Fprintf(out, "%s: %d rooms moved in %.1f s, %d left; rooms stood still for %.1f ms p50, %.1f ms p99, %.1f ms max\n",
		s.State, s.Moved, s.Elapsed, s.Left, s.Pause.P50, s.Pause.P99, s.Pause.Max)
	if s.Error != "" {
		fmt.Fprintf(out, "%s\n", s.Error)
	}
	for _, b := range s.Blockers {
		fmt.Fprintf(out, "  %s: %s (%d tries)\n", b.Room, b.Error, b.Tries)
	}
}
