package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
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
	keyFile       string
	seal          snapshot.SealOptions
}

func (s *storeFlags) register(f *daemon.Flags) {
	f.String(&s.redis, "redis", "", "URL", "keep rooms in this Redis: redis://[USER:PASSWORD@]HOST:PORT/DB, "+
		"with ?master_name=NAME for Sentinels or ?cluster=true", func(v string) error {
		_, _, err := redisstore.ParseURL(v)
		return err
	})
	f.String(&s.dir, "data", "", "DIR", "keep rooms in this directory on a local disk, which hosts on one machine may share")
	f.Int(&s.maxBytes, "checkpoint-bytes", snapshot.DefaultMaxBytes, 4<<10, 8<<20, "the largest checkpoint of a room, in bytes; a larger one is refused and reported")
	s.registerKeys(f)
	f.Bool(&s.allowEviction, "insecure-allow-eviction", "take a Redis that may evict keys, and so lose rooms without a word")
}

func (s *storeFlags) registerKeys(f *daemon.Flags) {
	f.String(&s.keyFile, "checkpoint-keys-file", "", "FILE", "seal what the store keeps with the first of these keys, 64 hex digits a line; "+
		"all of them open it; the same on all hosts")
	f.Bool(&s.seal.Encrypt, "checkpoint-encrypt", "encrypt what the store keeps, too; needs --checkpoint-keys-file")
	f.Bool(&s.seal.AcceptUnsealed, "insecure-accept-unsealed",
		"load rooms that were saved before there were keys; whoever writes to the store can then forge rooms")
}

// sealed puts the keys, where there are any, between the rooms and the store.
func (s *storeFlags) sealed(store snapshot.Store) (snapshot.Store, error) {
	if s.keyFile == "" {
		return store, nil
	}
	text, err := os.ReadFile(s.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint-keys-file: %w", err)
	}
	keys, err := snapshot.ParseKeyring(string(text), s.seal)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint-keys-file %s: %w", s.keyFile, err)
	}
	return snapshot.Sealed(store, keys), nil
}

func (s *storeFlags) check() error {
	if s.keyFile == "" && s.seal.Encrypt {
		return errors.New("--checkpoint-encrypt needs --checkpoint-keys-file: the keys to encrypt with")
	}
	if s.keyFile == "" && s.seal.AcceptUnsealed {
		return errors.New("--insecure-accept-unsealed is for hosts with --checkpoint-keys-file; without keys everything is unsealed")
	}
	if (s.redis == "") == (s.dir == "") {
		return errors.New("give one of --redis URL and --data DIR: where rooms are saved")
	}
	return nil
}

func (s *storeFlags) open(p *daemon.Wiring) (snapshot.Store, error) {
	store, err := s.openPlain(p)
	if err != nil {
		return nil, err
	}
	for _, line := range s.dangers() {
		p.Log.Warn().Msg(line)
	}
	if s.seal.AcceptUnsealed {
		p.Log.Warn().Msg("--insecure-accept-unsealed: whoever writes to the store can forge rooms; drop it once all rooms were saved")
	}
	if store, err = s.sealed(store); err != nil {
		return nil, daemon.BadSetting(err)
	}
	return store, nil
}

// dangers says what others on the network may do to a Redis off loopback.
func (s *storeFlags) dangers() (lines []string) {
	if s.redis == "" {
		return nil
	}
	o, _, err := redisstore.ParseURL(s.redis)
	if err != nil || !slices.ContainsFunc(o.Addrs, func(at string) bool { return !daemon.Loopback(at) }) {
		return nil
	}
	if o.TLSConfig == nil {
		lines = append(lines, "--redis is spoken to in the clear: rooms can be read and changed on the way, and its password read; "+
			"use rediss://, or keep it on a network that nobody else reads")
	}
	if o.Password == "" {
		lines = append(lines, "--redis has no password: whoever reaches it reads, forges and deletes rooms; "+
			"set one there, and put it into the URL by LIMPET_REDIS")
	}
	return lines
}

func (s *storeFlags) openPlain(p *daemon.Wiring) (snapshot.Store, error) {
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
	i := &inspection{store: store, log: p.Log}
	p.Parts.Add("store inspection", i.run)
	p.Ops.Ready("store", i.ready)
	return store, nil
}

// inspectEvery is how often a Redis that can't be reached is tried.
const inspectEvery = time.Second

// errNotInspected: the store has not said yet whether it can keep rooms.
var errNotInspected = errors.New("store not inspected")

// inspection looks at Redis' settings as soon as it can be reached: a host starts
// without it, as it runs without it, but is not ready until then.
type inspection struct {
	store *redisstore.Store
	log   zerolog.Logger
	done  atomic.Bool
}

// ready is a condition of readiness.
func (i *inspection) ready() error {
	if i.done.Load() {
		return nil
	}
	return errNotInspected
}

// run blocks until ctx is done. A store that can't keep rooms ends the process.
func (i *inspection) run(ctx context.Context) error {
	for silent := false; ; {
		warnings, err := i.store.Inspect(ctx)
		switch {
		case errors.Is(err, redisstore.ErrUnsuitable):
			return daemon.BadSetting(err)
		case err == nil:
			for _, line := range warnings {
				i.log.Warn().Msg(line)
			}
			i.done.Store(true)
			<-ctx.Done()
			return nil
		case !silent && ctx.Err() == nil:
			silent = true
			i.log.Warn().Err(err).Msg("store can't be reached; this host takes no rooms until it can")
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
	if yes, err := restarts(ctx, store, node); err != nil {
		return fmt.Errorf("ask whether %s restarts: %w", node, err)
	} else if yes {
		return directory.ErrRestarting
	}
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
