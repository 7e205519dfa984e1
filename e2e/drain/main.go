// Command drain measures what a planned move of rooms costs: how long each
// room stands still, and how long its members wait for an input to come back,
// while hosts are emptied and restarted, with real processes and a real Redis.
//
//	go run ./e2e/drain [-rooms 300] [-members 5] [-rate 1]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

const hosts = 3

func main() {
	var m measurement
	flag.IntVar(&m.rooms, "rooms", 300, "rooms on the host that is drained, about")
	flag.IntVar(&m.members, "members", 5, "members of each room")
	flag.Float64Var(&m.rate, "rate", 1, "inputs a second of each member")
	flag.BoolVar(&m.verbose, "v", false, "say what is done")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

type measurement struct {
	rooms, members int
	rate           float64
	verbose        bool

	mu                   sync.Mutex
	sent                 map[ledger.Input]time.Time // not come back yet; guarded by mu, as all below
	waits                []time.Duration            // of inputs sent in the phase
	drops, rewinds, gaps int
}

func (m *measurement) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "limpet-drain-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg, err := cluster.Build(ctx, dir, hosts, 2)
	if err != nil {
		return err
	}
	if m.verbose {
		cfg.Log = os.Stderr
	}
	c, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Stop()
	m.sent = map[ledger.Input]time.Time{}
	rooms := m.rooms * hosts
	fmt.Printf("%d cores, %d hosts, 2 gateways, Redis; %d rooms, %d members, %g inputs/s each\n",
		runtime.NumCPU(), hosts, rooms, rooms*m.members, m.rate)
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger", Rooms: rooms, PerRoom: m.members, OnEvent: m.event})
	if err != nil {
		return err
	}
	defer fleet.Close()
	playing, done := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- m.play(playing, fleet) }()
	err = m.phases(ctx, c)
	done()
	if err := <-played; err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return m.check(ctx, fleet)
}

func (m *measurement) phases(ctx context.Context, c *cluster.Cluster) error {
	m.phase()
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	m.report("quiet, 5 s")
	m.phase()
	s, err := cluster.Drain(ctx, c.Gateways[0], "host-1", nil)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	m.report("drain of host-1")
	fmt.Printf("%-22s %s: %d rooms in %.2f s, %d left, %d attempts failed; rooms stood still p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
		"", s.State, s.Moved, s.Elapsed, s.Left, s.Failures, s.Pause.P50, s.Pause.P99, s.Pause.Max)
	m.phase()
	for _, h := range c.Hosts {
		began := time.Now()
		h.Signal(syscall.SIGTERM)
		ended := time.Since(began)
		if err := h.Start(); err != nil {
			return err
		}
		if err := h.Ready(ctx); err != nil {
			return err
		}
		fmt.Printf("%-22s %s: told to stop, ended after %.2f s\n", "", h.Name, ended.Seconds())
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	m.report("roll of all hosts")
	return nil
}

// play sends every player's inputs, following the clock.
func (m *measurement) play(ctx context.Context, fleet *load.Fleet) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start, due, n := time.Now(), 0, len(fleet.Players)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for want := int(time.Since(start).Seconds() * m.rate * float64(n)); due < want; due++ {
			p := fleet.Players[due%n]
			m.mu.Lock()
			m.sent[ledger.Input{Client: p.Name, N: p.Sent() + 1}] = time.Now()
			m.mu.Unlock()
			if _, err := p.Send(); err != nil {
				return err
			}
		}
	}
}

func (m *measurement) event(p *load.Player, e client.Event) {
	switch e := e.(type) {
	case *client.Message:
		var note ledger.Note
		if json.Unmarshal(e.Payload, &note) != nil || note.Client != p.Name {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if at, ok := m.sent[note.Input]; ok {
			delete(m.sent, note.Input)
			m.waits = append(m.waits, time.Since(at))
		}
	case *client.Dropped:
		m.count(&m.drops)
	case *client.Rewound:
		m.count(&m.rewinds)
	case *client.Gap:
		m.count(&m.gaps)
	}
}

func (m *measurement) count(n *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n++
}

// phase forgets what was measured so far.
func (m *measurement) phase() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waits, m.drops, m.rewinds, m.gaps = nil, 0, 0, 0
}

func (m *measurement) report(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waits) == 0 {
		fmt.Printf("%-22s nothing came back\n", what)
		return
	}
	slices.Sort(m.waits)
	at := func(q float64) float64 { return float64(m.waits[int(q*float64(len(m.waits)-1))].Microseconds()) / 1000 }
	fmt.Printf("%-22s inputs came back after p50 %.1f ms, p99 %.1f ms, max %.1f ms; sockets closed %d, rewinds %d, gaps %d\n",
		what, at(.5), at(.99), at(1), m.drops, m.rewinds, m.gaps)
}

// check holds every room's book against what was sent.
func (m *measurement) check(ctx context.Context, fleet *load.Fleet) error {
	if err := fleet.Settle(ctx); err != nil {
		return err
	}
	books, err := fleet.Books(ctx)
	if err != nil {
		return err
	}
	var sent uint64
	for _, p := range fleet.Players {
		sent += p.Sent()
		applied := books[p.RoomName].Applied[p.Name].Numbers()
		if uint64(len(applied)) != p.Sent() {
			return fmt.Errorf("%s in %s: %d of %d inputs were applied", p.Name, p.RoomName, len(applied), p.Sent())
		}
		for i, n := range applied {
			if n != uint64(i+1) {
				return fmt.Errorf("%s in %s: input %d was applied at place %d", p.Name, p.RoomName, n, i+1)
			}
		}
	}
	fmt.Printf("%d inputs sent, each applied once and in order\n", sent)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
