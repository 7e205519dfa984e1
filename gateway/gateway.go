// Package gateway is the edge: it holds players' WebSockets, finds the hosts of
// their rooms, passes inputs on, and writes what rooms say to the sockets. It
// keeps nothing that another gateway would need: a membership belongs to its
// room, and a signed token lets its client come back anywhere.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// Gateway serves clients. Make one with New, then Run it once.
type Gateway struct {
	// Static.
	cfg       Config
	limits    Limits
	tokens    *tokens
	origins   map[string]bool
	metrics   *metrics
	addresses *addresses
	admission *admission
	log       zerolog.Logger
	noise     zerolog.Logger // sampled: what clients can bring about
	start     time.Time
	finds     chan struct{} // one token a lookup of a lost room

	ctx    context.Context // ends with Run
	cancel context.CancelFunc
	wg     sync.WaitGroup // connections, joins, finders

	loops   []*loop        // static
	looping sync.WaitGroup // of the loops, which end after the connections
	dealt   atomic.Uint64  // connections, to loops

	callers  callers
	handover *handover // static

	lobby lobby

	mu         sync.RWMutex
	closed     bool                   // no goroutine starts any more; the rest is guarded by mu
	draining   bool                   // no connection is taken any more
	conns      []*conn                // in no order
	upgrading  int                    // connections that are about to be in conns
	http       int                    // connections that are not WebSockets yet
	joins      int                    // joins and resumes under way
	hosts      map[*link.Link]*host   // by the links that have routes
	rooms      map[wire.RoomID]*route //
	handles    map[wire.Handle]*route // the same routes
	lastHandle wire.Handle
	tended     map[*route]struct{}                // routes with members to attach again
	suspects   map[directory.NodeID]bool          // nodes being looked into
	redials    map[directory.NodeID]bool          // nodes being tried again
	returns    map[directory.NodeID]chan struct{} // nodes that restart in place: closed when they are there again
}

// New makes a gateway and registers it with the mesh: call it before Mesh.Run.
func New(cfg Config) (*Gateway, error) {
	if cfg.Mesh == nil || cfg.Directory == nil {
		return nil, errors.New("gateway needs a mesh and a directory")
	}
	cfg.Limits.setDefaults()
	tokens, err := newTokens(cfg.Cluster, cfg.Keys)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, limits: cfg.Limits, tokens: tokens, origins: map[string]bool{},
		metrics: newMetrics(cfg.Metrics), start: time.Now(),
		finds: make(chan struct{}, cfg.Limits.Finds),
		log:   cfg.Log, noise: cfg.Log.Sample(&zerolog.BurstSampler{Burst: 5, Period: time.Second}),
		hosts: map[*link.Link]*host{}, rooms: map[wire.RoomID]*route{},
		handles: map[wire.Handle]*route{}, tended: map[*route]struct{}{},
		suspects: map[directory.NodeID]bool{}, redials: map[directory.NodeID]bool{},
		returns: map[directory.NodeID]chan struct{}{},
	}
	g.lobby = lobby{g: g, pages: map[pageKey]*page{}}
	g.callers.init()
	g.handover = newHandover(g.limits.HTTP)
	g.addresses = newAddresses(&g.limits, g.metrics)
	g.admission = newAdmission(&g.limits, cfg.TLS != nil)
	for _, o := range cfg.Origins {
		origin, err := parseOrigin(o)
		if err != nil {
			return nil, fmt.Errorf("allowed origin: %w", err)
		}
		g.origins[origin] = true
	}
	if len(cfg.Keys) == 0 {
		g.log.Warn().Msg("no token key is set: members can resume through this process only")
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.openLoops()
	g.register(cfg.Mesh)
	return g, nil
}

// begin runs f in a goroutine that Run waits for. False: the gateway is closed.
func (g *Gateway) begin(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

// forget takes a connection that has ended away.
func (g *Gateway) forget(c *conn) {
	g.mu.Lock()
	last := len(g.conns) - 1
	g.conns[c.at] = g.conns[last]
	g.conns[c.at].at = c.at
	g.conns[last] = nil
	g.conns = g.conns[:last]
	g.mu.Unlock()
	g.addresses.close(c.from.addr())
	g.metrics.connections.Dec()
	g.metrics.closes.WithLabelValues(closeLabel(uint16(c.ended.Load()))).Inc()
	g.wg.Done()
}

// connections lists those that are open.
func (g *Gateway) connections() []*conn {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Clone(g.conns)
}

// some copies as many of the connections as some has room for, from a place on.
// One that moves meanwhile may be passed over.
func (g *Gateway) some(some []*conn, from int) int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return copy(some, g.conns[min(from, len(g.conns)):])
}
