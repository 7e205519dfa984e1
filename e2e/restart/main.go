// Command restart measures a restart in place of a host with much state, against
// the same from Redis: how long it takes from the signal until all rooms run
// again, and how much memory it needs.
//
//	go run ./e2e/restart [-rooms 4000]
//
// Each room holds 256 KiB that do not compress.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

func main() {
	rooms := flag.Int("rooms", 4000, "rooms, of 256 KiB each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rooms); err != nil {
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rooms int) error {
	shared, err := os.MkdirTemp("/dev/shm", "limpet-restart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(shared)
	c, end, err := cluster.Run(ctx, 1, 1, func(cfg *cluster.Config) {
		cfg.Host = []string{"--shared-memory", shared, "--restart-within", "60s"}
	})
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("%d cores, 1 host, 1 gateway, Redis; %d rooms of %d KiB\n", runtime.NumCPU(), rooms, ledger.BulkBytes>>10)
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "bulk", Rooms: rooms, PerRoom: 1, AtOnce: 32})
	if err != nil {
		return err
	}
	defer fleet.Close()
	h := c.Hosts[0]
	if err := saved(ctx, h, rooms); err != nil {
		return err
	}
	if err := storeAtRest(ctx, c.RedisURL()); err != nil {
		return err
	}
	quick, err := inPlace(ctx, h, rooms, shared)
	if err != nil {
		return err
	}
	slow, err := fromStore(ctx, h, rooms)
	if err != nil {
		return err
	}
	fmt.Printf("in place it is %.1f times as fast (aim: 5)\n", slow.Seconds()/quick.Seconds())
	return nil
}

// saved waits until the store has all rooms: both ways start from the same.
func saved(ctx context.Context, h *cluster.Process, rooms int) error {
	for {
		var a struct{ Matched int }
		err := h.Admin(ctx, "/v1/query", map[string]any{"query": "count where unsaved = 0 and saves > 0"}, &a)
		if err != nil {
			return fmt.Errorf("ask how many rooms are saved: %w", err)
		}
		if a.Matched == rooms {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return errors.Join(err, fmt.Errorf("rooms that are saved: %d of %d", a.Matched, rooms))
		}
	}
}

// storeAtRest waits until Redis, which has the same two cores, no longer writes
// its log anew.
func storeAtRest(ctx context.Context, url string) error {
	o, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("look at the store: %w", err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	for {
		info, err := c.Info(ctx, "persistence").Result()
		if err != nil {
			return fmt.Errorf("look at the store: %w", err)
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the store: %w", err)
		}
	}
}

// inPlace restarts the host in place.
func inPlace(ctx context.Context, h *cluster.Process, rooms int, shared string) (time.Duration, error) {
	m, err := watchMemory(h.Pid(), shared)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	s, err := cluster.RestartInPlace(ctx, h, h.Name, func() error { h.Signal(syscall.SIGUSR2); return nil })
	took := time.Since(began)
	m.end()
	if err != nil {
		return 0, err
	}
	if s.Last.Shared != rooms {
		return 0, fmt.Errorf("%d of %d rooms came through shared memory: %+v", s.Last.Shared, rooms, *s.Last)
	}
	fmt.Printf("in place: %.2f s from the signal until all rooms run (aim: 2 s), %.2f s of it to write them, %.2f s to take them up, %.2f GiB\n",
		took.Seconds(), s.Last.FrozenMS/1000, s.Last.AdoptMS/1000, float64(s.Last.Bytes)/(1<<30))
	fmt.Printf("memory of the host and its file: %d MiB before, at most %d MiB, after %.2f s: %.2f times (aim: 1.2)\n",
		m.before>>20, m.peak>>20, m.at.Seconds(), float64(m.peak)/float64(m.before))
	return took, nil
}

// fromStore ends the host, with all rooms saved, and starts it again; its one
// gateway has members of all rooms and asks for them.
func fromStore(ctx context.Context, h *cluster.Process, rooms int) (time.Duration, error) {
	began := time.Now()
	h.Signal(syscall.SIGTERM)
	if err := h.Start(); err != nil {
		return 0, err
	}
	for {
		var l struct{ Rooms []struct{} }
		if err := h.Admin(ctx, "/v1/rooms", nil, &l); err == nil && len(l.Rooms) >= rooms {
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	fmt.Printf("from Redis: %.2f s from the signal until all rooms run\n", took.Seconds())
	return took, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
