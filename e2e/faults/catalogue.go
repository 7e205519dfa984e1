//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/e2e/netns"
)

var faults = []fault{
	{"kill-host", "SIGKILL of a host, started again soon", killHost},
	{"kill-two-hosts", "SIGKILL of two of three hosts at once", killTwoHosts},
	{"kill-gateway", "SIGKILL of a gateway", killGateway},
	{"kill-host-and-gateway", "SIGKILL of both at once", killHostAndGateway},
	{"kill-redis", "SIGKILL of Redis", killRedis},
	{"stop-redis", "SIGSTOP of Redis for some seconds", stopRedis},
	{"kill-host-no-redis", "SIGKILL of a host while Redis is stopped", killHostWithoutRedis},
	{"stop-host", "SIGSTOP of a host for longer than its lease", stopHost},
	{"cut-links", "a host's link address drops all packets", cutLinks},
	{"cut-off-host", "a host's links, gossip and way to Redis drop all packets", cutOffHost},
	{"cut-host-from-redis", "a host's way to Redis drops all packets", cutHostFromRedis},
	{"drop-clients", "connections of a third of the clients are reset", dropClients},
	{"close-tabs", "some clients are gone for good, and others come", closeTabs},
	{"drain-host", "a host is drained, and then restarted", drainHost},
	{"kill-in-drain", "a host drains, and it or one that takes its rooms is killed", killInDrain},
	{"stop-in-drain", "a host drains, and is stopped for longer than its lease", stopInDrain},
	{"restart-host", "SIGTERM of a host, and a start", restartHost},
	{"restart-gateway", "SIGTERM of a gateway, and a start", restartGateway},
}

func all(*load.Player) bool { return true }

func onHost(h *cluster.Process) func(*load.Player) bool {
	return func(p *load.Player) bool { return isNode(p.Room.Status().Host, h) }
}

func onGateway(g *cluster.Process) func(*load.Player) bool {
	return func(p *load.Player) bool { return isNode(p.Client.Stats().Gateway, g) }
}

// isNode reports whether id, NAME or NAME#BOOT, is the process's.
func isNode(id string, p *cluster.Process) bool {
	name, _, _ := strings.Cut(id, "#")
	return name == p.Name
}

// host draws a host that has rooms, gateway a gateway.
func (r *campaign) host() *cluster.Process {
	var with []*cluster.Process
	for _, h := range r.c.Hosts {
		if slices.ContainsFunc(r.players(), onHost(h)) {
			with = append(with, h)
		}
	}
	if len(with) == 0 {
		with = r.c.Hosts
	}
	return with[r.rng.IntN(len(with))]
}

func (r *campaign) gateway() *cluster.Process { return r.c.Gateways[r.rng.IntN(len(r.c.Gateways))] }

func (r *campaign) players() (all []*load.Player) {
	for _, m := range modes {
		all = append(all, r.fleets[m.name].Now()...)
	}
	return all
}

// restart starts a process that has ended, and waits until it is ready.
func restart(ctx context.Context, p *cluster.Process) error {
	if err := p.Start(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

func killHost(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, down := r.host(), r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("%s, for %.1f s", h.Name, down.Seconds())
	hit(onHost(h))
	h.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	return what, restart(ctx, h)
}

func killTwoHosts(ctx context.Context, r *campaign, hit hitting) (string, error) {
	first := r.rng.IntN(hosts)
	a, b := r.c.Hosts[first], r.c.Hosts[(first+1)%hosts]
	down := r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("%s and %s, for %.1f s", a.Name, b.Name, down.Seconds())
	hit(func(p *load.Player) bool { return onHost(a)(p) || onHost(b)(p) })
	a.Signal(syscall.SIGKILL)
	b.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	if err := restart(ctx, a); err != nil {
		return what, err
	}
	return what, restart(ctx, b)
}

func killGateway(ctx context.Context, r *campaign, hit hitting) (string, error) {
	g, down := r.gateway(), r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("%s, for %.1f s", g.Name, down.Seconds())
	hit(onGateway(g))
	g.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	return what, restart(ctx, g)
}

func killHostAndGateway(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, g, down := r.host(), r.gateway(), r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("%s and %s, for %.1f s", h.Name, g.Name, down.Seconds())
	hit(func(p *load.Player) bool { return onHost(h)(p) || onGateway(g)(p) })
	h.Signal(syscall.SIGKILL)
	g.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	if err := restart(ctx, h); err != nil {
		return what, err
	}
	return what, restart(ctx, g)
}

func killRedis(ctx context.Context, r *campaign, hit hitting) (string, error) {
	down := r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("for %.1f s", down.Seconds())
	hit(all)
	r.c.Redis.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	return what, r.c.StartRedis(ctx)
}

func stopRedis(ctx context.Context, r *campaign, hit hitting) (string, error) {
	still := r.between(500*time.Millisecond, 5*time.Second)
	what := fmt.Sprintf("for %.1f s", still.Seconds())
	hit(all)
	r.c.Redis.Signal(syscall.SIGSTOP)
	defer r.c.Redis.Signal(syscall.SIGCONT)
	return what, pause(ctx, still)
}

func killHostWithoutRedis(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, before, after := r.host(), r.between(100*time.Millisecond, 2*time.Second), r.between(500*time.Millisecond, 2*time.Second)
	what := fmt.Sprintf("%s, %.1f s after, %.1f s before the end", h.Name, before.Seconds(), after.Seconds())
	hit(all)
	r.c.Redis.Signal(syscall.SIGSTOP)
	defer r.c.Redis.Signal(syscall.SIGCONT)
	if err := pause(ctx, before); err != nil {
		return what, err
	}
	h.Signal(syscall.SIGKILL)
	if err := pause(ctx, after); err != nil {
		return what, err
	}
	r.c.Redis.Signal(syscall.SIGCONT)
	return what, restart(ctx, h)
}

func stopHost(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, still := r.host(), r.between(3*time.Second, 6*time.Second)
	what := fmt.Sprintf("%s, for %.1f s", h.Name, still.Seconds())
	id := hitProcess(h, hit)
	return what, r.stop(ctx, h, id, still)
}

// cut drops packets for a while.
func cut(ctx context.Context, d time.Duration, rules ...string) error {
	if err := netns.Cut(ctx, rules...); err != nil {
		return err
	}
	err := pause(ctx, d)
	if mend := netns.Mend(context.WithoutCancel(ctx)); mend != nil {
		return mend
	}
	return err
}

func cutLinks(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, d := r.host(), r.between(500*time.Millisecond, 4*time.Second)
	hit(onHost(h))
	return fmt.Sprintf("%s, for %.1f s", h.Name, d.Seconds()), cut(ctx, d, h.LinkRules()...)
}

func cutOffHost(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, d := r.host(), r.between(2*time.Second, 6*time.Second)
	hit(onHost(h))
	return fmt.Sprintf("%s, for %.1f s", h.Name, d.Seconds()), cut(ctx, d, append(r.c.StoreRules(h), h.AllRules()...)...)
}

func cutHostFromRedis(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, d := r.host(), r.between(2*time.Second, 6*time.Second)
	hit(onHost(h))
	return fmt.Sprintf("%s, for %.1f s", h.Name, d.Seconds()), cut(ctx, d, r.c.StoreRules(h)...)
}

func dropClients(_ context.Context, r *campaign, hit hitting) (string, error) {
	var dropped []*load.Player
	hit(func(p *load.Player) bool {
		if p.Number()%3 != 0 {
			return false
		}
		dropped = append(dropped, p)
		return true
	})
	for _, p := range dropped {
		p.Cut()
	}
	return "every third", nil
}

func closeTabs(_ context.Context, r *campaign, hit hitting) (string, error) {
	which := r.rng.IntN(20)
	closed := map[*load.Fleet][]*load.Player{}
	for _, f := range r.fleets {
		for _, p := range f.Now() {
			if p.Number()%20 == which {
				closed[f] = append(closed[f], p)
			}
		}
	}
	hit(func(p *load.Player) bool { return p.Number()%20 == which })
	for f, players := range closed {
		for _, p := range players {
			f.CloseTab(p)
		}
	}
	return "every twentieth", nil
}

func restartHost(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h := r.host()
	hit(onHost(h))
	h.Signal(syscall.SIGTERM)
	return h.Name, restart(ctx, h)
}

func restartGateway(ctx context.Context, r *campaign, hit hitting) (string, error) {
	g := r.gateway()
	hit(onGateway(g))
	g.Signal(syscall.SIGTERM)
	return g.Name, restart(ctx, g)
}
