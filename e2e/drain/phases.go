package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// phase is one thing that operators, or accidents, do to the cluster.
type phase struct {
	name          string
	closes, kills bool // sockets may close; members may be taken back
	run           func(*proof, context.Context) error
}

var phases = []phase{
	{name: "drain", run: (*proof).drain},
	{name: "cancel", run: (*proof).cancel},
	{name: "restart", run: (*proof).restart},
	{name: "hosts", run: (*proof).hosts},
	{name: "gateways", closes: true, run: (*proof).gateways},
	{name: "kill-source", kills: true, run: (*proof).killSource},
	{name: "kill-target", kills: true, run: (*proof).killTarget},
}

func (p *proof) by() *cluster.Process { return p.cluster.Gateways[0] }

func (p *proof) empty(ctx context.Context, name string) (cluster.DrainStatus, error) {
	s, err := cluster.Drain(ctx, p.by(), name, map[string]any{"at_once": 8, "rate": 1000})
	if err == nil && s.State != "drained" {
		err = fmt.Errorf("drain of %s: %+v", name, s)
	}
	return s, err
}

func (p *proof) serveAgain(ctx context.Context, name string) error {
	return p.by().Admin(ctx, "/v1/drain/cancel", map[string]any{"host": name}, nil)
}

// drain empties a host that has all the rooms.
func (p *proof) drain(ctx context.Context) error {
	for _, name := range []string{"host-2", "host-3"} {
		if _, err := p.empty(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range []string{"host-2", "host-3"} {
		if err := p.serveAgain(ctx, name); err != nil {
			return err
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil { // others hear that they take rooms
		return err
	}
	s, err := p.empty(ctx, "host-1")
	if err != nil {
		return err
	}
	fmt.Printf("%-12s %d rooms in %.2f s, %d tries failed; rooms stood still p50 %.1f ms, p99 %.1f ms, max %.1f ms (aims: 10 s; 10, 50, 250 ms)\n",
		"drain", s.Moved, s.Elapsed, s.Failures, s.Pause.P50, s.Pause.P99, s.Pause.Max)
	if err := p.steps(ctx, p.cluster.Hosts[0]); err != nil {
		return err
	}
	return p.serveAgain(ctx, "host-1")
}

// steps prints what a room's pause consists of, on average.
func (p *proof) steps(ctx context.Context, h *cluster.Process) error {
	text, err := h.Metrics(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%-12s on average", "drain")
	for _, step := range []string{"pack", "send", "hand_off", "begin"} {
		var sum, n float64
		for line := range strings.Lines(text) {
			fmt.Sscanf(line, `limpet_host_move_step_seconds_sum{step="`+step+`"} %g`, &sum)
			fmt.Sscanf(line, `limpet_host_move_step_seconds_count{step="`+step+`"} %g`, &n)
		}
		fmt.Printf(", %s %.1f ms", strings.ReplaceAll(step, "_", " "), 1000*sum/max(n, 1))
	}
	fmt.Println()
	return nil
}

// cancel ends a drain half-way.
func (p *proof) cancel(ctx context.Context) error {
	name := "host-2"
	if err := p.by().Admin(ctx, "/v1/drain", map[string]any{"host": name, "rate": float64(p.rooms) / 12}, nil); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	var s cluster.DrainStatus
	if err := p.by().Admin(ctx, "/v1/drain/cancel", map[string]any{"host": name}, &s); err != nil {
		return err
	}
	fmt.Printf("%-12s %d rooms had moved, %d stayed\n", "cancel", s.Moved, s.Left)
	if s.State != "cancelled" || s.Moved == 0 || s.Left == 0 {
		return fmt.Errorf("cancelled half-way: %+v", s)
	}
	return nil
}

// restart restarts each host in place.
func (p *proof) restart(ctx context.Context) error {
	for _, h := range p.cluster.Hosts {
		s, err := cluster.RestartInPlace(ctx, p.by(), h.Name, func() error { h.Signal(syscall.SIGUSR2); return nil })
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %s: %d rooms in %.0f ms, %d from the store\n", "restart", h.Name, s.Last.Rooms, s.Last.TotalMS, s.Last.Stored)
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// again starts a process that has ended, and gives the others a moment to know.
func again(ctx context.Context, h *cluster.Process) error {
	if err := h.Start(); err != nil {
		return err
	}
	if err := h.Ready(ctx); err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

// hosts tells each host to stop and starts it again.
func (p *proof) hosts(ctx context.Context) error {
	for _, h := range p.cluster.Hosts {
		began := time.Now()
		h.Signal(syscall.SIGTERM)
		fmt.Printf("%-12s %s ended after %.2f s with status %d\n", "hosts", h.Name, time.Since(began).Seconds(), h.Status())
		if err := again(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// spread is the gateways' --drain-spread.
const spread = 5 * time.Second

// gateways tells each gateway to stop and starts it again.
func (p *proof) gateways(ctx context.Context) error {
	for _, g := range p.cluster.Gateways {
		dials, drops, backs := p.dials(), 0, 0
		was, _ := p.watch.dropped()
		began := time.Now()
		g.Signal(syscall.SIGTERM)
		for {
			if drops, backs = p.watch.dropped(); backs >= drops {
				break
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return fmt.Errorf("%d of %d connections are not back: %w", drops-backs, drops, err)
			}
		}
		after, tries := p.watch.backAfter(began), p.dials()-dials
		n := drops - was
		fmt.Printf("%-12s %s: %d connections sent elsewhere over %s; back p50 %s, p99 %s, max %s; %.2f attempts each (aims: p99 %s, 1.2)\n", "gateways", g.Name,
			n, spread, round(at(after, .5)), round(at(after, .99)), round(at(after, 1)), float64(tries)/float64(max(n, 1)), spread+3*time.Second)
		if err := again(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func (p *proof) dials() (n int64) {
	for _, pl := range p.fleet.Players {
		n += pl.Dials()
	}
	return n
}

// killSource kills a host in the middle of its drain.
func (p *proof) killSource(ctx context.Context) error { return p.kill(ctx, p.cluster.Hosts[0]) }

// killTarget kills a host that rooms move to.
func (p *proof) killTarget(ctx context.Context) error { return p.kill(ctx, p.cluster.Hosts[1]) }

func (p *proof) kill(ctx context.Context, victim *cluster.Process) error {
	by := p.cluster.Gateways[0]
	if err := by.Admin(ctx, "/v1/drain", map[string]any{"host": "host-1", "rate": float64(p.rooms) / 12}, nil); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	victim.Signal(syscall.SIGKILL)
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	if err := again(ctx, victim); err != nil {
		return err
	}
	if victim.Name == "host-1" {
		return nil
	}
	if _, err := cluster.AwaitDrain(ctx, by, "host-1"); err != nil {
		return err
	}
	return p.serveAgain(ctx, "host-1")
}
