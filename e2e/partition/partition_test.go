// Package partition cuts clusters of real processes apart, each process in a
// network namespace of its own, and holds what clients sent and were told
// against Limpet's promises.
package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/e2e/netns"
	"github.com/limpet-games/limpet/wire"
)

var programs cluster.Config

func TestMain(m *testing.M) {
	status, entered, err := netns.Enter()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		status = 1
	case entered:
		status = run(m)
	}
	os.Exit(status)
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "limpet-partition-")
	if err == nil {
		defer os.RemoveAll(dir)
		programs, err = cluster.Build(context.Background(), dir, 3, 2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const (
	redis = cluster.NodeRedis
	h1    = cluster.NodeHost
	h2    = cluster.NodeHost + 1
	h3    = cluster.NodeHost + 2
	g1    = cluster.NodeGateway
	g2    = cluster.NodeGateway + 1
)

type layout struct {
	name string
	cut  func(*netns.Network) error
	seen bool // hosts and gateways see each other throughout
}

// layouts are the ways in which clusters of three hosts, two gateways and a
// Redis are cut apart. Clients reach both gateways throughout.
var layouts = []layout{
	{"two-way", func(n *netns.Network) error { return n.Part([]int{h1, g1}, []int{h2, h3, g2, redis}) }, false},
	{"one-way", func(n *netns.Network) error { return n.Cut([]int{h1}, []int{h2, h3, g1, g2}) }, false},
	{"host-from-redis", func(n *netns.Network) error { return n.Part([]int{h1}, []int{redis}) }, true},
	{"host-from-all-but-redis", func(n *netns.Network) error { return n.Part([]int{h1}, []int{h2, h3, g1, g2}) }, false},
	{"bridged", func(n *netns.Network) error { return n.Part([]int{h1, g1}, []int{h3, g2}) }, false},
}

// splitFor is how long the cuts last.
func splitFor() time.Duration {
	if os.Getenv("LIMPET_SOAK") != "" {
		return 2 * time.Minute
	}
	return 30 * time.Second
}

const (
	// healWithin bounds the way from a healed network to one membership.
	healWithin = 15 * time.Second
	// copiesWithin bounds the life of a second copy after both can be seen: the
	// rarest way to find it is a round of anti-entropy (docs/directory.md).
	copiesWithin = 40 * time.Second
)

func TestPartitions(t *testing.T) {
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			split(t, i+1, l)
		})
	}
}

// split plays in a cluster, cuts it for a while, and checks everything.
func split(t *testing.T, id int, l layout) {
	ctx, cancel := context.WithTimeout(t.Context(), splitFor()+3*time.Minute)
	defer cancel()
	network, err := netns.New(id)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	c := start(ctx, t, network)
	defer c.Stop()
	fleets := []*load.Fleet{join(ctx, t, c, "ledger-steady"), join(ctx, t, c, "ledger-steady-journal")}
	stop := play(ctx, t, fleets)
	pause(ctx, 3*time.Second)
	if err := l.cut(network); err != nil {
		t.Fatal(err)
	}
	touches := touch(ctx, t, c, splitFor())
	if l.seen { // both copies of a room can be seen, so one has to end although the cut lasts
		took := await(ctx, t, copiesWithin, func() error { return seenByAll(ctx, c) })
		t.Logf("one copy of each room while cut, seen %s after the last join", took)
	}
	if err := network.Heal(); err != nil {
		t.Fatal(err)
	}
	t.Logf("in the split: %s", touches)
	healing(ctx, t, c)
	pause(ctx, 4*time.Second)
	stop()
	settled := time.Now()
	for _, f := range fleets {
		verify(ctx, t, f)
		f.Close()
	}
	t.Logf("all inputs durable and books read after %s more", time.Since(settled).Round(10*time.Millisecond))
	await(ctx, t, healWithin, func() error { return oneCopy(ctx, c) })
	t.Logf("copies that hosts ended because others had the room: %s", superseded(ctx, t, c))
}

func start(ctx context.Context, t *testing.T, network *netns.Network) *cluster.Cluster {
	t.Helper()
	cfg := programs
	cfg.Net = network
	if cfg.Dir = os.Getenv("LIMPET_E2E_LOGS"); cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	} else if cfg.Dir += "/" + t.Name(); os.MkdirAll(cfg.Dir, 0o755) != nil {
		t.Fatal("logs can't be kept in", cfg.Dir)
	}
	c, err := cluster.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func join(ctx context.Context, t *testing.T, c *cluster.Cluster, kind string) *load.Fleet {
	t.Helper()
	f, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: kind, Rooms: 6, PerRoom: 3, Record: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// play has everybody send until the returned function is called.
func play(ctx context.Context, t *testing.T, fleets []*load.Fleet) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, f := range fleets {
		all.Go(func() {
			if err := f.Play(ctx, 4); err != nil {
				t.Errorf("play: %v", err)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// verify holds what a fleet sent and was told against its rooms' books.
func verify(ctx context.Context, t *testing.T, f *load.Fleet) {
	t.Helper()
	if err := f.Settle(ctx); err != nil {
		t.Error(err)
		return
	}
	books, err := f.Books(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	for _, p := range check.Check(f.History(books)) {
		t.Error(p)
	}
	for _, p := range f.Players {
		if got := books[p.RoomName].Applied[p.Name].Last(); got != p.Sent() {
			t.Errorf("%s in %s: inputs up to %d were applied, %d were sent", p.Name, p.RoomName, got, p.Sent())
		}
	}
}

// touches counts what joins to rooms that nobody knew were told.
type touches struct {
	mu      sync.Mutex
	joined  int
	refused map[wire.Code]int
	slowest time.Duration
}

func (s *touches) String() string {
	return fmt.Sprintf("%d new rooms were joined, %v were refused, the slowest answer took %s", s.joined, s.refused, s.slowest.Round(time.Millisecond))
}

// touchWithin bounds the answer to a join: the gateway's own bound and a little.
const touchWithin = 12 * time.Second

// touch joins new rooms through each gateway for a while: some can be had, some
// can't, but each is answered.
func touch(ctx context.Context, t *testing.T, c *cluster.Cluster, long time.Duration) *touches {
	s := &touches{refused: map[wire.Code]int{}}
	end := time.Now().Add(long)
	var all sync.WaitGroup
	for i, url := range c.URLs() {
		all.Go(func() {
			for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
				s.one(ctx, t, url, fmt.Sprintf("new-%d-%d", i, n))
				pause(ctx, min(2*time.Second, time.Until(end)))
			}
		})
	}
	all.Wait()
	return s
}

func (s *touches) one(ctx context.Context, t *testing.T, url, room string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, touchWithin)
	defer cancel()
	cl, err := client.Dial(ctx, client.Config{URLs: []string{url}})
	if err != nil {
		t.Errorf("connect to %s: %v", url, err)
		return
	}
	defer cl.Close()
	_, err = cl.Join(ctx, wire.ModeJoinOrCreate, "ledger", room, nil)
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, took)
	var e *wire.Error
	switch {
	case err == nil:
		s.joined++
	case errors.As(err, &e):
		s.refused[e.Code]++
	default:
		t.Errorf("join of %s through %s was not answered in %s: %v", room, url, took, err)
	}
}

// await is how long it took until nothing was wrong; the test fails after the
// time that it may take.
func await(ctx context.Context, t *testing.T, within time.Duration, wrong func() error) time.Duration {
	t.Helper()
	for began := time.Now(); ; pause(ctx, 100*time.Millisecond) {
		err := wrong()
		took := time.Since(began).Round(10 * time.Millisecond)
		if err == nil {
			return took
		}
		if took > within || ctx.Err() != nil {
			t.Errorf("not within %s: %v", within, err)
			return took
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(max(d, 0)):
	}
}
