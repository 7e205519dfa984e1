// Command drain shows that nobody notices deploys: under load, with real
// processes and a real Redis, it empties a host, cancels a drain half-way,
// restarts all hosts in place, rolls all hosts and then all gateways, kills a
// host in the middle of its drain, and a host that rooms move to. It prints what
// that cost, and holds all that clients sent and were told against the checker.
//
//	go run ./e2e/drain [-rooms 1000] [-members 5] [-rate 1] [-only drain,gateways]
//
// The exit status is 1 where anything was lost, or sockets closed but by a
// gateway's end.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
)

const hosts, gateways = 3, 2

// yields is the niceness of this process, which is all of the clients.
const yields = 10

type proof struct {
	rooms, members int
	rate           float64
	only           string
	verbose        bool

	cluster *cluster.Cluster
	fleet   *load.Fleet
	watch   *watch
}

func main() {
	var p proof
	flag.IntVar(&p.rooms, "rooms", 1000, "rooms, which tick at 5 Hz")
	flag.IntVar(&p.members, "members", 5, "members of each room")
	flag.Float64Var(&p.rate, "rate", 1, "inputs a second of each member")
	flag.StringVar(&p.only, "only", "", "phases, with commas: "+strings.Join(names(), ", ")+"; empty: all")
	flag.BoolVar(&p.verbose, "v", false, "say what is done")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := p.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

func names() (all []string) {
	for _, ph := range phases {
		all = append(all, ph.name)
	}
	return all
}

func (p *proof) run(ctx context.Context) error {
	c, end, err := cluster.Run(ctx, hosts, gateways, func(cfg *cluster.Config) {
		if p.verbose {
			cfg.Log = os.Stderr
		}
	})
	if err != nil {
		return err
	}
	defer end()
	if err := cluster.Yield(yields); err != nil {
		return err
	}
	p.cluster, p.watch = c, newWatch()
	fmt.Printf("%d cores, %d hosts, %d gateways, Redis; %d rooms at 5 Hz, %d members, %g inputs/s each\n",
		runtime.NumCPU(), hosts, gateways, p.rooms, p.rooms*p.members, p.rate)
	p.fleet, err = load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger-slow", Rooms: p.rooms, PerRoom: p.members,
		OnEvent: p.watch.event, Record: true})
	if err != nil {
		return err
	}
	defer p.fleet.Close()
	playing, done := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- p.fleet.Play(playing, p.rate) }()
	err = p.phases(ctx)
	done()
	if stopped := <-played; stopped != nil {
		return stopped
	}
	if err != nil {
		return err
	}
	return p.check(ctx)
}

func (p *proof) phases(ctx context.Context) error {
	for _, ph := range phases {
		if p.only != "" && !slices.Contains(strings.Split(p.only, ","), ph.name) {
			continue
		}
		p.watch.forget()
		if err := ph.run(p, ctx); err != nil {
			return fmt.Errorf("%s: %w", ph.name, err)
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		if err := p.watch.report(ph); err != nil {
			return err
		}
	}
	return nil
}

// check holds all that was sent and told against what rooms hold.
func (p *proof) check(ctx context.Context) error {
	if err := p.fleet.Settle(ctx); err != nil {
		return err
	}
	books, err := p.fleet.Books(ctx)
	if err != nil {
		return err
	}
	var sent uint64
	for _, pl := range p.fleet.Players {
		sent += pl.Sent()
		applied := books[pl.RoomName].Applied[pl.Name].Numbers()
		if uint64(len(applied)) != pl.Sent() || !slices.IsSorted(applied) {
			return fmt.Errorf("%s in %s: %d of %d inputs were applied", pl.Name, pl.RoomName, len(applied), pl.Sent())
		}
	}
	found := check.Check(p.fleet.History(books))
	for _, f := range found[:min(len(found), 20)] {
		fmt.Println(f)
	}
	if len(found) > 0 {
		return fmt.Errorf("the checker found %d broken promises", len(found))
	}
	fmt.Printf("%d inputs sent, each applied once and in order; the checker finds nothing\n", sent)
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
