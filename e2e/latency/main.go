// Command latency measures what a journal adds to the time from an input to the
// note of it at its sender: the same load on journaled and on checkpointed rooms
// of one cluster, in turns, with real processes and a real Redis.
//
//	go run ./e2e/latency [-rate 1000] [-rooms 100] [-turns 5] [-for 4s]
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
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

func main() {
	rate := flag.Int("rate", 1000, "inputs a second")
	rooms := flag.Int("rooms", 100, "rooms, each with one member")
	turns := flag.Int("turns", 5, "how often each kind is measured")
	lasts := flag.Duration("for", 4*time.Second, "how long a turn lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rate, *rooms, *turns, *lasts); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

var kinds = []string{"ledger", "ledger-journal"}

func run(ctx context.Context, rate, rooms, turns int, lasts time.Duration) error {
	c, end, err := cluster.Run(ctx, 3, 1, nil)
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("%d cores, 3 hosts, 1 gateway, Redis; %d rooms of each kind, %d inputs/s\n", runtime.NumCPU(), rooms, rate)
	fleets, echoes := map[string]*load.Fleet{}, map[string]*echoes{}
	for _, k := range kinds {
		echoes[k] = newEchoes()
		f, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: k, Rooms: rooms, PerRoom: 1, OnEvent: echoes[k].event})
		if err != nil {
			return err
		}
		defer f.Close()
		fleets[k] = f
	}
	all := map[string][]time.Duration{}
	for turn := range turns {
		for _, k := range kinds {
			if err := play(ctx, fleets[k], echoes[k], rate, lasts); err != nil {
				return err
			}
			d := echoes[k].take()
			print(fmt.Sprintf("turn %d, %s", turn+1, k), d)
			all[k] = append(all[k], d...)
		}
	}
	base50, base99 := print("all, "+kinds[0], all[kinds[0]])
	with50, with99 := print("all, "+kinds[1], all[kinds[1]])
	fmt.Printf("the journal adds p50 %s, p99 %s\n", with50-base50, with99-base99)
	return nil
}

// play sends inputs evenly, and waits until all are durable.
func play(ctx context.Context, f *load.Fleet, e *echoes, rate int, lasts time.Duration) error {
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	start, n := time.Now(), len(f.Players)
	for sent := 0; time.Since(start) < lasts; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-every.C:
		}
		for want := int(time.Since(start).Seconds() * float64(rate)); sent < want; sent++ {
			p := f.Players[sent%n]
			e.sends(p)
			if _, err := p.Send(); err != nil {
				return err
			}
		}
	}
	return f.Settle(ctx)
}

// echoes are the times from a send to the note of it.
type echoes struct {
	mu   sync.Mutex
	sent map[*load.Player][]time.Time
	took []time.Duration
}

func newEchoes() *echoes { return &echoes{sent: map[*load.Player][]time.Time{}} }

func (e *echoes) sends(p *load.Player) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent[p] = append(e.sent[p], time.Now())
}

func (e *echoes) event(p *load.Player, ev client.Event) {
	m, ok := ev.(*client.Message)
	var note ledger.Note
	if !ok || json.Unmarshal(m.Payload, &note) != nil || note.N == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if at := e.sent[p]; len(at) > 0 { // its room has no other player
		e.took = append(e.took, time.Since(at[0]))
		e.sent[p] = at[1:]
	}
}

func (e *echoes) take() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.took
	e.took = nil
	return d
}

func print(what string, d []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))].Round(10 * time.Microsecond) }
	fmt.Printf("%-24s %6d inputs, came back after p50 %8s  p99 %8s  max %8s\n", what, len(d), at(.5), at(.99), at(1))
	return at(.5), at(.99)
}
