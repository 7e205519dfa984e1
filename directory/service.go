package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// ServiceConfig is what a Service works with.
type ServiceConfig struct {
	Members *Members
	Mesh    *link.Mesh
	Host    Host
	Coroner *Coroner // told of hosts that don't answer; nil: nobody is

	MaxEntries  int           // rooms that this host keeps entries of; default 500,000
	MaxSearches int           // rooms being activated through this host at once; default 4096
	MaxWaiters  int           // askers of one activation; default 1024
	Within      time.Duration // bound on one activation; default 5 s
	AntiEntropy time.Duration // all rooms are registered anew this often; default 30 s
	Seed        uint64        // of placement; 0: random

	Log     zerolog.Logger
	Metrics prometheus.Registerer
}

func (c *ServiceConfig) setDefaults() {
	c.MaxEntries = cmp.Or(c.MaxEntries, 500_000)
	c.MaxSearches = cmp.Or(c.MaxSearches, 4096)
	c.MaxWaiters = cmp.Or(c.MaxWaiters, 1024)
	c.Within = cmp.Or(c.Within, 5*time.Second)
	c.AntiEntropy = cmp.Or(c.AntiEntropy, 30*time.Second)
	c.Seed = cmp.Or(c.Seed, rand.Uint64())
}

// Service is a host's part of the directory: it keeps the entries of the
// partitions it owns, serialises the activation of their rooms, and registers
// the rooms of its own host with their owners.
type Service struct {
	cfg      ServiceConfig
	self     NodeID
	metrics  serviceMetrics
	table    *table
	searches *flights
	placer   *placer
	outbox   *outbox
	open     *openIndex
}

// maxOutbox bounds the changes that wait for one node.
const maxOutbox = 1 << 18

// NewService registers its calls with the mesh: use it before Mesh.Run and
// Members.Run.
func NewService(cfg ServiceConfig) *Service {
	cfg.setDefaults()
	s := &Service{cfg: cfg, self: cfg.Members.Self()}
	s.table = newTable(cfg.MaxEntries, func() { s.metrics.evicted.Inc() })
	s.searches = newFlights(cfg.MaxSearches, cfg.MaxWaiters, cfg.Within)
	s.placer = newPlacer(rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)))
	s.outbox = newOutbox(maxOutbox, s.sendEntries, func(n int) { s.metrics.unsent.Add(float64(n)) })
	s.open = newOpenIndex(s, rand.New(rand.NewPCG(cfg.Seed, 1)))
	s.metrics = newServiceMetrics(cfg.Metrics, s)
	cfg.Members.OnBury(s.nodeBuried)
	if cfg.Coroner != nil {
		cfg.Coroner.OnBack(s.nodeBack)
	}
	cfg.Mesh.OnQuickCall(callLocate, s.locateKnown, s.handleLocate)
	cfg.Mesh.OnCall(callEntries, s.handleEntries)
	cfg.Mesh.OnCall(callActivate, s.handleActivate)
	cfg.Mesh.OnCall(callOpen, s.handleOpen)
	cfg.Mesh.Only(RoleHost.String(), callEntries, callActivate, callReserve)
	cfg.Mesh.OnCall(callReserve, s.handleReserve)
	return s
}

// Run keeps the directory up to date until ctx is done; it waits for the
// activations under way, which it cancels.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.outbox.run(ctx) })
	loops.Go(func() { s.followRing(ctx) })
	loops.Go(func() { s.repeat(ctx) })
	loops.Wait()
	s.searches.end()
	return nil
}

// Register tells the owners of rooms that they live here, in the background.
// The host calls it when a room starts or takes a higher epoch other than by
// Host.Activate.
func (s *Service) Register(all ...Location) {
	for _, loc := range all {
		s.keep(loc)
		s.pass(change{place: place(loc)})
	}
}

// keep takes an entry in. Where two copies of a room show, the one with the
// lower epoch is over, or ought to be: its host is told of the other. That is
// how a host learns it which can't ask the store, and how a partition's
// duplicates end soon after it has healed.
func (s *Service) keep(loc Location) {
	newer, older, two := s.table.put(loc)
	if two && older.Node != newer.Node && s.cfg.Members.View().Node(older.Node) != nil {
		s.metrics.duplicates.Inc()
		s.tell(older.Node, newer)
	}
}

// tell passes a place on to one node.
func (s *Service) tell(to NodeID, loc Location) {
	if to != s.self {
		s.outbox.put(to, change{place: place(loc)})
	} else {
		s.supersede(loc)
	}
}

// supersede tells this host of a copy elsewhere.
func (s *Service) supersede(newer Location) {
	if newer.Node != s.self {
		s.cfg.Host.Superseded(newer)
	}
}

// Unregister tells the owners that a room no longer lives here as it did at
// that epoch, in the background.
func (s *Service) Unregister(room wire.RoomID, epoch wire.Epoch) {
	s.table.remove(room, epoch)
	s.pass(change{place: place{Room: room, Node: s.self, Epoch: epoch}, Gone: true})
}

// pass queues a change for its room's other owners.
func (s *Service) pass(c change) {
	ring := s.cfg.Members.View().Ring
	for o := range ring.Owners(PartitionOf(c.Room)) {
		if o.ID != s.self {
			s.outbox.put(o.ID, c)
		}
	}
}

const sendWithin = time.Second

func (s *Service) sendEntries(ctx context.Context, to NodeID, batch []change) error {
	n := s.cfg.Members.View().Node(to)
	if n == nil {
		return fmt.Errorf("send entries: %s is gone", to)
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	_, err := s.cfg.Mesh.Call(ctx, string(to), n.Link, callEntries, encode(entriesCall{Changes: batch}))
	return err
}

func (s *Service) handleEntries(_ context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decode[entriesCall](body)
	if err != nil {
		return nil, err
	}
	for _, c := range call.Changes {
		if c.Gone {
			s.table.remove(c.Room, c.Epoch)
		} else if !s.cfg.Members.Buried(c.Node) {
			s.hear(Location(c.place))
		}
	}
	s.metrics.entries.Add(float64(len(call.Changes)))
	return nil, nil
}

// hear takes in what another node says of a room: an entry of a partition
// owned here, as that node sees it, or news for this host about its own copy.
func (s *Service) hear(loc Location) {
	s.keep(loc)
	s.supersede(loc)
}

// registerWithin spreads what hosts send after the ring has changed.
const registerWithin = 300 * time.Millisecond

// followRing registers this host's rooms with owners that are new.
func (s *Service) followRing(ctx context.Context) {
	known := &Ring{}
	for {
		changed := s.cfg.Members.Changed()
		v := s.cfg.Members.View()
		if !sameOwners(known.hosts, v.Ring.hosts) {
			if !sleep(ctx, rand.N(registerWithin)) {
				return
			}
			v = s.cfg.Members.View()
			s.registerNew(known, v.Ring)
			known = v.Ring
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (s *Service) registerNew(before, after *Ring) {
	for _, h := range before.hosts {
		if s.cfg.Members.View().Node(h.ID) == nil {
			s.outbox.forget(h.ID)
		}
	}
	s.cfg.Host.Live(func(loc Location) bool {
		p := PartitionOf(loc.Room)
		for o := range after.Owners(p) {
			if before.owns(p, o.ID) {
				continue
			}
			if o.ID == s.self {
				s.keep(loc)
			} else {
				s.outbox.put(o.ID, change{place: place(loc)})
			}
		}
		return true
	})
}

// repeat registers all rooms of this host now and then, which mends what was
// lost, and drops entries of partitions that this host no longer owns.
func (s *Service) repeat(ctx context.Context) {
	for sleep(ctx, s.cfg.AntiEntropy*3/4+rand.N(s.cfg.AntiEntropy/2)) {
		ring := s.cfg.Members.View().Ring
		s.table.drop(func(loc Location) bool { return !ring.owns(PartitionOf(loc.Room), s.self) })
		s.cfg.Host.Live(func(loc Location) bool {
			if ring.owns(PartitionOf(loc.Room), s.self) {
				s.keep(loc)
			}
			s.pass(change{place: place(loc)})
			return true
		})
	}
}

// nodeBuried drops the entries of a node that is gone for good.
func (s *Service) nodeBuried(id NodeID) {
	n := s.table.drop(func(loc Location) bool { return loc.Node == id })
	s.outbox.forget(id)
	s.cfg.Log.Info().Str("node", string(id)).Int("entries", n).Msg("entries of buried node dropped")
}

// nodeBack registers this host's rooms with a host whose entries went with its
// former process.
func (s *Service) nodeBack(id NodeID) {
	ring := s.cfg.Members.View().Ring
	s.cfg.Host.Live(func(loc Location) bool {
		if ring.owns(PartitionOf(loc.Room), id) {
			s.outbox.put(id, change{place: place(loc)})
		}
		return true
	})
}

func (s *Service) handleActivate(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decode[activateCall](body)
	if err != nil {
		return nil, err
	}
	loc, err := s.activateHere(ctx, &call)
	var h *HeldElsewhere
	switch {
	case errors.As(err, &h):
		return encode(activateReply{Held: &held{Node: h.Node, Epoch: h.Epoch}}), nil
	case err != nil:
		return nil, err
	}
	at := place(loc)
	return encode(activateReply{At: &at}), nil
}

func (s *Service) handleOpen(_ context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decode[openCall](body)
	if err != nil {
		return nil, err
	}
	return encode(s.openHere(&call)), nil
}

// sleep waits, and reports false if ctx ended first. Where there is nothing to
// wait for it makes no timer: goroutines of one synctest bubble that take timers
// which have ended crash each other under the race detector (Go 1.26).
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
