package redisstore

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Every script compares on epoch, nonce and seq, so that running it twice is
// running it once.
var (
	//go:embed scripts/claim.lua
	claimSource string
	//go:embed scripts/save.lua
	saveSource string
	//go:embed scripts/append.lua
	appendSource string
	//go:embed scripts/hand_off.lua
	handOffSource string
	//go:embed scripts/beat.lua
	beatSource string
	//go:embed scripts/note.lua
	noteSource string
	//go:embed scripts/hold.lua
	holdSource string
	//go:embed scripts/close.lua
	closeSource string
	//go:embed scripts/check.lua
	checkSource string
	//go:embed scripts/load.lua
	loadSource string
	//go:embed scripts/mend.lua
	mendSource string
	//go:embed scripts/take_lease.lua
	takeLeaseSource string
	//go:embed scripts/end_lease.lua
	endLeaseSource string

	claimScript     = newScript(claimSource)
	saveScript      = newScript(saveSource)
	appendScript    = newScript(appendSource)
	handOffScript   = newScript(handOffSource)
	beatScript      = newScript(beatSource)
	noteScript      = newScript(noteSource)
	holdScript      = newScript(holdSource)
	closeScript     = newScript(closeSource)
	checkScript     = newScript(checkSource)
	loadScript      = newScript(loadSource)
	mendScript      = newScript(mendSource)
	takeLeaseScript = newScript(takeLeaseSource)
	endLeaseScript  = newScript(endLeaseSource)
)

// script is a script's two forms, as arguments of a command.
type script struct{ bySource, byHash any }

func newScript(source string) *script {
	return &script{source, redis.NewScript(source).Hash()}
}

// round is what one round trip needs, used again.
type round struct {
	pipe  redis.Pipeliner
	cmds  []redis.Cmder
	again []*call
}

// rounds holds those of a store.
type rounds struct{ pool sync.Pool }

func (r *rounds) take(c redis.UniversalClient) *round {
	if t, ok := r.pool.Get().(*round); ok {
		return t
	}
	return &round{pipe: c.Pipeline()}
}

func (r *rounds) free(t *round) {
	clear(t.cmds)
	clear(t.again)
	t.cmds, t.again = t.cmds[:0], t.again[:0]
	r.pool.Put(t)
}

// pipeline runs calls in one round trip a node, in order where they share a
// slot; each holds its own outcome. A node that does not have a script yet, as
// after a restart or a failover, gets its text in a second round.
func (s *Store) pipeline(ctx context.Context, calls []*call) {
	t := s.rounds.take(s.client)
	s.run(ctx, t, calls, false)
	for _, c := range calls {
		if c.unknownScript() {
			t.again = append(t.again, c)
		}
	}
	if len(t.again) > 0 {
		s.run(ctx, t, t.again, true)
	}
	s.rounds.free(t)
}

// run ignores the pipeline's own error: it is that of the first command that
// failed, and every command has its own.
func (s *Store) run(ctx context.Context, t *round, calls []*call, source bool) {
	t.cmds = t.cmds[:0]
	for _, c := range calls {
		if c.blob != nil {
			t.cmds = append(t.cmds, redis.NewStatusCmd(ctx, "set", c.blobKey, c.blob, "px", blobTTL.Milliseconds(), "nx"))
		}
		t.cmds = append(t.cmds, c.command(source, !s.cluster))
	}
	var replicas *redis.Cmd
	if s.cfg.WaitReplicas > 0 && slices.ContainsFunc(calls, (*call).confirms) {
		replicas = redis.NewCmd(ctx, "WAIT", s.cfg.WaitReplicas, waitWithin.Milliseconds())
		t.cmds = append(t.cmds, replicas)
	}
	_ = t.pipe.BatchProcess(ctx, t.cmds...)
	_, _ = t.pipe.Exec(ctx)
	if replicas == nil {
		return
	}
	n, err := replicas.Int64()
	switch {
	case err != nil:
		err = fmt.Errorf("%w: WAIT: %w", errNotReplicated, err)
	case n < int64(s.cfg.WaitReplicas):
		err = fmt.Errorf("%w: %d have it", errNotReplicated, n)
	default:
		return
	}
	for _, c := range calls {
		c.unconfirm(err)
	}
}

// waitWithin is how long a write waits for replicas; less than a read may take.
const waitWithin = 500 * time.Millisecond

var errNotReplicated = errors.New("too few replicas have taken the write")
