// Package redisstore keeps rooms' claims and checkpoints in Redis: one server,
// a Sentinel group or a Cluster. docs/store.md describes keys, scripts and what
// each setting of the server survives.
package redisstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/limpet-games/limpet/snapshot"
)

const (
	// inlineLimit is the biggest checkpoint that goes through a script: Lua
	// copies its arguments. A bigger one is set beside, and the script moves
	// the pointer.
	inlineLimit = 4 << 10
	// blobTTL takes away big checkpoints that no pointer was moved to, because
	// their process died in between. The script that points to one persists it.
	blobTTL = time.Minute
	// leaseMark is how long an ended lease's name stays refused. Names are
	// drawn anew at every start, so this only has to outlast delayed requests.
	leaseMark = 7 * 24 * time.Hour
	// tombstone is how long a closed room's epoch is kept. Later claims are
	// above it all the same: epochs are above the server's clock.
	tombstone = 7 * 24 * time.Hour
	// batch bounds a pipeline, and so the bytes of its answers.
	batch = 128
)

// Config sets up a Store. Zero fields take the defaults.
type Config struct {
	Prefix   string // of all keys; default "limpet"
	MaxBytes int    // of a checkpoint; default snapshot.DefaultMaxBytes
	PoolSize int    // connections a Redis node, at most; default 16
	// AllowEviction takes a Redis that may evict keys, and so lose rooms and
	// leases without a word.
	AllowEviction bool
	// WaitReplicas is how many replicas must have a write before it counts as
	// done; not in a Cluster.
	WaitReplicas int
}

// Store is a snapshot.Store. A plain cancellation of a call's context is
// noticed before the call, and its deadline during it: it returns within a
// second of silence from the server, whatever happens.
type Store struct {
	cfg    Config
	client redis.UniversalClient
	ended  endedHolders

	cluster bool // client is one of a Cluster
	rounds  rounds
	renewal atomic.Pointer[renewal]
	beats   beats
}

var _ snapshot.Store = (*Store)(nil)

// Open connects to the Redis that a URL names (see ParseURL) and inspects it.
// Warnings are single lines for an operator, with their mend.
func Open(ctx context.Context, rawURL string, cfg Config) (s *Store, warnings []string, err error) {
	s, err = New(rawURL, cfg)
	if err != nil {
		return nil, nil, err
	}
	warnings, err = s.Inspect(ctx)
	if err != nil {
		_ = s.Shut()
		return nil, nil, err
	}
	return s, warnings, nil
}

// New is Open without a look at the server: it needs no network.
func New(rawURL string, cfg Config) (*Store, error) {
	opts, set, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if set.Prefix != "" {
		cfg.Prefix = set.Prefix
	}
	cfg.AllowEviction = cfg.AllowEviction || set.AllowEviction
	cfg.WaitReplicas = max(cfg.WaitReplicas, set.WaitReplicas)
	if cfg.Prefix == "" {
		cfg.Prefix = "limpet"
	}
	if err := checkPrefix(cfg.Prefix); err != nil {
		return nil, err
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = snapshot.DefaultMaxBytes
	}
	if cfg.PoolSize <= 0 {
		cfg.PoolSize = 16
	}
	client := redis.NewUniversalClient(tune(opts, cfg.PoolSize))
	_, cluster := client.(*redis.ClusterClient)
	return &Store{cfg: cfg, client: client, cluster: cluster}, nil
}

// Shut closes the connections.
func (s *Store) Shut() error {
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close redis client: %w", err)
	}
	return nil
}
