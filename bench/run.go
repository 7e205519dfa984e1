//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/limpet-games/limpet/bench/load"
	"github.com/limpet-games/limpet/bench/system"
)

// runner runs systems.
type runner struct {
	dir      string // of logs
	programs string // directory of the systems' programs
	profiles string // directory for CPU profiles; empty: none
	progress *progress
	rounds   bool // say what each has cost
}

// warmUp is played before what counts.
const warmUp = time.Second

// run starts a system, plays the plan with it, and stops it.
func (r *runner) run(ctx context.Context, name string, p plan) (result, error) {
	res := result{System: name, Plan: p}
	sys, err := system.Start(ctx, name, system.Params{
		Dir: r.dir, Binaries: r.programs, Pin: p.Pin, Tick: p.Tick, Size: p.Size,
		Messages: p.Messages, Reliable: p.Reliable, Echo: p.Echo, Gateways: p.Gateways, Store: p.Store, TLS: p.TLS,
	})
	if err != nil {
		return res, err
	}
	defer sys.Stop()
	var watched time.Duration
	var failed error
	clients, err := load.New(load.Config{
		Protocol: sys.Protocol, Addrs: sys.Addrs, Clients: p.Clients, PerRoom: p.PerRoom, Seats: p.Seats,
		Rate: p.Rate, Echo: p.Echo, PingPong: p.PingPong, Slow: p.Slow, Churn: p.Churn, Joining: p.Joining, Sources: p.Sources,
		TLS: p.TLS,
		Progress: func(s load.Stats) {
			r.progress.play(name, s)
			if p.Watch && s.Playing && s.For >= watched {
				watched = s.For + watchEvery
				failed = errors.Join(failed, res.watch(sys, s.For))
			}
		},
	})
	if err != nil {
		return res, err
	}
	defer clients.Close()
	empty, err := take(sys)
	if err != nil {
		return res, err
	}
	profiled := func() error { return nil }
	if p.Storm {
		profiled = r.profile(sys, p.Duration)
	}
	if err := clients.Join(ctx); err != nil {
		return res, fmt.Errorf("%s: %w", name, err)
	}
	joined := clients.Joined()
	in, err := take(sys)
	if err != nil {
		return res, err
	}
	res.addJoins(names(sys), empty, in)
	if err := profiled(); err != nil {
		return res, err
	}
	if _, err := clients.Play(ctx, warmUp); err != nil {
		return res, fmt.Errorf("%s: %w", name, err)
	}
	err = r.measure(ctx, sys, clients, p, joined, empty, &res)
	return res, errors.Join(err, failed)
}

func (r *runner) measure(ctx context.Context, sys *system.System, clients *load.Loop, p plan, joined load.Stats, empty sample, res *result) error {
	before, err := take(sys)
	if err != nil {
		return err
	}
	// Meanwhile states have come that nobody read: they are none of the play.
	if err := clients.CatchUp(ctx, catchUp); err != nil {
		return fmt.Errorf("%s: %w", sys.Name, err)
	}
	if err := before.renew(sys); err != nil {
		return err
	}
	profiled := func() error { return nil }
	if !p.Storm {
		profiled = r.profile(sys, p.Duration)
	}
	played, err := clients.Play(ctx, p.Duration)
	if err != nil {
		return fmt.Errorf("%s: %w", sys.Name, err)
	}
	after, err := take(sys)
	if err != nil {
		return err
	}
	again, err := take(sys)
	if err != nil {
		return err
	}
	r.progress.clear()
	res.addLoad(p, joined, played)
	res.addUsage(names(sys), empty, before, after, again)
	return profiled()
}

func names(sys *system.System) (all []string) {
	for _, proc := range sys.Procs {
		all = append(all, proc.Name)
	}
	return all
}

// profile has every process with an operations listener profiled for d, while the
// clients play, or in a storm while they join; the function returned waits for that.
func (r *runner) profile(sys *system.System, d time.Duration) func() error {
	if r.profiles == "" {
		return func() error { return nil }
	}
	ended := make(chan error, len(sys.Procs))
	n := 0
	for _, proc := range sys.Procs {
		if proc.Ops == "" {
			continue
		}
		n++
		go func() {
			ended <- proc.Profile(max(time.Second, d-time.Second), filepath.Join(r.profiles, proc.Name+".pprof"))
		}()
	}
	return func() error {
		for range n {
			if err := <-ended; err != nil {
				return err
			}
		}
		for _, proc := range sys.Procs {
			if proc.Ops != "" {
				if err := proc.HeapProfile(filepath.Join(r.profiles, proc.Name+".heap.pprof")); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// catchUp is for how long clients read before they play: longer than reading the
// metrics of busy processes takes.
const catchUp = 300 * time.Millisecond

// renew takes the CPU time again, and leaves metrics as they were.
func (s *sample) renew(sys *system.System) error {
	for i, p := range sys.Procs {
		cpu, err := p.CPU()
		if err != nil {
			return fmt.Errorf("usage of %s: %w", p.Name, err)
		}
		s.all[i].CPU = cpu
	}
	return s.addOthers(sys)
}

// addOthers notes what the store and the clients have used.
func (s *sample) addOthers(sys *system.System) error {
	s.store = 0
	for _, p := range sys.Others {
		cpu, err := p.CPU()
		if err != nil {
			return fmt.Errorf("usage of %s: %w", p.Name, err)
		}
		s.store += cpu
	}
	self, err := system.ProcUsage(os.Getpid())
	s.self, s.at = self, time.Now()
	return err
}

func take(sys *system.System) (sample, error) {
	var s sample
	for _, p := range sys.Procs {
		u, err := p.Usage()
		if err != nil {
			return s, fmt.Errorf("usage of %s: %w", p.Name, err)
		}
		s.all = append(s.all, u)
	}
	return s, s.addOthers(sys)
}
