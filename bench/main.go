//go:build linux

// Command bench measures Limpet: real gateways and room hosts as child
// processes under thousands of clients, alone or beside baselines.
//
//	go run ./bench SCENARIO [flags]
//	go run ./bench compare [-scenario arena] [-rounds 5] [flags]
//
// docs/performance.md says what is measured and how.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/limpet-games/limpet/bench/system"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are flags that are no part of a plan.
type options struct {
	json, html, profiles, systems, built string
	rounds                               int
}

func usage() error {
	var b strings.Builder
	b.WriteString("want a scenario or compare:\n")
	for _, name := range scenarioNames() {
		fmt.Fprintf(&b, "  %-10s %s\n", name, scenarios[name].about)
	}
	fmt.Fprintf(&b, "  %-10s interleaves Limpet with baselines and prints ratios", "compare")
	return errors.New(b.String())
}

func run(args []string) error {
	if len(args) == 0 {
		return usage()
	}
	name := args[0]
	compare := name == "compare"
	if compare {
		name = scenarioFlag(args[1:])
	}
	p, err := planned(name)
	if err != nil {
		if strings.HasPrefix(name, "-") {
			return usage()
		}
		return err
	}
	o, err := parse(args[1:], &p)
	if err != nil {
		return err
	}
	if p.Pin {
		if err := pinned(); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !compare {
		o.systems, o.rounds = "limpet", 1
	}
	return measure(ctx, o, p, compare)
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

func parse(args []string, p *plan) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	rooms := f.Int("rooms", 0, "rooms, in place of -per-room")
	f.IntVar(&p.Clients, "clients", p.Clients, "connections")
	f.IntVar(&p.PerRoom, "per-room", p.PerRoom, "members of a room")
	f.IntVar(&p.Seats, "seats", p.Seats, "rooms that each connection is in, at most 16")
	f.Float64Var(&p.Rate, "rate", p.Rate, "inputs a second from each member")
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
	f.StringVar(&o.systems, "systems", strings.Join(system.Names(), ","), "what compare runs; colyseus is known too, and comes from npm")
	f.StringVar(&o.built, "built", "", "keep the programs in this directory, and use those that are there")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of compare")
	f.String("scenario", p.Scenario, "what compare plays")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *rooms > 0 {
		p.PerRoom = (p.members() + *rooms - 1) / *rooms
	}
	if p.Clients < 1 || p.PerRoom < 1 || p.Seats < 1 || p.Seats > 16 || p.Tick < 1 || p.Tick > 128 || p.Messages < 1 || o.rounds < 1 {
		return o, errors.New("clients, per-room, tick (to 128), seats (to 16), messages and rounds must be at least 1")
	}
	return o, nil
}

func defaultStore() string {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return "redis"
	}
	return "sqlite"
}

// pinned makes this process run on CPU 1, by starting it again, so that the Go
// runtime knows.
func pinned() error {
	const mark = "BENCH_PINNED"
	if runtime.GOMAXPROCS(0) == 1 && os.Getenv(mark) != "" {
		return nil
	}
	if _, err := exec.LookPath("taskset"); err != nil || runtime.NumCPU() < 2 {
		return errors.New("-pin needs taskset and two CPUs")
	}
	taskset, _ := exec.LookPath("taskset")
	nice, err := exec.LookPath("nice")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(nice, append([]string{"nice", "-n", "-15", taskset, "-c", "1", self}, os.Args[1:]...), append(os.Environ(), mark+"=1"))
}

func measure(ctx context.Context, o options, p plan, compare bool) error {
	debug.SetGCPercent(400) // the clients' own garbage is little
	dir, err := os.MkdirTemp("", "limpet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	systems := strings.Split(o.systems, ",")
	if o.built == "" {
		o.built = filepath.Join(dir, "bin")
	}
	if err := system.Build(ctx, o.built, systems...); err != nil {
		return err
	}
	r := &runner{dir: dir, programs: o.built, profiles: o.profiles}
	if term.IsTerminal(int(os.Stderr.Fd())) || compare {
		r.progress = os.Stderr
	}
	all, err := r.compare(ctx, systems, p, o.rounds)
	if len(all) == 0 {
		return err
	}
	s := standings(systems, all) // of what was played, also where a round failed
	if compare {
		comparison(os.Stdout, p, s, o.rounds)
	} else {
		table(os.Stdout, all[0])
	}
	return errors.Join(err, write(o, p, s, all))
}

func write(o options, p plan, s []standing, all []result) error {
	if o.json != "" {
		raw, err := json.MarshalIndent(map[string]any{"plan": p, "standings": s, "runs": all}, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(raw, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.html == "" {
		return nil
	}
	out, err := os.Create(o.html)
	if err != nil {
		return err
	}
	return errors.Join(page(out, p, s, all), out.Close())
}
