package directory

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// A host that restarts in place tells all nodes that it does, and until when
// they are to leave its rooms alone: before that, that it can't be reached
// proves nothing. It says so in the store as well, for those who were not told.

// MaxRestart bounds how long a restart may keep others from a host's rooms.
const MaxRestart = 5 * time.Minute

// maxRestarting bounds the hosts that are known to restart; the oldest is
// forgotten first, and what the store knows still holds.
const maxRestarting = 256

const tellAgain = time.Second // until those that did not answer are told again

// ErrRestarting: a host's lease is not ended, because it restarts in place.
var ErrRestarting = errors.New("the host restarts in place")

// restartingCall tells that a node restarts within a time, or 0: that it is
// back.
type restartingCall struct {
	Node  NodeID `cbor:"1,keyasint"`
	ForMS uint32 `cbor:"2,keyasint"`
}

func (c *restartingCall) check() error {
	if _, err := ParseNodeID(string(c.Node)); err != nil {
		return err
	}
	if time.Duration(c.ForMS)*time.Millisecond > MaxRestart {
		return errors.New("a restart takes at most 5 minutes")
	}
	return nil
}

// Restarting is until when a node is to be left alone because it restarts in
// place, zero if it does not.
func (c *Coroner) Restarting(id NodeID) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, _ := c.restarting.get(id)
	if !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// OnBack registers a function that is called for every node that has restarted
// in place. It must not block. Register before Mesh.Run.
func (c *Coroner) OnBack(f func(NodeID)) { c.onBack = append(c.onBack, f) }

// TellRestarting tells all nodes that node, this process or its predecessor of the
// same name, restarts in place within d. It returns when all have answered, or
// with ctx. Who does not hear of it finds it in the store.
func (c *Coroner) TellRestarting(ctx context.Context, node NodeID, d time.Duration) {
	mine := c.tellings.Add(1)
	c.tellEach(ctx, mine, restartingCall{Node: node, ForMS: uint32(d.Milliseconds())}, map[NodeID]bool{})
}

// TellBack has all nodes told that node is back from its restart. A process that
// has just started knows few of them, so for d it goes on: who comes into view, and
// who did not answer, is told then. Another restart ends that.
func (c *Coroner) TellBack(node NodeID, d time.Duration) {
	mine := c.tellings.Add(1)
	c.inquiries.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		told := map[NodeID]bool{}
		for {
			changed := c.cfg.Members.Changed()
			round, end := context.WithTimeout(ctx, tellWithin)
			latest := c.tellEach(round, mine, restartingCall{Node: node}, told)
			end()
			select {
			case <-changed:
			case <-time.After(tellAgain):
			case <-ctx.Done():
			}
			if !latest || ctx.Err() != nil {
				return
			}
		}
	})
}

// tellEach calls all nodes in view that were not told, and marks those that
// answered; unless there is something newer to tell, which waits for its end.
func (c *Coroner) tellEach(ctx context.Context, telling uint64, call restartingCall, told map[NodeID]bool) (latest bool) {
	c.tell.Lock()
	defer c.tell.Unlock()
	if c.tellings.Load() != telling {
		return false
	}
	body := encode(call)
	nodes := c.cfg.Members.View().Nodes
	answered := make([]bool, len(nodes))
	var all errgroup.Group
	all.SetLimit(64)
	for i, n := range nodes {
		if n.ID == c.cfg.Members.Self() || told[n.ID] {
			continue
		}
		all.Go(func() error {
			_, err := c.cfg.Mesh.Call(ctx, string(n.ID), n.Link, callRestarting, body)
			if answered[i] = err == nil; err != nil {
				c.cfg.Log.Debug().Err(err).Str("node", string(n.ID)).Msg("restart not told to a node")
			}
			return nil
		})
	}
	_ = all.Wait() // each has said what failed
	for i, n := range nodes {
		if answered[i] {
			told[n.ID] = true
		}
	}
	return true
}

func (c *Coroner) handleRestarting(_ context.Context, from *link.Link, body []byte) ([]byte, error) {
	call, err := decode[restartingCall](body)
	if err != nil {
		return nil, err
	}
	if NodeID(from.Peer()).Name() != call.Node.Name() {
		return nil, wire.Refuse(wire.CodeBadRequest, "a node speaks of its own restart alone")
	}
	if d := time.Duration(call.ForMS) * time.Millisecond; d > 0 {
		c.expectBack(call.Node, d)
		return nil, nil
	}
	c.mu.Lock()
	c.restarting.remove(call.Node)
	c.mu.Unlock()
	for _, f := range c.onBack {
		f(call.Node)
	}
	return nil, nil
}

// expectBack leaves a node alone for d, and then looks what became of it.
func (c *Coroner) expectBack(id NodeID, d time.Duration) {
	c.mu.Lock()
	_, waits := c.restarting.get(id)
	c.restarting.put(id, time.Now().Add(d))
	c.mu.Unlock()
	c.cfg.Log.Info().Str("node", string(id)).Dur("for_ms", d).Msg("node restarts in place")
	if !waits {
		c.inquiries.begin(func(ctx context.Context) { c.awaitBack(ctx, id) })
	}
}

// awaitBack looks at a node that is not back in time.
func (c *Coroner) awaitBack(ctx context.Context, id NodeID) {
	for {
		c.mu.Lock()
		until, waits := c.restarting.get(id)
		left := time.Until(until)
		if waits && left <= 0 {
			c.restarting.remove(id)
		}
		c.mu.Unlock()
		switch {
		case !waits:
			return
		case left <= 0:
			c.cfg.Log.Warn().Str("node", string(id)).Msg("node has not come back from its restart in time")
			c.look(id)
			return
		case !sleep(ctx, left):
			return
		}
	}
}
