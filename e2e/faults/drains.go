//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
)

const (
	// drainWithin bounds a drain, in seconds; what is left is saved at the restart.
	drainWithin = 8
	// slowly is how many rooms a second move in a drain that is broken, so that
	// some are on their way.
	slowly = 50
	// orderWithin is for an order to be taken: hosts that were just started, or
	// woke, may not be known to all others.
	orderWithin = 10 * time.Second
)

func drainHost(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h := r.host()
	hit(onHost(h))
	if err := r.orderDrain(ctx, h, map[string]any{"deadline": drainWithin}); err != nil {
		return h.Name, err
	}
	s, err := cluster.AwaitDrain(ctx, r.c.Gateways[0], h.Name)
	what := fmt.Sprintf("%s: %d moved, %d left, %d failed", h.Name, s.Moved, s.Left, s.Failures)
	if err != nil {
		return what, err
	}
	h.Signal(syscall.SIGTERM)
	return what, restart(ctx, h)
}

// orderDrain has a host drain.
func (r *campaign) orderDrain(ctx context.Context, h *cluster.Process, order map[string]any) error {
	order["host"] = h.Name
	return r.order(ctx, "/v1/drain", order)
}

// serveAgain has a host that drains take rooms again.
func (r *campaign) serveAgain(ctx context.Context, h *cluster.Process) error {
	return r.order(ctx, "/v1/drain/cancel", map[string]any{"host": h.Name})
}

// order asks for something as an operator would: who tries again when a host, or a
// place for its rooms, is not known yet.
func (r *campaign) order(ctx context.Context, path string, order map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	for {
		err := r.c.Gateways[0].Admin(ctx, path, order, nil)
		if err == nil || pause(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// killInDrain kills a host that drains, or one that its rooms move to.
func killInDrain(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h, victim := r.host(), r.c.Hosts[r.rng.IntN(hosts)]
	after, down := r.between(20*time.Millisecond, 600*time.Millisecond), r.between(300*time.Millisecond, 3*time.Second)
	what := fmt.Sprintf("%s drains, %s dies after %.2f s, for %.1f s", h.Name, victim.Name, after.Seconds(), down.Seconds())
	hit(func(p *load.Player) bool { return onHost(h)(p) || onHost(victim)(p) })
	if err := r.orderDrain(ctx, h, map[string]any{"deadline": drainWithin, "rate": slowly}); err != nil {
		return what, err
	}
	if err := pause(ctx, after); err != nil {
		return what, err
	}
	victim.Signal(syscall.SIGKILL)
	if err := pause(ctx, down); err != nil {
		return what, err
	}
	if err := restart(ctx, victim); err != nil || victim == h {
		return what, err
	}
	return what, r.serveAgain(ctx, h)
}

// stopInDrain stops a host in the middle of its drain: others take over what it
// has not moved, and it wakes with moves half done.
func stopInDrain(ctx context.Context, r *campaign, hit hitting) (string, error) {
	h := r.host()
	after, still := r.between(20*time.Millisecond, 600*time.Millisecond), r.between(3*time.Second, 6*time.Second)
	what := fmt.Sprintf("%s stops after %.2f s, for %.1f s", h.Name, after.Seconds(), still.Seconds())
	id := hitProcess(h, hit)
	if err := r.orderDrain(ctx, h, map[string]any{"deadline": drainWithin, "rate": slowly}); err != nil {
		return what, err
	}
	if err := pause(ctx, after); err != nil {
		return what, err
	}
	if err := r.stop(ctx, h, id, still); err != nil {
		return what, err
	}
	return what, r.serveAgain(ctx, h)
}

// hitProcess takes down that the members on a host will notice, and returns the
// process that they name, NAME#BOOT.
func hitProcess(h *cluster.Process, hit hitting) (id string) {
	hit(func(p *load.Player) bool {
		at := p.Room.Status().Host
		if !isNode(at, h) {
			return false
		}
		id = at
		return true
	})
	return id
}

// stop has a process stand still for a while.
func (r *campaign) stop(ctx context.Context, h *cluster.Process, id string, d time.Duration) error {
	h.Signal(syscall.SIGSTOP)
	err := pause(ctx, d)
	r.wakes = append(r.wakes, check.Wake{Host: id, At: time.Since(r.roundBegan)})
	h.Signal(syscall.SIGCONT)
	return err
}
