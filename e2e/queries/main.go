// Command queries measures queries over all live rooms, with real processes:
// how long an answer takes, and what it costs while a host is paused.
//
//	go run ./e2e/queries [-hosts 10] [-rooms 20000] [-n 300]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"

	"golang.org/x/sync/errgroup"
)

func main() {
	var m measurement
	flag.IntVar(&m.hosts, "hosts", 10, "room hosts")
	flag.IntVar(&m.rooms, "rooms", 20_000, "live rooms, over all hosts")
	flag.IntVar(&m.queries, "n", 300, "queries of the quiet phase")
	flag.IntVar(&m.rounds, "rounds", 10, "pauses, each of another host")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "queries:", err)
		os.Exit(1)
	}
}

type measurement struct{ hosts, rooms, queries, rounds int }

// grouped is the query of the quiet phase: percentiles of numbers that are all
// different, for each kind.
const grouped = "count, sum(members), mean(age), p50(num.score), p90(num.score), p99(num.score) by kind"

const (
	joiners  = 24
	deadline = 200 * time.Millisecond // while a host is paused
	pauseFor = 700 * time.Millisecond // shorter than the lease: nobody takes the rooms over
)

func (m *measurement) run(ctx context.Context) error {
	c, end, err := cluster.Run(ctx, m.hosts, 1, func(cfg *cluster.Config) {
		cfg.Edge = []string{"--connection-joins", "10000"}
	})
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("%d cores, %d hosts, 1 gateway, Redis; %d rooms\n", runtime.NumCPU(), m.hosts, m.rooms)
	if err := m.fill(ctx, c.URLs()); err != nil {
		return err
	}
	by := c.Gateways[0]
	if err := m.complete(ctx, by); err != nil {
		return err
	}
	if err := m.quiet(ctx, by); err != nil {
		return err
	}
	return m.paused(ctx, c)
}

// fill makes the rooms: somebody joins each, and leaves.
func (m *measurement) fill(ctx context.Context, urls []string) error {
	eg, ctx := errgroup.WithContext(ctx)
	for j := range joiners {
		eg.Go(func() error {
			cl, err := client.Dial(ctx, client.Config{URLs: urls})
			if err != nil {
				return err
			}
			defer cl.Close()
			for i := j; i < m.rooms; i += joiners {
				kind := "idle-" + string("abcd"[i%4])
				r, err := cl.Join(ctx, wire.ModeJoinOrCreate, kind, fmt.Sprintf("room-%d", i), nil)
				if err != nil {
					return fmt.Errorf("join room %d: %w", i, err)
				}
				if err := r.Leave(ctx); err != nil {
					return fmt.Errorf("leave room %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return eg.Wait()
}

// complete waits until all hosts answer with all rooms.
func (m *measurement) complete(ctx context.Context, by *cluster.Process) error {
	for {
		a, err := ask(ctx, by, "count", time.Second)
		if err != nil {
			return err
		}
		if a.Hosts.Answered == m.hosts && a.Matched >= uint64(m.rooms) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await all rooms, last %+v: %w", a.Hosts, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func ask(ctx context.Context, by *cluster.Process, text string, within time.Duration) (a daemon.QueryAnswer, err error) {
	err = by.Admin(ctx, "/v1/query", daemon.QueryRequest{Query: text, Deadline: float64(within.Milliseconds())}, &a)
	return a, err
}

func (m *measurement) quiet(ctx context.Context, by *cluster.Process) error {
	var took []time.Duration
	for range m.queries {
		began := time.Now()
		a, err := ask(ctx, by, grouped, time.Second)
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
		if len(a.Rows) != 4 || a.Hosts.Share != 1 || a.Matched != uint64(m.rooms) {
			return fmt.Errorf("answer is %+v", a)
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	fmt.Printf("group by kind with percentiles, %d times: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", len(took), at(.5), at(.99), at(1))
	return nil
}

func (m *measurement) paused(ctx context.Context, c *cluster.Cluster) error {
	var over []time.Duration
	low, high, asked := 1.0, 0.0, 0
	for i := range m.rounds {
		h := c.Hosts[i%len(c.Hosts)]
		if err := h.Pause(ctx); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < pauseFor-deadline; {
			sent := time.Now()
			a, err := ask(ctx, c.Gateways[0], grouped, deadline)
			if err != nil {
				h.Signal(syscall.SIGCONT)
				return err
			}
			over = append(over, time.Since(sent)-deadline)
			low, high, asked = min(low, a.Hosts.Share), max(high, a.Hosts.Share), asked+1
			if len(a.Hosts.Missing) != 1 || a.Hosts.Asked != m.hosts {
				h.Signal(syscall.SIGCONT)
				return fmt.Errorf("with %s paused: %+v", h.Name, a.Hosts)
			}
		}
		h.Signal(syscall.SIGCONT)
		if err := m.complete(ctx, c.Gateways[0]); err != nil {
			return err
		}
	}
	slices.Sort(over)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Printf("one host paused, deadline %s, %d times: answered at the deadline %+.1f ms p50, %+.1f ms max; completeness %.1f to %.1f %%\n",
		deadline, asked, ms(over[len(over)/2]), ms(over[len(over)-1]), 100*low, 100*high)
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
