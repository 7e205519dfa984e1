package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms/host"
)

type restartFlags struct {
	opsFlags
	dryRun, force bool
	within        time.Duration
}

func (o *restartFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet restart", "Restarts a host in place: its rooms wait in shared memory while the program in its file, "+
		"the same or a newer one, takes the process over. Nobody's connection closes.")
	f.Operands("HOST", 1, 1)
	o.register(f)
	f.Bool(&o.dryRun, "dry-run", "only say what would run, and which kinds it would not serve")
	f.Bool(&o.force, "force", "although the program does not serve some rooms' kinds: those are saved, and out of service until some host serves them")
	f.Duration(&o.within, "within", time.Minute, time.Second, time.Hour, "how long to wait until the host is back")
	return f
}

func runRestart(ctx context.Context, args []string, std streams) int {
	var o restartFlags
	f := o.flags()
	if status, ok := o.parse(f, args, std); !ok {
		return status
	}
	name := f.Args()[0]
	s, err := o.run(ctx, name)
	if err == nil && o.json {
		err = printJSON(std.out, s)
	} else if err == nil {
		printRestart(std.out, name, s)
	}
	if err != nil {
		fmt.Fprintf(std.err, "limpet restart: %v\n", err)
		return 1
	}
	return 0
}

// run restarts the host and waits until it is back.
func (o *restartFlags) run(ctx context.Context, name string) (host.RestartState, error) {
	before, err := o.state(ctx, name)
	if err != nil {
		return before, err
	}
	order := struct {
		Host string `json:"host"`
		daemon.RestartOrder
	}{name, daemon.RestartOrder{DryRun: o.dryRun, Force: o.force}}
	var s host.RestartState
	if err := o.call(ctx, "/v1/restart", order, &s); err != nil || o.dryRun {
		return s, err
	}
	return o.await(ctx, name, before)
}

func (o *restartFlags) state(ctx context.Context, name string) (s host.RestartState, err error) {
	return s, o.call(ctx, "/v1/restart?host="+url.QueryEscape(name), nil, &s)
}

const restartPoll = 50 * time.Millisecond

// await asks until the host has restarted.
func (o *restartFlags) await(ctx context.Context, name string, before host.RestartState) (host.RestartState, error) {
	ctx, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	for {
		s, err := o.state(ctx, name)
		if err == nil && s.State == "serving" && again(before, s) {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%s is not back within %s: %w", name, o.within, errors.Join(err, ctx.Err()))
		case <-time.After(restartPoll):
		}
	}
}

// again reports whether a restart lies between two states of a host.
func again(before, after host.RestartState) bool {
	restarts := func(s host.RestartState) int {
		if s.Last == nil {
			return 0
		}
		return s.Last.Restarts
	}
	return after.Node != before.Node || restarts(after) > restarts(before)
}

func printRestart(w io.Writer, name string, s host.RestartState) {
	if s.Next != nil {
		fmt.Fprintf(w, "%s runs build %s and would run %s\n", name, s.Build, s.Next.Build)
		if len(s.Gone) > 0 {
			fmt.Fprintf(w, "which no longer serves: %s\n", strings.Join(s.Gone, ", "))
		}
		return
	}
	fmt.Fprintf(w, "%s restarted, build %s\n", name, s.Build)
	l := s.Last
	if l == nil {
		return
	}
	fmt.Fprintf(w, "%d rooms in %.0f ms: %d through shared memory (%.1f MiB), %d from the store, %d live elsewhere or are over\n",
		l.Rooms, l.TotalMS, l.Shared, float64(l.Bytes)/(1<<20), l.Stored, l.Other)
	if l.Error != "" {
		fmt.Fprintf(w, "shared memory was not used: %s\n", l.Error)
	}
}
