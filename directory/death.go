package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// CoronerConfig is what a Coroner works with.
type CoronerConfig struct {
	Members *Members
	Mesh    *link.Mesh
	// EndLease ends a dead host's lease in the store, at once. Nil on nodes
	// without a store: they ask a host. ErrRestarting: the host is to be left
	// alone until its restart is over, dead or not.
	EndLease func(ctx context.Context, node NodeID) error

	Log     zerolog.Logger
	Metrics prometheus.Registerer
}

// Coroner establishes that a process is gone. Gossip's word is not enough for
// that, nor is silence: a paused or cut-off process is silent too. Proof is
// that two nodes were refused a connection at its link address, or found
// another boot of the same name there. Every process has one Coroner; it
// answers for others too, and looks at a host by itself when a link to it
// breaks and when a later boot of its name appears.
type Coroner struct {
	cfg       CoronerConfig
	inquiries *inquiries
	inquests  *prometheus.CounterVec
	onBack    []func(NodeID)

	mu     sync.Mutex
	proven recent[NodeID, struct{}] // known to be gone, here or by another's word; guarded by mu
	// restarting are nodes to be left alone, and until when; guarded by mu.
	restarting recent[NodeID, time.Time]

	tell     sync.Mutex    // held while the nodes are told of this one's restart, or of its end
	tellings atomic.Uint64 // how often there was something to tell
}

// Times of an inquiry.
const (
	knockWithin    = 300 * time.Millisecond // a dial and an answer
	knockPause     = 10 * time.Millisecond
	endLeaseWithin = time.Second
	askWithin      = knockWithin + endLeaseWithin + 200*time.Millisecond
	inquireWithin  = 4 * time.Second
	tellWithin     = time.Second
	maxInquiries   = 256
	maxConfirmers  = 3
)

// NewCoroner registers its calls with the mesh: use it before Mesh.Run.
func NewCoroner(cfg CoronerConfig) *Coroner {
	c := &Coroner{cfg: cfg, inquiries: newInquiries(maxInquiries), proven: newRecent[NodeID, struct{}](maxBuried),
		restarting: newRecent[NodeID, time.Time](maxRestarting)}
	c.inquests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "limpet_directory_suspicions_total", Help: "Inquiries into whether a host is gone, by result.",
	}, []string{"result"})
	register(cfg.Metrics, c.inquests)
	cfg.Mesh.OnCall(callPing, func(context.Context, *link.Link, []byte) ([]byte, error) { return nil, nil })
	cfg.Mesh.OnCall(callConfirm, c.handleConfirm)
	cfg.Mesh.OnCall(callBuried, c.handleBuried)
	cfg.Mesh.OnCall(callRestarting, c.handleRestarting)
	// A boot that was buried for its successor's sake may still have a lease.
	cfg.Members.OnBury(c.look)
	cfg.Mesh.OnDown(func(l *link.Link, cause error) { c.linkDown(NodeID(l.Peer()), cause) })
	return c
}

// Run lets inquiries go on until ctx is done and waits for their end.
func (c *Coroner) Run(ctx context.Context) error {
	<-ctx.Done()
	c.inquiries.end()
	return nil
}

// Suspect looks into whether a node is gone, and reports whether that is
// proven; then the node is buried here, and its lease has been ended or will
// end by itself. False proves nothing. Call it when a link to the node broke;
// concurrent calls for one node share one inquiry, which takes at most 4 s and
// some 5 ms where connections are refused.
func (c *Coroner) Suspect(ctx context.Context, id NodeID) bool {
	if c.isProven(id) {
		return true
	}
	n := c.cfg.Members.record(id)
	if n == nil || id == c.cfg.Members.Self() || !c.Restarting(id).IsZero() {
		return false
	}
	return c.inquiries.share(ctx, "suspect "+string(id), func(ctx context.Context) bool { return c.inquire(ctx, n) })
}

// suspectSoon is Suspect for those who don't wait for the result.
func (c *Coroner) suspectSoon(id NodeID) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	c.Suspect(ended, id)
}

func (c *Coroner) linkDown(id NodeID, cause error) {
	if !errors.Is(cause, link.ErrClosed) {
		c.look(id)
	}
}

func (c *Coroner) look(id NodeID) {
	if n := c.cfg.Members.record(id); n != nil && n.Role == RoleHost {
		c.suspectSoon(id)
	}
}

func (c *Coroner) isProven(id NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.proven.get(id)
	return ok
}

// bury buries a node on proof.
func (c *Coroner) bury(id NodeID) {
	c.mu.Lock()
	c.proven.put(id, struct{}{})
	c.mu.Unlock()
	c.cfg.Members.Bury(id)
}

func (c *Coroner) inquire(ctx context.Context, n *Node) bool {
	refused := c.refused(ctx, n.ID, n.Link)
	if refused && c.seconded(ctx, n) {
		c.inquests.WithLabelValues("gone").Inc()
		c.bury(n.ID)
		return true
	}
	c.inquests.WithLabelValues("unproven").Inc()
	if refused {
		c.cfg.Members.Doubt(n.ID)
	}
	return false
}

// refused reports whether this process can tell that id is not at addr. It
// tries again where a connection ends halfway: a dying process's socket may
// still take some.
func (c *Coroner) refused(ctx context.Context, id NodeID, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, knockWithin)
	defer cancel()
	for {
		err := c.knock(ctx, id, addr)
		var other *link.OtherNodeError
		var refusal *wire.Error
		switch {
		case err == nil, errors.As(err, &refusal):
			return false // it answers
		case link.Refused(err):
			return true
		case errors.As(err, &other):
			// Another name at the address proves a mistake in somebody's
			// configuration, not a death.
			return NodeID(other.Got).Name() == id.Name()
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(knockPause):
		}
	}
}

func (c *Coroner) knock(ctx context.Context, id NodeID, addr string) error {
	l, err := c.cfg.Mesh.Link(ctx, string(id), addr)
	if err == nil {
		_, err = l.Call(ctx, callPing, nil)
	}
	return err
}

// seconded asks other nodes to look too. A host that agrees has ended the
// lease. Gateways are asked only where there is no other host, by a host that
// can end the lease itself.
func (c *Coroner) seconded(ctx context.Context, n *Node) bool {
	hosts, gateways := c.confirmers(n.ID)
	for _, h := range hosts {
		if gone, err := c.ask(ctx, h, n); err == nil {
			return gone
		}
	}
	if c.cfg.EndLease == nil {
		return false
	}
	for _, g := range gateways {
		if gone, err := c.ask(ctx, g, n); err == nil {
			return gone && c.certify(ctx, n.ID)
		}
	}
	return false
}

// confirmers ranks who to ask about a death, so that all who suspect it ask
// the same host first.
func (c *Coroner) confirmers(id NodeID) (hosts, gateways []*Node) {
	for _, n := range c.cfg.Members.View().Nodes {
		switch {
		case n.ID == id || n.ID == c.cfg.Members.Self():
		case n.Role == RoleHost:
			hosts = append(hosts, n)
		default:
			gateways = append(gateways, n)
		}
	}
	rank := func(n *Node) uint64 {
		return mix(xxhash.Sum64String(string(n.ID)) ^ xxhash.Sum64String(string(id)))
	}
	byRank := func(a, b *Node) int { return cmp.Compare(rank(a), rank(b)) }
	slices.SortFunc(hosts, byRank)
	slices.SortFunc(gateways, byRank)
	return hosts[:min(len(hosts), maxConfirmers)], gateways[:min(len(gateways), maxConfirmers)]
}

func (c *Coroner) ask(ctx context.Context, witness, n *Node) (gone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	body, err := c.cfg.Mesh.Call(ctx, string(witness.ID), witness.Link, callConfirm, encode(confirmCall{Node: n.ID, Addr: n.Link}))
	if err != nil {
		return false, err
	}
	reply, err := decodeReply[confirmReply](body)
	return reply.Gone, err
}

func (c *Coroner) handleConfirm(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decode[confirmCall](body)
	if err != nil {
		return nil, err
	}
	gone := c.isProven(call.Node) ||
		c.inquiries.share(ctx, "confirm "+string(call.Node), func(ctx context.Context) bool { return c.confirm(ctx, call) })
	return encode(confirmReply{Gone: gone}), nil
}

// confirm is the second witness, on behalf of the first.
func (c *Coroner) confirm(ctx context.Context, call confirmCall) bool {
	addr := call.Addr
	if n := c.cfg.Members.record(call.Node); n != nil {
		addr = n.Link // its own word, not the asker's
	}
	if call.Node == c.cfg.Members.Self() || !c.Restarting(call.Node).IsZero() || !c.refused(ctx, call.Node, addr) {
		return false
	}
	return c.cfg.EndLease == nil || c.certify(ctx, call.Node)
}

// Certify takes the word of a process's supervisor that it is gone. Call it for a
// child of this process that has ended, and for nothing else.
func (c *Coroner) Certify(ctx context.Context, id NodeID) bool { return c.certify(ctx, id) }

// certify acts on proof: it ends the lease, buries the node and tells all. A
// store that can't be asked does not undo the proof: the lease ends by itself.
func (c *Coroner) certify(ctx context.Context, id NodeID) bool {
	ctx, cancel := context.WithTimeout(ctx, endLeaseWithin)
	defer cancel()
	switch err := c.cfg.EndLease(ctx, id); {
	case errors.Is(err, ErrRestarting):
		c.cfg.Log.Info().Str("node", string(id)).Msg("host can't be reached and restarts in place: it is left alone")
		return false
	case err != nil:
		c.cfg.Log.Warn().Err(err).Str("node", string(id)).Msg("end lease of dead host")
	}
	c.bury(id)
	c.inquiries.begin(func(ctx context.Context) { c.tellAll(ctx, id) })
	return true
}

// tellAll passes a burial on. Who does not hear of it learns it by gossip.
func (c *Coroner) tellAll(ctx context.Context, id NodeID) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(32)
	body := encode(buriedCall{Node: id})
	for _, n := range c.cfg.Members.View().Nodes {
		if n.ID == c.cfg.Members.Self() {
			continue
		}
		all.Go(func() error {
			if _, err := c.cfg.Mesh.Call(ctx, string(n.ID), n.Link, callBuried, body); err != nil {
				return fmt.Errorf("tell %s: %w", n.ID, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		c.cfg.Log.Debug().Err(err).Str("node", string(id)).Msg("burial not told to all")
	}
}

func (c *Coroner) handleBuried(_ context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decode[buriedCall](body)
	if err != nil {
		return nil, err
	}
	c.bury(call.Node)
	return nil, nil
}
