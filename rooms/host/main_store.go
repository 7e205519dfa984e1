package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/redisstore"
	"github.com/limpet-games/limpet/snapshot/sqlitestore"
)

// storeFlags say where rooms are saved.
type storeFlags struct {
	redis, dir    string
	maxBytes      int
	allowEviction bool
}

func (s *storeFlags) register(f *daemon.Flags) {
	f.String(&s.redis, "redis", "", "URL", "keep rooms in this Redis: redis://[USER:PASSWORD@]HOST:PORT/DB, "+
		"with ?master_name=NAME for Sentinels or ?cluster=true", func(v string) error {
		_, _, err := redisstore.ParseURL(v)
		return err
	})
	f.String(&s.dir, "data", "", "DIR", "keep rooms in this directory on a local disk, which hosts on one machine may share")
	f.Int(&s.maxBytes, "checkpoint-bytes", snapshot.DefaultMaxBytes, 4<<10, 8<<20, "the largest checkpoint of a room, in bytes; a larger one is refused and reported")
	f.Bool(&s.allowEviction, "insecure-allow-eviction", "take a Redis that may evict keys, and so lose rooms without a word")
}

func (s *storeFlags) check() error {
	if (s.redis == "") == (s.dir == "") {
		return errors.New("give one of --redis URL and --data DIR: where rooms are saved")
	}
	return nil
}

func (s *storeFlags) open(p *daemon.Wiring) (snapshot.Store, error) {
	if s.dir != "" {
		store, err := sqlitestore.Open(context.Background(), s.dir, sqlitestore.Config{MaxBytes: s.maxBytes})
		if err != nil {
			return nil, daemon.BadSetting(err)
		}
		p.Defer(store.Shut)
		return store, nil
	}
	store, err := redisstore.New(s.redis, redisstore.Config{MaxBytes: s.maxBytes, AllowEviction: s.allowEviction})
	if err != nil {
		return nil, daemon.BadSetting(err)
	}
	p.Defer(store.Shut)
	p.Parts.Add("store inspection", func(ctx context.Context) error { return inspect(ctx, store, p.Log) })
	return store, nil
}

// inspectEvery is how often a Redis that can't be reached is tried.
const inspectEvery = time.Second

// inspect looks at Redis' settings as soon as it can be reached: a host starts
// without it, as it runs without it. One that can't keep rooms ends the process.
func inspect(ctx context.Context, store *redisstore.Store, log zerolog.Logger) error {
	for silent := false; ; {
		warnings, err := store.Inspect(ctx)
		switch {
		case errors.Is(err, redisstore.ErrUnsuitable):
			return daemon.BadSetting(err)
		case err == nil:
			for _, line := range warnings {
				log.Warn().Msg(line)
			}
			<-ctx.Done()
			return nil
		case !silent && ctx.Err() == nil:
			silent = true
			log.Warn().Err(err).Msg("store can't be reached; this host takes no rooms until it can")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(inspectEvery):
		}
	}
}

// maxLeases is how many leases of one process are looked for. A process takes
// another one only when its last has ended under it; beyond this many, its TTL
// ends it.
const maxLeases = 64

// endLeases ends the lease that a dead process has in the store, whichever of
// its leases that is.
func endLeases(ctx context.Context, store snapshot.Store, node directory.NodeID) error {
	var asking errgroup.Group
	asking.SetLimit(16)
	for n := 1; n <= maxLeases; n++ {
		holder := snapshot.Holder(fmt.Sprintf("%s/%d", node, n))
		asking.Go(func() error {
			alive, err := store.LeaseAlive(ctx, holder)
			if err != nil || !alive {
				return err
			}
			return store.EndLease(ctx, holder)
		})
	}
	if err := asking.Wait(); err != nil {
		return fmt.Errorf("end lease of %s: %w", node, err)
	}
	return nil
}
