// Command ticks measures what checkpoints cost the room loop: how late the ticks
// of many rooms on one host come, with a checkpoint every second and without any,
// in turns, with real processes and a real Redis.
//
//	go run ./e2e/ticks [-rooms 200] [-turns 5] [-for 4s]
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
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/e2e/pace"
)

func main() {
	rooms := flag.Int("rooms", 200, "rooms on the host")
	turns := flag.Int("turns", 5, "how often each is measured")
	lasts := flag.Duration("for", 4*time.Second, "how long a turn measures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rooms, *turns, *lasts); err != nil {
		fmt.Fprintln(os.Stderr, "ticks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rooms, turns int, lasts time.Duration) error {
	c, end, err := cluster.Run(ctx, 1, 1, nil)
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("%d cores, 1 host, 1 gateway, Redis; %d rooms at %d Hz, state of 100 things\n", runtime.NumCPU(), rooms, pace.TickRate)
	late := map[string][]time.Duration{}
	for turn := range turns {
		for _, kind := range []string{"pace-none", "pace"} {
			d, err := measure(ctx, c, load.Config{URLs: c.URLs(), Kind: kind, Prefix: fmt.Sprintf("t%d-", turn), Rooms: rooms, PerRoom: 1}, lasts)
			if err != nil {
				return err
			}
			print(fmt.Sprintf("turn %d, %s", turn+1, names[kind]), d)
			late[kind] = append(late[kind], d...)
		}
	}
	off, on := print("all, "+names["pace-none"], late["pace-none"]), print("all, "+names["pace"], late["pace"])
	fmt.Printf("p99 with checkpoints: %.2f of that without\n", on.Seconds()/off.Seconds())
	return nil
}

var names = map[string]string{"pace-none": "no checkpoints", "pace": "one a second"}

// measure plays in fresh rooms and returns how late their ticks came.
func measure(ctx context.Context, c *cluster.Cluster, cfg load.Config, lasts time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	var late []time.Duration
	told := 0
	cfg.OnEvent = func(_ *load.Player, e client.Event) {
		m, ok := e.(*client.Message)
		var r pace.Report
		if !ok || json.Unmarshal(m.Payload, &r) != nil || r.Late == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		late = append(late, r.Late...)
		told++
	}
	f, err := load.Join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, step := range []struct {
		after time.Duration
		say   string
	}{{time.Second, pace.Begin}, {lasts, pace.End}} {
		if err := pause(ctx, step.after); err != nil {
			return nil, err
		}
		for _, p := range f.Players {
			if _, err := p.Room.Send([]byte(step.say)); err != nil {
				return nil, err
			}
		}
	}
	for {
		mu.Lock()
		got := told
		mu.Unlock()
		if got == len(f.Players) {
			return late, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func print(what string, d []time.Duration) (p99 time.Duration) {
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))].Round(10 * time.Microsecond) }
	fmt.Printf("%-24s %6d ticks, late by p50 %8s  p99 %8s  max %8s\n", what, len(d), at(.5), at(.99), at(1))
	return at(.99)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
