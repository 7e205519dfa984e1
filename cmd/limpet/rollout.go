package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms/host"
)

// rolloutFlags say how a new build is brought out.
type rolloutFlags struct {
	restartFlags
	command   string
	watchFor  time.Duration
	tolerated int
	confirm   bool
}

func (o *rolloutFlags) flags() *daemon.Flags {
	f := daemon.NewFlags("limpet rollout", "Brings the build that is in the programs' files into service, one node after the other: "+
		"all hosts, which restart in place, then, with --restart, the gateways. It stops by itself when the new build misbehaves.")
	f.Operands("[NODE...]", 0, 1024)
	o.register(f)
	f.Bool(&o.dryRun, "dry-run", "only say which builds would run where, and what they change")
	f.Bool(&o.force, "force", "although the new build does not serve some rooms' kinds, which are saved and out of service until some host serves them, "+
		"or although there is no way back")
	f.Bool(&o.confirm, "confirm", "end the time in which the last rollout can go back: rooms are written in their kinds' own state versions from now on")
	f.String(&o.command, "restart", "", "COMMAND", "shell command that restarts a gateway's process; {node} in it is the gateway's name; empty: gateways are left as they are")
	f.Duration(&o.within, "within", time.Minute, time.Second, time.Hour, "how long to wait until a node is back")
	f.Duration(&o.watchFor, "watch-for", 5*time.Second, 0, time.Hour, "how long a node must do well before the next one's turn")
	f.Int(&o.tolerated, "tolerate", 0, 0, 1_000_000, "rooms of a host that may fail, in code or state, without a halt")
	return f
}

func runRollout(ctx context.Context, args []string, std streams) int {
	var o rolloutFlags
	f := o.flags()
	if status, ok := o.parse(f, args, std); !ok {
		return status
	}
	if err := o.roll(ctx, f.Args(), std.out); err != nil {
		fmt.Fprintf(std.err, "limpet rollout: %v\n", err)
		return 1
	}
	return 0
}

// roll plans, and then restarts one node after the other.
func (o *rolloutFlags) roll(ctx context.Context, names []string, out io.Writer) error {
	var all daemon.Overview
	if err := o.call(ctx, "/v1/cluster", nil, &all); err != nil {
		return err
	}
	if len(all.Missing) > 0 {
		return fmt.Errorf("%d nodes do not answer, %s among them: roll out over a cluster that is well", len(all.Missing), all.Missing[0].Node)
	}
	hosts, gateways := namedNodes(all.Hosts, names), namedNodes(all.Gateways, names)
	if len(names) > 0 && len(hosts)+len(gateways) != len(names) {
		return noSuchNodes(names, all)
	}
	if o.confirm {
		if err := oneBuild(all.Hosts); err != nil { // whoever is named: what is confirmed stands for all
			return err
		}
		return o.confirmAll(ctx, hosts, out)
	}
	if err := o.plan(ctx, hosts, out); err != nil {
		return err
	}
	if o.command == "" && len(gateways) > 0 {
		fmt.Fprintf(out, "%s: left as they are, without --restart\n", nodeNames(gateways))
	}
	if o.dryRun {
		return nil
	}
	for i, n := range hosts {
		if err := o.rollHost(ctx, n.Name, out); err != nil {
			return halted(err, n.Name, i, len(hosts))
		}
	}
	if open := o.unconfirmed(ctx, hosts); len(open) > 0 {
		fmt.Fprintf(out, "the rollout can go back: rooms of kind %s are written in the former state version, until limpet rollout --confirm\n", strings.Join(open, ", "))
	}
	rolled := hosts
	for i, n := range gateways {
		if o.command == "" {
			break
		}
		if err := o.rollGateway(ctx, n, out); err != nil {
			return halted(err, n.Name, i, len(gateways))
		}
		rolled = append(rolled, n)
	}
	fmt.Fprintf(out, "rolled out: %s\n", nodeNames(rolled))
	return nil
}

func nodeNames(all []daemon.NodeReport) string {
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	return cmp.Or(strings.Join(names, ", "), "nothing")
}

func noSuchNodes(names []string, all daemon.Overview) error {
	var there []string
	for _, n := range slices.Concat(all.Hosts, all.Gateways) {
		there = append(there, n.Name)
	}
	wrong := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(there, n) })
	if len(wrong) == 0 {
		return fmt.Errorf("%s: a node is named twice", strings.Join(names, ", "))
	}
	return fmt.Errorf("no node %s; there are: %s", strings.Join(wrong, ", "), strings.Join(there, ", "))
}

func halted(err error, name string, done, all int) error {
	return fmt.Errorf("halted at %s, %d of %d nodes before it done: %w\nto go back, put the former build in place and run limpet rollout again", name, done, all, err)
}

func namedNodes(all []daemon.NodeReport, names []string) []daemon.NodeReport {
	var some []daemon.NodeReport
	for _, n := range all {
		if len(names) == 0 && !strings.Contains(n.Name, certs.Part) { // parts restart with their hosts
			some = append(some, n)
		}
		for _, name := range names {
			if n.Name == name {
				some = append(some, n)
			}
		}
	}
	return some
}

// plan says what would run, and refuses what must not.
func (o *rolloutFlags) plan(ctx context.Context, hosts []daemon.NodeReport, out io.Writer) error {
	var refused, oneWay []string
	for _, n := range hosts {
		order := struct {
			Host string `json:"host"`
			daemon.RestartOrder
		}{n.Name, daemon.RestartOrder{DryRun: true}}
		var s host.RestartState
		if err := o.call(ctx, "/v1/restart", order, &s); err != nil {
			return fmt.Errorf("plan for %s: %w", n.Name, err)
		}
		printRestart(out, n.Name, s)
		for _, c := range s.Changes {
			fmt.Fprintf(out, "  %s\n", c)
		}
		if len(s.Gone) > 0 || s.Older {
			refused = append(refused, n.Name)
		}
		for _, k := range s.OneWay {
			if !slices.Contains(oneWay, k) {
				oneWay = append(oneWay, k)
			}
		}
	}
	switch {
	case o.force:
		return nil
	case len(refused) > 0:
		return fmt.Errorf("the new build does not take up all rooms of %s (--force goes on all the same)", strings.Join(refused, ", "))
	case len(oneWay) > 0:
		return fmt.Errorf("there would be no way back for rooms of kind %s, whose code neither writes its former state version "+
			"nor is marked as one way (--force goes on all the same)", strings.Join(oneWay, ", "))
	}
	return nil
}

// unconfirmed are the kinds that some host writes in an older state version.
func (o *rolloutFlags) unconfirmed(ctx context.Context, hosts []daemon.NodeReport) []string {
	open := map[string]bool{}
	for _, n := range hosts {
		s, err := o.state(ctx, n.Name)
		if err != nil {
			continue // it was well a moment ago
		}
		for _, k := range s.Unconfirmed {
			open[k] = true
		}
	}
	return slices.Sorted(maps.Keys(open))
}

// oneBuild checks that all hosts run the same build.
func oneBuild(hosts []daemon.NodeReport) error {
	for _, n := range hosts {
		if n.Build != hosts[0].Build {
			return fmt.Errorf("%s runs build %s, %s build %s: finish the rollout first", hosts[0].Name, hosts[0].Build, n.Name, n.Build)
		}
	}
	return nil
}

// confirmAll has hosts write rooms in their kinds' own state versions. It stands
// in the store, for the hosts that are not asked too.
func (o *rolloutFlags) confirmAll(ctx context.Context, hosts []daemon.NodeReport, out io.Writer) error {
	said := map[string]bool{}
	for _, n := range hosts {
		var a struct{ Confirmed []string }
		if err := o.call(ctx, "/v1/confirm", map[string]string{"host": n.Name}, &a); err != nil {
			return fmt.Errorf("confirm at %s: %w", n.Name, err)
		}
		for _, k := range a.Confirmed {
			said[k] = true
		}
	}
	if len(said) == 0 {
		fmt.Fprintln(out, "there was nothing to confirm")
		return nil
	}
	fmt.Fprintf(out, "confirmed: %s are written in their own state versions; former builds can't take them up any more\n",
		strings.Join(slices.Sorted(maps.Keys(said)), ", "))
	return nil
}

// rollHost restarts a host in place and watches it, from when it and the
// processes of its isolated kinds take rooms again.
func (o *rolloutFlags) rollHost(ctx context.Context, name string, out io.Writer) error {
	s, err := o.run(ctx, name)
	if err != nil {
		return err
	}
	printRestart(out, name, s)
	late, end := time.Now().Add(o.within), time.Now().Add(o.watchFor)
	for {
		if f := s.Failures; f.Loads+f.Panics+f.Stuck+f.Refused > int64(o.tolerated) {
			return fmt.Errorf("build %s misbehaves: %d rooms did not load or start, %d failed in their code, %d calls of it hung, %d rooms could not be saved",
				s.Build, f.Loads, f.Panics, f.Stuck, f.Refused)
		}
		switch now := time.Now(); {
		case s.NotReady != "" && now.After(late):
			return fmt.Errorf("%s takes no rooms: %s", name, s.NotReady)
		case s.NotReady != "":
			end = now.Add(o.watchFor)
		case now.After(end):
			return nil
		}
		if err := wait(ctx, restartPoll); err != nil {
			return err
		}
		if s, err = o.state(ctx, name); err != nil {
			return fmt.Errorf("%s is gone: %w", name, err)
		}
	}
}

// rollGateway has the command restart a gateway, and waits until another
// process has its name.
func (o *rolloutFlags) rollGateway(ctx context.Context, n daemon.NodeReport, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(o.command, "{node}", n.Name))
	cmd.Env = append(os.Environ(), "LIMPET_NODE="+n.Name)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("restart command: %w: %.300s", err, said)
	}
	ctx, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	for {
		var all daemon.Overview
		err := o.call(ctx, "/v1/cluster", nil, &all)
		for _, g := range all.Gateways {
			if g.Name == n.Name && g.Node != n.Node {
				fmt.Fprintf(out, "%s restarted, build %s\n", g.Name, g.Build)
				return wait(ctx, o.watchFor)
			}
		}
		if stop := wait(ctx, restartPoll); stop != nil {
			return fmt.Errorf("it is not back within %s: %w", o.within, errors.Join(err, stop))
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
