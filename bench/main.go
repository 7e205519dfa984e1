//go:build linux

// Command bench measures Limpet: real gateways and room hosts as child
// processes under thousands of clients, alone or beside baselines.
//
//	go run ./bench SCENARIO [flags]
//	go run ./bench compare [-scenario arena] [-rounds 5] [flags]
//	go run ./bench ladder [-scenario arena] [-step 500] [flags]
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
	"slices"
	"strings"
	"syscall"

	"github.com/limpet-games/limpet/bench/system"
)

func main() {
	switch err := run(os.Args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		usage(os.Stderr)
		return fmt.Errorf("want a scenario or compare (%w)", errUsage)
	}
	name := args[0]
	compare, ladder := name == "compare", name == "ladder"
	switch {
	case slices.Contains([]string{"-h", "-help", "--help", "help"}, name):
		usage(os.Stdout)
		return nil
	case compare, ladder:
		name = scenarioFlag(args[1:])
	}
	p, err := planned(name)
	if err != nil {
		return err
	}
	o, err := parse(args[1:], &p, os.Stdout)
	if err != nil {
		return err
	}
	if !compare && !ladder {
		o.systems, o.rounds = "limpet", 1
	}
	if err := o.prepare(); err != nil {
		return err
	}
	if p.Pin {
		if err := pinned(); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return measure(ctx, o, p, compare, ladder)
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

func measure(ctx context.Context, o options, p plan, compare, ladder bool) error {
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
	r := &runner{dir: dir, programs: o.built, profiles: o.profiles, progress: progressTo(os.Stderr), rounds: compare}
	if ladder {
		all, climbs, err := r.ladder(ctx, systems, p, o.step, o.top)
		ladderTables(os.Stdout, p, all, climbs)
		return errors.Join(err, write(o, p, nil, all))
	}
	if o.beside != "" {
		return r.pairs(ctx, o, p)
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
