package redisstore

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"slices"
	"strings"
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

type script struct{ source, hash string }

func newScript(source string) script {
	return script{source, redis.NewScript(source).Hash()}
}

// call is one script's run on one room or lease, with the value that has to be
// set ahead of it, if any.
type call struct {
	script  script
	keys    []string
	args    []any
	blobKey string
	blob    []byte
	cmd     *redis.Cmd
}

// pipeline runs calls in one round trip a node, in order where they share a
// slot; each holds its own outcome. A node that does not have a script yet, as
// after a restart or a failover, gets its text in a second round.
func (s *Store) pipeline(ctx context.Context, calls []*call) {
	s.run(ctx, calls, false)
	var again []*call
	for _, c := range calls {
		if err := c.cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		s.run(ctx, again, true)
	}
}

// run ignores the pipeline's own error: it is that of the first command that
// failed, and every command has its own.
func (s *Store) run(ctx context.Context, calls []*call, source bool) {
	p := s.client.Pipeline()
	for _, c := range calls {
		if c.blob != nil {
			p.SetArgs(ctx, c.blobKey, c.blob, redis.SetArgs{Mode: "NX", TTL: blobTTL})
		}
		if source {
			c.cmd = p.Eval(ctx, c.script.source, c.keys, c.args...)
		} else {
			c.cmd = p.EvalSha(ctx, c.script.hash, c.keys, c.args...)
		}
	}
	var replicas *redis.Cmd
	if s.cfg.WaitReplicas > 0 && slices.ContainsFunc(calls, (*call).confirms) {
		replicas = p.Do(ctx, "WAIT", s.cfg.WaitReplicas, waitWithin.Milliseconds())
	}
	_, _ = p.Exec(ctx)
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

// confirms reports whether the call makes something durable: with WaitReplicas it
// counts once so many replicas have it.
func (c *call) confirms() bool {
	switch c.script.hash {
	case saveScript.hash, appendScript.hash, handOffScript.hash, closeScript.hash, noteScript.hash:
		return true
	}
	return false
}

// unconfirm takes the answer OK back: that the primary has it is not enough. The
// call is to be run again.
func (c *call) unconfirm(why error) {
	if !c.confirms() || c.cmd.Err() != nil {
		return
	}
	word := c.cmd.Val()
	if list, ok := word.([]any); ok && len(list) > 0 {
		word = list[0]
	}
	if word == "OK" {
		c.cmd.SetErr(why)
	}
}

var errNotReplicated = errors.New("too few replicas have taken the write")

// word is the answer of a script that gives one word.
func (c *call) word() (string, error) { return c.cmd.Text() }
