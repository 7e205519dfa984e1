package host

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
)

// isolateFlags say which kinds run in processes of their own.
type isolateFlags struct {
	kinds  []string
	memory int // MiB
	ports  int // the first
}

func (i *isolateFlags) register(f *daemon.Flags) {
	f.List(&i.kinds, "isolate", "KIND", "kinds that this host runs in a child process each, which is killed and started again when it hangs, crashes or "+
		"grows too big, so that other kinds' rooms notice nothing")
	f.Int(&i.memory, "isolate-memory", 0, 0, 1<<30, "memory that each of these processes may use, in MiB; one that uses more is ended (on Linux; refused elsewhere); 0: what its container or the machine has")
	f.Int(&i.ports, "isolate-ports", 0, 0, 65_535-3*64, "the first of the ports of these processes, three each: for gossip, links and operations; 0: any free ones")
}

// split takes the isolated kinds out of those that the host runs itself.
func (i *isolateFlags) split(kinds []rooms.Kind) (own []rooms.Kind, err error) {
	served := []string{}
	for _, k := range kinds {
		served = append(served, k.Name)
		if !slices.Contains(i.kinds, k.Name) {
			own = append(own, k)
		}
	}
	slices.Sort(i.kinds)
	i.kinds = slices.Compact(i.kinds)
	for _, name := range i.kinds {
		if !slices.Contains(served, name) {
			return nil, fmt.Errorf("--isolate %s: this program serves %s", name, strings.Join(served, ", "))
		}
	}
	if err := isolate.CanLimitMemory(); i.memory > 0 && err != nil {
		return nil, fmt.Errorf("--isolate-memory: %w", err)
	}
	return own, nil
}

// hangsAtMost is how long a call of a room's code may go on hanging in a process
// of an isolated kind: then that ends, and its rooms go on without the processor
// or the lock that the call holds.
const hangsAtMost = 500 * time.Millisecond

// child is this process as that of an isolated kind, where it is one.
func (s *settings) child(kinds []rooms.Kind) ([]rooms.Kind, error) {
	c, err := isolate.Join()
	if err != nil {
		return nil, err
	}
	name, is := c.Is()
	if !is {
		if strings.Contains(s.cluster.Name, certs.Part) {
			return nil, fmt.Errorf("--name %s: %s is for the processes of isolated kinds", s.cluster.Name, certs.Part)
		}
		return s.isolate.split(kinds)
	}
	s.host.Isolated = c
	s.cluster.Proves, _, _ = strings.Cut(s.cluster.Name, certs.Part)
	s.cluster.LinkListener, s.opsListener = c.Listeners()
	if s.stuckFor > 0 {
		s.stuckFor = min(s.stuckFor, hangsAtMost)
	}
	at := slices.IndexFunc(kinds, func(k rooms.Kind) bool { return k.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("kind %s is no longer served", name)
	}
	return kinds[at : at+1], nil
}

// isolation is a host's child processes, each of which is a host of its own in
// the cluster. Nil where there are none.
type isolation struct {
	cluster  *daemon.Cluster
	store    snapshot.Store
	coroner  *directory.Coroner
	wiring   *daemon.Wiring
	kinds    []rooms.Kind
	children []*isolate.Supervisor
}

// isolated makes the supervisors of a host's isolated kinds.
func (s *settings) isolated(p *daemon.Wiring, all []rooms.Kind, c *daemon.Cluster, store snapshot.Store, coroner *directory.Coroner) (*isolation, error) {
	if len(s.isolate.kinds) == 0 || s.host.Isolated != nil {
		return nil, nil
	}
	i := &isolation{cluster: c, store: store, coroner: coroner, wiring: p, kinds: all}
	metrics := isolate.NewMetrics(p.Metrics)
	for n, kind := range s.isolate.kinds {
		name := s.cluster.Name + certs.Part + kind
		if err := daemon.NodeName(name); err != nil {
			return nil, daemon.BadSetting(fmt.Errorf("--isolate %s: the process's name would be %s: %w", kind, name, err))
		}
		ports := [3]int{}
		if s.isolate.ports > 0 {
			first := s.isolate.ports + 3*n
			ports = [3]int{first, first + 1, first + 2}
		}
		link, err := listenBeside(s.cluster.LinkAddr(), ports[1])
		if err != nil {
			return nil, err
		}
		ops, err := listenBeside(s.ops.Addr, ports[2])
		if err != nil {
			link.Close()
			return nil, err
		}
		gossip := portBeside(s.cluster.Gossip, ports[0])
		i.children = append(i.children, isolate.New(isolate.Config{
			Kind: kind, Parent: s.cluster.Name, Command: slices.Concat(os.Args[:1], words(os.Args[1:]), []string{"--name", name}), Output: os.Stderr, Dir: s.shared,
			Env: func() []string { return s.childEnv(c, gossip, link, ops) }, Link: link, Ops: ops,
			Slots: cmp.Or(s.host.MaxRooms, defaultMaxRooms), Memory: int64(s.isolate.memory) << 20,
			Silence: s.host.LeaseTTL, StopIn: s.drainWithin + stopSlack,
			Died: i.died, Log: p.Log, Metrics: metrics,
		}))
	}
	return i, nil
}

// stopSlack is for what a process has to do beside its drain when it ends.
const stopSlack = 15 * time.Second

func portBeside(addr string, port int) string {
	host, _, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func listenBeside(addr string, port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", portBeside(addr, port))
	if err != nil {
		return nil, fmt.Errorf("listen for an isolated kind: %w", err)
	}
	return ln, nil
}

// childEnv is a child's settings: its host's but for what is its own. Variables
// and no flags, so that a list of processes shows no more than the host's does.
func (s *settings) childEnv(c *daemon.Cluster, gossip string, link, ops net.Listener) (env []string) {
	own := map[string]string{
		"NAME": "", "GOSSIP": gossip, "LINK": link.Addr().String(), "OPS": ops.Addr().String(),
		"JOIN":    strings.Join(append(slices.Clone(s.cluster.Join), c.Members.Addr()), ","),
		"ISOLATE": "", "ISOLATE_MEMORY": "", "ISOLATE_PORTS": "",
	}
	if s.isolate.memory > 0 {
		own["MEMORY"] = strconv.Itoa(s.isolate.memory)
	}
	for _, v := range s.flags.Environment() {
		name, _, _ := strings.Cut(strings.TrimPrefix(v, "LIMPET_"), "=")
		if _, is := own[name]; !is {
			env = append(env, v)
		}
	}
	for _, v := range os.Environ() {
		memory := strings.HasPrefix(v, "GOMEMLIMIT=") && s.isolate.memory > 0
		if !strings.HasPrefix(v, "LIMPET_") && !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !memory {
			env = append(env, v)
		}
	}
	for name, v := range own {
		if v != "" {
			env = append(env, "LIMPET_"+name+"="+v)
		}
	}
	return env
}

// run keeps the children running until ctx is done.
func (i *isolation) run(ctx context.Context) error {
	if i == nil {
		<-ctx.Done()
		return nil
	}
	if !i.cluster.Opened(ctx) {
		return nil
	}
	var all errgroup.Group
	for _, child := range i.children {
		all.Go(func() error { return child.Run(ctx, i.wiring.Hurry()) })
	}
	return all.Wait()
}

// hold ends all children until release.
func (i *isolation) hold(ctx context.Context) error {
	if i == nil {
		return nil
	}
	var all errgroup.Group
	for _, child := range i.children {
		all.Go(func() error { return child.Hold(ctx) })
	}
	return all.Wait()
}

func (i *isolation) release() {
	if i == nil {
		return
	}
	for _, child := range i.children {
		child.Release()
	}
}

// states are how the children do.
func (i *isolation) states() []isolate.State {
	if i == nil {
		return nil
	}
	states := make([]isolate.State, len(i.children))
	for n, child := range i.children {
		states[n] = child.State()
	}
	return states
}
