package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/alarm"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Config sets up a Host. Zero options take their defaults.
type Config struct {
	Node  directory.NodeID // this process, NAME#BOOT
	Addr  string           // its link address, as gateways dial it
	Kinds []rooms.Kind
	// Served are the kinds of which rollouts are confirmed here: also those that
	// run in processes of their own; nil: Kinds.
	Served []rooms.Kind
	Store  snapshot.Store
	Mesh   *link.Mesh // New registers this package's handlers on it, so it must not run yet
	// Alarms wake rooms, and run for longer than the host; nil: a timer of Go's each.
	Alarms *alarm.Clock

	// Pressure says what the process must not take on any more; nil: nothing.
	Pressure func() pressure.Level

	MaxRooms       int           // live rooms; more are turned away as unavailable; default 20,000
	MaxActivations int           // activations under way; more are turned away as busy; default 256
	MaxHandles     int           // rooms that one gateway may name on a link; default 65,536
	MailboxBytes   int           // input payload that waits for a room; more is dropped as busy; default 1 MiB
	ClaimWithin    time.Duration // bound on an activation; default 5 s
	SaveWithin     time.Duration // bound on the last saves at shutdown; default 10 s

	// LeaseTTL is the store's lease of this process: a host that hangs for so
	// long can lose its rooms, one that dies unnoticed keeps them for so long.
	// It is renewed four times as often. Default 2 s.
	LeaseTTL time.Duration
	// Writer bounds the checkpoint queue; Store, OnState, Log and Metrics are
	// set by New.
	Writer snapshot.WriterConfig

	// Place picks a host for a room that moves away; nil: rooms move only to
	// hosts that are named.
	Place func(w directory.Want, not func(directory.NodeID) bool) (*directory.Node, error)
	// Peers are the hosts of the cluster, as gossip has them; nil: rooms are never
	// rebalanced. Rebalance has this one begin by itself, when it carries clearly
	// more than the others for some time.
	Peers     func() []*directory.Node
	Rebalance bool
	// Placed is told of rooms that came to live here by a move, Released of
	// copies that are over. Neither may block.
	Placed   func(directory.Location)
	Released func(wire.RoomID, wire.Epoch)

	// Inherited is what a predecessor left in this process, nil at a fresh start.
	Inherited *Legacy
	// Shared is the file in shared memory through which rooms pass from one
	// process of this host to the next; "": they pass through the store.
	Shared string
	// Adopted is called once when what a predecessor left has been taken up.
	// Back is told the node whose restart is over, Waits every few seconds the one
	// whose rooms still wait for the store. None may block for long.
	Adopted func()
	Back    func(directory.NodeID)
	Waits   func(directory.NodeID)

	// Isolated is this process as the child of another; nil: it is none.
	Isolated *isolate.Child
	// Bare lets a host have no kinds of its own: it serves the directory.
	Bare bool

	MaxArrivals  int // rooms that move here at once; more are refused as busy; default 64
	ArrivalBytes int // of all of them, while they are on their way; default 256 MiB

	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
}

const defaultMaxRooms = 20_000

func (c *Config) setDefaults() {
	setDefault(&c.MaxRooms, defaultMaxRooms)
	setDefault(&c.MaxActivations, 256)
	setDefault(&c.MaxHandles, 65_536)
	setDefault(&c.MailboxBytes, 1<<20)
	setDefault(&c.ClaimWithin, 5*time.Second)
	setDefault(&c.SaveWithin, 10*time.Second)
	setDefault(&c.LeaseTTL, 2*time.Second)
	setDefault(&c.MaxArrivals, 64)
	setDefault(&c.ArrivalBytes, 256<<20)
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

func (c *Config) check() error {
	switch {
	case c.Node == "":
		return errors.New("room host: Node is not set")
	case c.Store == nil:
		return errors.New("room host: Store is not set")
	case c.MailboxBytes < 2*wire.MaxInput:
		return fmt.Errorf("room host: MailboxBytes is %d, want at least %d", c.MailboxBytes, 2*wire.MaxInput)
	case len(c.Kinds) == 0 && !c.Bare:
		return errors.New("room host: no kinds to serve")
	}
	return nil
}

// Host runs the rooms of one process. Its methods may be called concurrently;
// it implements directory.Host.
type Host struct {
	// Static.
	cfg       Config
	log       zerolog.Logger
	kinds     map[string]rooms.Kind
	metrics   *metrics
	lease     *lease
	writer    *snapshot.Writer
	claims    *batcher[snapshot.ClaimRequest, snapshot.ClaimResult]
	closes    *batcher[snapshot.CloseRequest, error]
	handOffs  *batcher[snapshot.HandOffRequest, snapshot.HandOffResult]
	appender  *appender
	faults    *faults
	stuck     stuckRooms
	arrivals  *arrivals
	trails    *trails
	drains    drains
	balancer  *balancer
	acts      chan struct{} // slots of operators' acts
	chronicle chronicle
	adoption  adoption
	failures  struct{ loads, panics, stuck, refused atomic.Int64 }
	notes     *batcher[snapshot.NoteRequest, error]
	beats     beats
	kept      keptWrites
	versions  *versions

	restarting atomic.Bool // rooms go to the next process, and none is taken
	forsaken   atomic.Bool // and without the store, which is asked nothing any more

	storeUp  storeState
	running  sync.WaitGroup // every goroutine of rooms and activations
	unsaved  sync.WaitGroup // rooms that have not been saved for the last time
	released chan struct{}  // closed at shutdown when rooms may tell their gateways
	members  atomic.Int64

	gatewaysMu sync.RWMutex
	gateways   map[conn]*gateway

	mu      sync.RWMutex
	ctx     context.Context         // of rooms and activations; nil before Run, then constant; guarded by mu
	live    map[wire.RoomID]*room   // guarded by mu
	flights map[wire.RoomID]*flight // guarded by mu
	closing bool                    // no activation any more; guarded by mu
}

var _ directory.Host = (*Host)(nil)

// New makes a host that has no rooms yet. It takes activations once Run runs
// and has a lease.
func New(cfg Config) (*Host, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	h := &Host{
		cfg: cfg, log: cfg.Log,
		kinds:    make(map[string]rooms.Kind, len(cfg.Kinds)),
		released: make(chan struct{}),
		gateways: map[conn]*gateway{},
		live:     map[wire.RoomID]*room{},
		flights:  map[wire.RoomID]*flight{},
		faults:   newFaults(),
		acts:     make(chan struct{}, maxActs),
	}
	for _, k := range cfg.Kinds {
		k, err := k.Checked()
		if err != nil {
			return nil, fmt.Errorf("room host: %w", err)
		}
		if _, twice := h.kinds[k.Name]; twice {
			return nil, fmt.Errorf("room host: kind %s is given twice", k.Name)
		}
		h.kinds[k.Name] = k
	}
	var err error
	if h.versions, err = newVersions(h); err != nil {
		return nil, err
	}
	h.metrics = newMetrics(cfg.Metrics, h)
	h.lease = newLease(h)
	h.claims = newBatcher("claim rooms", cfg.MaxActivations, cfg.Store.Claim)
	h.closes = newBatcher("close rooms", cfg.MaxActivations, cfg.Store.Close)
	h.notes = newBatcher("note failures", cfg.MaxActivations, cfg.Store.Note)
	h.appender = newAppender(cfg.Store, h.metrics)
	h.handOffs = newBatcher("hand rooms off", cfg.MaxActivations, cfg.Store.HandOff)
	h.beats.host = h
	h.arrivals, h.trails = newArrivals(), newTrails()
	h.drains.changed = make(chan struct{}, 1)
	h.balancer = newBalancer(h)
	h.adoption.done = make(chan struct{})
	w := cfg.Writer
	w.Store, w.Log, w.Metrics, w.Gather = cfg.Store, cfg.Log, cfg.Metrics, gather
	w.OnState = func(up bool) { h.storeChanged(&h.storeUp.writerDown, !up) }
	h.writer = snapshot.NewWriter(w)
	h.register()
	return h, nil
}

// Run runs the host until ctx is done. Then it takes no rooms any more, saves
// all it has within Config.SaveWithin, ends its lease, tells the gateways, and
// returns when everything it started has ended. The links and the store must
// outlive it. It is called once.
func (h *Host) Run(ctx context.Context) error {
	services, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	leased, stopLease := context.WithCancel(services)
	defer stopLease()
	var eg errgroup.Group
	eg.Go(func() error { return h.lease.run(leased) })
	for _, run := range []func(context.Context) error{
		h.writer.Run, h.claims.run, h.closes.run, h.notes.run, h.handOffs.run, h.appender.run, h.watch, h.beats.run, h.versions.run,
	} {
		eg.Go(func() error { return run(services) })
	}
	roomsCtx, stopRooms := context.WithCancelCause(services)
	h.open(roomsCtx)
	eg.Go(func() error { h.adopt(roomsCtx); return nil })
	eg.Go(func() error { return h.balancer.run(roomsCtx) })
	<-ctx.Done()
	err := h.shutdown(stopRooms, stopLease)
	stopServices()
	return errors.Join(err, eg.Wait())
}

// open lets activations begin.
func (h *Host) open(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx = ctx
}

// Live calls yield for every room that lives here.
func (h *Host) Live(yield func(directory.Location) bool) {
	for _, r := range h.all() {
		if !yield(r.location()) {
			return
		}
	}
}

// all is every live copy now.
func (h *Host) all() []*room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]*room, 0, len(h.live))
	for _, r := range h.live {
		all = append(all, r)
	}
	return all
}

// find is the live copy of a room, nil where there is none.
func (h *Host) find(id wire.RoomID) *room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.live[id]
}

// Ready says why the host can take no new room now, or nil.
func (h *Host) Ready() error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	switch {
	case h.closing || h.ctx == nil:
		return errors.New("host is not running")
	case h.Draining():
		return errors.New("host drains")
	case h.restarting.Load():
		return errors.New("host restarts")
	case !isDone(h.adoption.done):
		return errors.New("host takes up the rooms of its predecessor")
	case !h.lease.granted():
		return errors.New("host has no lease in the store")
	case len(h.live) >= h.cfg.MaxRooms:
		return fmt.Errorf("host is full: %d rooms", len(h.live))
	case h.pressed():
		return errors.New("host is short of memory or descriptors")
	}
	return nil
}
