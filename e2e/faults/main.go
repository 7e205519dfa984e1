//go:build linux

// Command faults breaks a real cluster on purpose, again and again, while many
// clients play on it, and decides from what they sent and were told whether every
// promise was kept:
//
//	go run ./e2e/faults [-for 60s] [-seed N] [-rooms 200] [-clients 1000] [-rate 2]
//
// Three hosts, two gateways and a Redis run in a network namespace of their own;
// a third of the rooms is checkpointed, a third journaled, and a third ends with
// its host. The seed says which fault comes when. The time is cut into rounds:
// after each everything is mended, every input has to become durable, and the
// history is judged. The exit status is 1 when a promise was broken.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/limpet-games/limpet/e2e/netns"
)

func main() { os.Exit(start()) }

func start() int {
	cfg := config{out: os.Stdout}
	flag.DurationVar(&cfg.lasts, "for", time.Minute, "how long faults go on")
	flag.DurationVar(&cfg.round, "round", time.Minute, "how long one round of it lasts")
	flag.Uint64Var(&cfg.seed, "seed", 1, "decides on faults and their order")
	flag.IntVar(&cfg.rooms, "rooms", 200, "rooms")
	flag.IntVar(&cfg.clients, "clients", 1000, "clients, spread over the rooms")
	flag.Float64Var(&cfg.rate, "rate", 2, "inputs a second of each client")
	flag.StringVar(&cfg.only, "only", "", "make this fault alone; \"list\" prints their names")
	flag.StringVar(&cfg.logs, "logs", "", "directory for the processes' logs, which stay; default: none stay")
	flag.Parse()
	if cfg.only == "list" {
		for _, f := range faults {
			fmt.Printf("%-22s %s\n", f.name, f.does)
		}
		return 0
	}
	status, entered, err := netns.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	if !entered {
		return status
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}
