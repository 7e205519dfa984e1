//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/limpet-games/limpet/bench/state"
	"github.com/limpet-games/limpet/bench/system"
)

// options are flags that are no part of a plan.
type options struct {
	json, html, profiles, systems, built string
	rounds                               int
	beside                               string // a scenario that compare plays too, with Limpet
	step, top                            int    // of a ladder
}

// prepare sees that what a run writes can be written, before it is played.
func (o options) prepare() error {
	for _, file := range []string{o.json, o.html} {
		if file == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	if o.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return fmt.Errorf("write profiles: %w", err)
	}
	return nil
}

// errUsage marks what the command line is to blame for.
var errUsage = errors.New("see bench -h")

func usage(w io.Writer) {
	fmt.Fprintf(w, "bench SCENARIO [flags], or bench compare or ladder [-scenario SCENARIO] [flags]; bench SCENARIO -h lists the flags\n\n")
	for _, name := range scenarioNames() {
		fmt.Fprintf(w, "  %-10s %s\n", name, scenarios[name].about)
	}
	fmt.Fprintf(w, "  %-10s interleaves Limpet with baselines and prints ratios\n", "compare")
	fmt.Fprintf(w, "  %-10s does so with more and more clients, and prints the most that each serves\n", "ladder")
}

// scenarioFlag looks ahead: the scenario decides the other flags' defaults.
func scenarioFlag(args []string) string {
	for i, a := range args {
		a = strings.TrimLeft(a, "-")
		if v, ok := strings.CutPrefix(a, "scenario="); ok {
			return v
		}
		if a == "scenario" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return "arena"
}

// parse reads the flags of a scenario. Help goes to w, and is flag.ErrHelp.
func parse(args []string, p *plan, w io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	rooms := f.Int("rooms", 0, "rooms, in place of -per-room")
	f.IntVar(&p.Clients, "clients", p.Clients, "connections")
	f.IntVar(&p.PerRoom, "per-room", p.PerRoom, "members of a room")
	f.IntVar(&p.Seats, "seats", p.Seats, "rooms that each connection is in, at most 16")
	f.Float64Var(&p.Rate, "rate", p.Rate, "inputs a second from each member; in the echo scenario by the clock, in place of each when the last is answered")
	f.IntVar(&p.Tick, "tick", p.Tick, "states a second")
	f.IntVar(&p.Size, "size", p.Size, "bytes of a state")
	f.IntVar(&p.Messages, "messages", p.Messages, "states of a tick")
	f.DurationVar(&p.Duration, "duration", p.Duration, "of what is measured")
	f.Float64Var(&p.Slow, "slow", p.Slow, "share of clients that hardly read")
	f.Float64Var(&p.Churn, "churn", p.Churn, "connections a second that end and come again")
	f.IntVar(&p.Joining, "joining", p.Joining, "connections made at once")
	f.IntVar(&p.Gateways, "gateways", p.Gateways, "gateways of Limpet")
	f.BoolVar(&p.Reliable, "reliable", p.Reliable, "send states as reliable messages")
	f.BoolVar(&p.Watch, "watch", p.Watch, "note every 10 s what the processes hold")
	f.BoolVar(&p.TLS, "tls", p.TLS, "speak TLS to players; limpet and gorilla can")
	f.BoolVar(&p.Pin, "pin", false, "servers on CPU 0; clients and Redis on CPU 1")
	f.StringVar(&p.Store, "store", defaultStore(), "redis or sqlite")
	f.StringVar(&o.json, "json", "", "write results to this file")
	f.StringVar(&o.html, "html", "", "write a report with plots to this file")
	f.StringVar(&o.profiles, "profiles", "", "write CPU and heap profiles into this directory; profiling costs some CPU itself")
	f.StringVar(&o.systems, "systems", strings.Join(system.Names(), ","), "what compare and ladder run; colyseus is known too, and comes from npm")
	f.StringVar(&o.built, "built", "", "keep the programs in this directory, and use those that are there")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of compare")
	f.StringVar(&o.beside, "beside", "", "scenario that compare plays with Limpet right before or behind its own, to print ratios of the pairs")
	f.IntVar(&o.step, "step", 500, "clients that a ladder adds at each step, from -clients on")
	f.IntVar(&o.top, "top", 6000, "most clients of a ladder")
	f.String("scenario", p.Scenario, "what compare or ladder plays")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(w, "%s: %s\n", p.Scenario, scenarios[p.Scenario].about)
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w (%w)", err, errUsage)
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q (%w)", f.Arg(0), errUsage)
	}
	if p.Rate > 0 {
		p.PingPong = false
	}
	if *rooms > 0 {
		p.PerRoom = (p.members() + *rooms - 1) / *rooms
	}
	if o.step < 1 {
		return o, fmt.Errorf("-step %d: want at least 1 (%w)", o.step, errUsage)
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: want at least 1 (%w)", o.rounds, errUsage)
	}
	return o, p.check()
}

// check holds a plan to what can be played.
func (p plan) check() error {
	for _, n := range []struct {
		flag           string
		is, least, top int
	}{
		{"clients", p.Clients, 1, 1 << 20}, {"per-room", p.PerRoom, 1, 1 << 20}, {"seats", p.Seats, 1, 16},
		{"tick", p.Tick, 1, 128}, {"size", p.Size, state.MinSize, maxSize}, {"messages", p.Messages, 1, 1 << 10},
		{"joining", p.Joining, 1, 1 << 20}, {"gateways", p.Gateways, 1, 100},
	} {
		if n.is < n.least || n.is > n.top {
			return fmt.Errorf("-%s %d: want %d to %d (%w)", n.flag, n.is, n.least, n.top, errUsage)
		}
	}
	switch {
	case p.Duration < 100*time.Millisecond:
		return fmt.Errorf("-duration %s: want at least 100ms (%w)", p.Duration, errUsage)
	case !(p.Rate >= 0) || !(p.Churn >= 0):
		return fmt.Errorf("-rate %g -churn %g: want none below 0 (%w)", p.Rate, p.Churn, errUsage)
	case !(p.Slow >= 0 && p.Slow < 1):
		return fmt.Errorf("-slow %g: want a share from 0 to below 1 (%w)", p.Slow, errUsage)
	case p.Store != "redis" && p.Store != "sqlite":
		return fmt.Errorf("-store %q: want redis or sqlite (%w)", p.Store, errUsage)
	}
	return nil
}

func defaultStore() string {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return "redis"
	}
	return "sqlite"
}
