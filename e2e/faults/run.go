//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

type config struct {
	lasts, round   time.Duration
	seed           uint64
	rooms, clients int
	rate           float64
	only           string
	logs           string
	out            io.Writer
}

const (
	hosts    = 3
	gateways = 2
	// settleWithin bounds how long the last inputs of a round take to be durable.
	settleWithin = 90 * time.Second
)

// mode is a kind of rooms and what is promised of it.
type mode struct {
	name, kind          string
	journaled, fleeting bool
}

var modes = []mode{
	{"checkpoint", "ledger", false, false},
	{"journal", "ledger-journal", true, false},
	{"none", "ledger-none", false, true},
}

// campaign is a whole run.
type campaign struct {
	cfg     config
	rng     *rand.Rand
	c       *cluster.Cluster
	deck    deck
	pauses  pauses
	verdict check.Verdict
	began   time.Time

	// Of the round.
	roundBegan time.Time
	fleets     map[string]*load.Fleet // by mode
	wakes      []check.Wake
}

// run reports whether every promise was kept.
func run(ctx context.Context, cfg config) (bool, error) {
	dir := cfg.logs
	if dir == "" {
		temp, err := os.MkdirTemp("", "limpet-faults-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	built, err := cluster.Build(ctx, dir, hosts, gateways)
	if err != nil {
		return false, err
	}
	c, err := cluster.Start(ctx, built)
	if err != nil {
		return false, err
	}
	defer c.Stop()
	r := &campaign{cfg: cfg, c: c, rng: rand.New(rand.NewPCG(cfg.seed, 0)), pauses: pauses{}, began: time.Now()}
	if r.deck, err = newDeck(cfg.only); err != nil {
		return false, err
	}
	r.say("seed %d: %d cores, %d hosts, %d gateways, Redis; %d rooms, %d clients, %g inputs/s each, ticks at %d Hz",
		cfg.seed, runtime.NumCPU(), hosts, gateways, cfg.rooms, cfg.clients, cfg.rate, ledger.TickRate)
	for n := 0; time.Since(r.began) < cfg.lasts && ctx.Err() == nil; n++ {
		if err := r.round(ctx, n); err != nil {
			r.report()
			return false, fmt.Errorf("round %d: %w", n+1, err)
		}
	}
	r.report()
	return len(r.verdict.Problems) == 0, nil
}

func (r *campaign) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.out, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// round plays in fresh rooms, breaks things, mends them, and judges.
func (r *campaign) round(ctx context.Context, n int) error {
	began := time.Now()
	if err := r.join(ctx, n, began); err != nil {
		return err
	}
	defer r.leave()
	r.wakes, r.roundBegan = nil, began
	playing, stop := context.WithCancel(ctx)
	var played sync.WaitGroup
	errs := make(chan error, len(modes))
	for _, f := range r.fleets {
		played.Go(func() { errs <- f.Play(playing, r.cfg.rate) })
	}
	until := min(r.cfg.round, r.cfg.lasts-time.Since(r.began))
	err := r.breakThings(ctx, began.Add(until))
	stop()
	played.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	return r.judge(ctx, began)
}

func (r *campaign) join(ctx context.Context, n int, began time.Time) error {
	r.fleets = map[string]*load.Fleet{}
	for _, m := range modes {
		rooms := max(r.cfg.rooms/len(modes), 1)
		f, err := load.Join(ctx, load.Config{
			URLs: r.c.URLs(), Kind: m.kind, Rooms: rooms,
			// Not those of an earlier run, whose data stays with its logs.
			Prefix:  fmt.Sprintf("r%d-%d-", r.began.Unix(), n),
			PerRoom: max(r.cfg.clients/len(modes)/rooms, 1), Record: true, Began: began,
			Rejoin: true, Journaled: m.journaled, Fleeting: m.fleeting,
		})
		if err != nil {
			r.leave()
			return err
		}
		r.fleets[m.name] = f
	}
	return nil
}

func (r *campaign) leave() {
	for _, f := range r.fleets {
		f.Close()
	}
}

// breakThings makes one fault after the other until the time is over.
func (r *campaign) breakThings(ctx context.Context, until time.Time) error {
	for time.Now().Before(until) {
		if err := pause(ctx, r.between(time.Second, 2*time.Second)); err != nil {
			return err
		}
		if err := r.make(ctx, r.deck.draw(r.rng)); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second)
}

// between draws a time.
func (r *campaign) between(low, top time.Duration) time.Duration {
	return low + time.Duration(r.rng.Int64N(int64(top-low)))
}

// judge waits until all is durable and holds the round's history against the
// promises.
func (r *campaign) judge(ctx context.Context, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	asked := time.Now()
	var all check.History
	for _, m := range modes {
		f := r.fleets[m.name]
		if err := f.Settle(ctx); err != nil {
			return fmt.Errorf("inputs of %s rooms have not become durable: %w", m.name, err)
		}
		var books map[string]ledger.Book
		if !m.fleeting {
			var err error
			if books, err = f.Books(ctx); err != nil {
				return err
			}
		}
		h := f.History(books)
		all.Records, all.Rooms = append(all.Records, h.Records...), append(all.Rooms, h.Rooms...)
	}
	all.Wakes = r.wakes
	v := check.Judge(all)
	r.verdict.Add(v)
	r.say("round over after %.1f s, settled in %.1f s: %d inputs, %d messages, %d problems",
		time.Since(began).Seconds(), time.Since(asked).Seconds(), v.Sent, v.Messages, len(v.Problems))
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
