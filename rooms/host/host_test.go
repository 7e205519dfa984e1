package host

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func TestMain(m *testing.M) {
	// The codec makes its channels on first use, which must not be in a test's
	// bubble.
	data, err := snapshot.Encode(snapshot.Header{Kind: "warm"}, make([]byte, 4096))
	if err == nil {
		_, _, err = snapshot.Decode(data, "warm", 0)
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// node is a running host.
type node struct {
	*Host
	store *view
	stop  func() // shuts it down in order, once
}

func testConfig(store snapshot.Store, name directory.NodeID, kinds []rooms.Kind) Config {
	return Config{Node: name, Addr: "127.0.0.1:1", Kinds: kinds, Store: store, Log: zerolog.Nop(), SaveWithin: 2 * time.Second}
}

// start runs a host without a network until it has its lease. Links are pipes.
func start(t *testing.T, mem *memStore, name directory.NodeID, kinds ...rooms.Kind) *node {
	t.Helper()
	v := &view{memStore: mem}
	return startWith(t, v, testConfig(v, name, kinds))
}

func startWith(t *testing.T, v *view, cfg Config) *node {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	n := &node{Host: h, store: v}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(n.stop)
	until(t, "host is ready", func() bool { return h.Ready() == nil })
	return n
}

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 10_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func runMesh(t *testing.T, m *link.Mesh) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("mesh: %v", err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// linked is a host behind real links.
type linked struct {
	*node
	addr  string
	crash func()        // it never writes to the store again, and its links break
	dead  chan struct{} // closed when the links of a crash are broken
}

func startLinked(t *testing.T, mem *memStore, name directory.NodeID, kinds ...rooms.Kind) *linked {
	t.Helper()
	return startLinkedWith(t, mem, name, func(*Config) {}, kinds...)
}

func startLinkedWith(t *testing.T, mem *memStore, name directory.NodeID, change func(*Config), kinds ...rooms.Kind) *linked {
	t.Helper()
	mesh := link.New(link.Config{Self: string(name), Cluster: "test"})
	v := &view{memStore: mem}
	cfg := testConfig(v, name, kinds)
	cfg.Mesh = mesh
	cfg.SaveWithin = 100 * time.Millisecond
	change(&cfg)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr, stopMesh := runMesh(t, mesh)
	h.cfg.Addr = addr
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	l := &linked{node: &node{Host: h, store: v}, addr: addr, dead: make(chan struct{})}
	l.stop = sync.OnceFunc(func() { cancel(); <-ended; stopMesh() })
	l.crash = func() {
		v.fail(errDown)
		stopMesh()
		close(l.dead)
		l.stop()
	}
	t.Cleanup(l.stop)
	until(t, "host is ready", func() bool { return h.Ready() == nil })
	return l
}

func activate(t *testing.T, h *Host, room wire.RoomID, mode wire.Mode, floor wire.Epoch) directory.Location {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	loc, err := h.Activate(ctx, room, mode, floor)
	if err != nil {
		t.Fatalf("activate %s: %v", room, err)
	}
	return loc
}

func wantCode(t *testing.T, h *Host, room wire.RoomID, mode wire.Mode, want wire.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := h.Activate(ctx, room, mode, 0); err == nil || wire.CodeOf(err).Code != want {
		t.Fatalf("activate %s: %v, want %v", room, err, want)
	}
}
