package host

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot/redisstore"
	"github.com/limpet-games/limpet/wire"
)

// Main is a whole room host: a program's main function calls it with the kinds
// that it serves. It reads its settings from flags and environment, runs until
// it is told to stop by SIGINT or SIGTERM, and exits.
//
// With "rehearse", "replay" or "describe" as the first argument the program does
// something else instead; their --help says what.
func Main(kinds ...rooms.Kind) {
	os.Exit(command(filepath.Base(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr, kinds))
}

// settings of a room host's process.
type settings struct {
	cluster daemon.ClusterFlags
	ops     daemon.OpsFlags
	memory  daemon.MemoryFlags
	log     daemon.LogFlags
	store   storeFlags
	host    Config
	isolate isolateFlags
	flags   *daemon.Flags

	opsListener func() (net.Listener, error) // nil: --ops
	served      []rooms.Kind                 // also in processes of their own

	drainWithin time.Duration
	stuckFor    time.Duration
	labels      []string

	shared        string
	restartWithin time.Duration
}

func newFlags(program string, s *settings) *daemon.Flags {
	f := daemon.NewFlags(program, "Runs rooms: keeps their state in memory, saves it, and takes rooms over from hosts that died.")
	s.cluster.Register(f, "127.0.0.1:7400", "127.0.0.1:7401")
	s.store.register(f)
	f.Int(&s.host.MaxRooms, "max-rooms", 20_000, 1, 1_000_000, "live rooms; more are placed elsewhere or turned away as unavailable")
	f.Int(&s.host.MaxActivations, "max-activations", 256, 1, 65_536, "rooms that start at once; more are turned away as busy")
	f.Int(&s.host.MailboxBytes, "mailbox-bytes", 1<<20, 64<<10, 1<<30, "input that waits for one room, in bytes; more is answered busy and sent again")
	f.Int(&s.host.Writer.MaxBytes, "save-bytes", 128<<20, 1<<20, 1<<36, "checkpoints that wait for the store, in bytes; beyond it rooms save later")
	f.Duration(&s.host.LeaseTTL, "lease", 2*time.Second, time.Second, time.Minute,
		"how long the store keeps this host's rooms for it when it falls silent")
	f.Duration(&s.drainWithin, "drain-deadline", 20*time.Second, 0, time.Hour,
		"bound on moving rooms to other hosts when told to stop, and on waiting for a store that does not answer; "+
			"what is left is saved, or waits in shared memory for the next start where there is no store; 0: none are moved")
	f.Bool(&s.host.Rebalance, "rebalance", "move rooms, live, to hosts that carry less while this one carries clearly more than the mean, at most 10 a second; without it, only when limpet rebalance says so")
	f.List(&s.labels, "label", "KEY=VALUE", "what this host is, for kinds that are placed by labels, like region=eu", checkLabel)
	f.String(&s.shared, "shared-memory", sharedMemory, "DIR", "directory in memory through which rooms pass from this process to the next one at a restart in place; empty: there are none")
	f.Duration(&s.restartWithin, "restart-within", 15*time.Second, time.Second, directory.MaxRestart,
		"how long other nodes leave the rooms alone when this host restarts in place")
	s.memory.Register(f)
	f.Duration(&s.stuckFor, "stuck-deadline", 15*time.Second, 0, time.Hour,
		"how long a call of a room's code may hang after its room was given up, until this process drains and exits with status 1, if others take rooms; 0: for ever")
	s.isolate.register(f)
	s.ops.Register(f, "127.0.0.1:7402")
	s.log.Register(f)
	return f
}

// Command is Main with the arguments given. It returns the exit status: 0 after a
// clean end, 1 after a failure, 2 for a wrong setting.
func Command(args []string, out, errOut io.Writer, kinds ...rooms.Kind) int {
	return command("roomd", args, out, errOut, kinds)
}

// OfflineCommand is what Command does with "rehearse", "replay" or "describe" as
// the first argument, for a program that has them as commands of its own.
func OfflineCommand(program string, args []string, out, errOut io.Writer, kinds ...rooms.Kind) int {
	status, ran := runOffline(program, args, out, errOut, kinds)
	if !ran {
		return daemon.ExitUsage
	}
	return status
}

// command speaks of the program by the name under which it was started.
func command(program string, args []string, out, errOut io.Writer, kinds []rooms.Kind) int {
	if status, ran := runOffline(program, args, out, errOut, kinds); ran {
		return status
	}
	var s settings
	f := newFlags(program, &s)
	f.Out, f.Err = out, errOut
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.store.check(); err != nil {
		return f.Bad(err)
	}
	own, err := s.child(kinds)
	if err != nil {
		return f.Bad(err)
	}
	s.flags, s.served, s.host.Kinds, s.host.Bare = f, kinds, own, len(own) < len(kinds)
	return daemon.Run(f, daemon.Process{
		Program: "roomd", Node: s.cluster.Name, Log: s.log, Ops: s.ops, OpsListener: s.opsListener,
		Wire: func(p *daemon.Wiring) error { return s.wire(p) },
	})
}

// wire puts the process's parts together. Each may rely on those before it.
func (s *settings) wire(p *daemon.Wiring) error {
	cfg := s.host
	cfg.Log, cfg.Metrics, cfg.Alarms = p.Log, p.Metrics, p.Alarms
	child := cfg.Isolated
	if _, is := child.Is(); is {
		p.Parts.Add("signs of life", child.Run)
	}
	cfg.Pressure = s.memory.Watch(p).Level
	names, placements, err := announced(cfg.Kinds)
	if err != nil {
		return daemon.BadSetting(err)
	}
	redisstore.LogClient(p.Log)
	store, err := s.store.open(p)
	if err != nil {
		return err
	}
	labels, err := parseLabels(s.labels)
	if err != nil {
		return daemon.BadSetting(err)
	}
	cluster, err := p.OpenCluster(s.cluster, daemon.Self{
		Role: directory.RoleHost, Kinds: names, Placements: placements, Labels: labels,
	})
	if err != nil {
		return err
	}
	cfg.Node, cfg.Addr, cfg.Store, cfg.Mesh = cluster.ID, cluster.Addr, store, cluster.Mesh
	if cfg.Inherited, err = inherited(p); err != nil {
		return err
	}
	if child == nil {
		cfg.Served = s.served
	}
	cfg.Shared = sharedFile(s.shared, s.cluster.Cluster, s.cluster.Name, cluster.Addr)
	cfg.Adopted = cluster.Open
	var coroner *directory.Coroner
	cfg.Back = func(node directory.NodeID) { coroner.TellBack(node, s.restartWithin) }
	cfg.Waits = func(node directory.NodeID) {
		ctx, cancel := context.WithTimeout(context.Background(), tellWithin)
		defer cancel()
		coroner.TellRestarting(ctx, node, s.restartWithin)
	}
	var service *directory.Service
	cfg.Place = func(w directory.Want, not func(directory.NodeID) bool) (*directory.Node, error) {
		return service.Place(w, not)
	}
	cfg.Placed = func(loc directory.Location) { service.Register(loc) }
	cfg.Released = func(room wire.RoomID, epoch wire.Epoch) { service.Unregister(room, epoch) }
	cfg.Peers = func() []*directory.Node { return cluster.Members.View().Hosts }
	h, err := New(cfg)
	if err != nil {
		return daemon.BadSetting(err)
	}
	coroner = directory.NewCoroner(directory.CoronerConfig{
		Members: cluster.Members, Mesh: cluster.Mesh, Log: p.Log, Metrics: p.Metrics,
		EndLease: func(ctx context.Context, node directory.NodeID) error { return endLeases(ctx, store, node) },
	})
	service = directory.NewService(directory.ServiceConfig{
		Members: cluster.Members, Mesh: cluster.Mesh, Host: h, Coroner: coroner, Log: p.Log, Metrics: p.Metrics,
	})
	child.Named(string(cluster.ID), func() bool { return h.Ready() == nil && cluster.Joined() == nil })
	isolated, err := s.isolated(p, s.served, cluster, store, coroner)
	if err != nil {
		return err
	}
	cluster.AddTo(&p.Parts)
	p.Parts.Add("coroner", coroner.Run)
	p.Parts.Add("directory", func(ctx context.Context) error {
		if !cluster.Opened(ctx) { // it registers the rooms that are here, and speaks over links
			return nil
		}
		return service.Run(ctx)
	})
	p.Parts.Add("rooms", h.Run)
	if s.stuckFor > 0 {
		p.Parts.Add("stuck rooms", func(ctx context.Context) error {
			return h.Hopeless(ctx, s.stuckFor, func() bool { return child != nil || h.otherHosts(cluster.Members) })
		})
	}
	p.Parts.Add("load report", func(ctx context.Context) error { return reportLoad(ctx, h, cluster.Members) })

	restart := &restarter{host: h, wiring: p, cluster: cluster, coroner: coroner, within: s.restartWithin, orders: make(chan []string, 1), child: child, isolated: isolated}
	p.Parts.Add("restart", restart.run)
	stop := stopping{host: h, deadline: s.drainWithin, hurry: p.Hurry(), leave: restart.leave,
		others: func() bool { return h.otherHosts(cluster.Members) }}
	p.Parts.Add("drain", func(ctx context.Context) error {
		var both errgroup.Group
		both.Go(func() error { return isolated.run(ctx) })
		both.Go(func() error { return stop.run(ctx) })
		return both.Wait()
	})

	serveOperations(p, h, cluster, service, isolated, restart)
	return nil
}

// announced is what gossip tells of the kinds that are served.
func announced(kinds []rooms.Kind) (names []string, placements map[string]string, err error) {
	placements = map[string]string{}
	for _, k := range kinds {
		if _, err := k.Checked(); err != nil {
			return nil, nil, err
		}
		if err := actor.Check(k); err != nil {
			return nil, nil, err
		}
		names = append(names, k.Name)
		if k.Placement != rooms.LeastLoaded() {
			placements[k.Name] = k.Placement.String()
		}
	}
	return names, placements, nil
}

// otherHosts reports whether some other host takes rooms of this one's kinds.
func (h *Host) otherHosts(m *directory.Members) bool {
	for _, n := range m.View().Hosts {
		serves := slices.ContainsFunc(n.Kinds, func(kind string) bool { _, mine := h.kinds[kind]; return mine })
		if n.ID != m.Self() && !n.Draining && serves {
			return true
		}
	}
	return false
}

const reportEvery = 2 * time.Second

// reportLoad tells gossip how busy this host is, for placement; and, when told
// to end, that it takes no more rooms. It ends ahead of the rooms.
func reportLoad(ctx context.Context, h *Host, m *directory.Members) error {
	every := time.NewTicker(reportEvery)
	defer every.Stop()
	var cpu cpuClock
	full := fullness{maxRooms: h.cfg.MaxRooms}
	for {
		l := h.Load()
		load := directory.Load{
			Rooms:   clipRooms(l.Rooms),
			Members: clipMembers(l.Members),
			CPU:     cpu.percent(time.Now(), cpuUsed()),
			Memory:  memoryUsed(),
		}
		load.Full = full.now(l.Rooms, load.Memory)
		m.Update(h.Draining(), load)
		select {
		case <-h.drains.changed:
		case <-ctx.Done():
			m.Update(true, load)
			return nil
		case <-every.C:
		}
	}
}
