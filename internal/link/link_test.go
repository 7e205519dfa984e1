package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kindEcho = 0x20
	kindNote = 0x21
)

// node is a mesh that serves on loopback until the test ends.
type node struct {
	*Mesh
	addr string
	stop func()
}

func start(t *testing.T, cfg Config, prepare ...func(*Mesh)) node {
	t.Helper()
	if cfg.Cluster == "" {
		cfg.Cluster = "test"
	}
	m := New(cfg)
	for _, p := range prepare {
		p(m)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, ln) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return node{m, ln.Addr().String(), stop}
}

// shared is an identity from keys, the first of which signs.
func shared(t testing.TB, role, name string, keys ...string) *certs.Links {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, []byte(k))
	}
	l, err := certs.FromKeys(certs.Name{Cluster: "test", Role: role, Node: name}, func() [][]byte { return all })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func echo(m *Mesh) {
	m.OnCall(kindEcho, func(_ context.Context, _ *Link, body []byte) ([]byte, error) { return body, nil })
}

func TestCall(t *testing.T) {
	b := start(t, Config{Self: "b#1", Identity: shared(t, "host", "b", "k")}, echo)
	a := start(t, Config{Self: "a#1", Identity: shared(t, "gateway", "a", "k")})
	for _, size := range []int{0, 1, 100, 64 << 10, 1 << 20} {
		want := bytes.Repeat([]byte{7}, size)
		got, err := a.Call(t.Context(), "b#1", b.addr, kindEcho, want)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("echo of %d bytes: got %d bytes, %v", size, len(got), err)
		}
	}
	if !a.Up("b#1") || !b.Up("a#1") {
		t.Error("the link should be known at both ends")
	}
}

func TestCallErrors(t *testing.T) {
	release := make(chan struct{})
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) {
		m.OnCall(0x22, func(context.Context, *Link, []byte) ([]byte, error) {
			return nil, fmt.Errorf("look: %w", &wire.Error{Code: wire.CodeRoomFull, RetryMS: 70, Text: "no seat"})
		})
		m.OnCall(0x23, func(ctx context.Context, _ *Link, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	bounded := start(t, Config{Self: "c#1", MaxCalls: 2}, func(m *Mesh) {
		m.OnCall(0x24, func(context.Context, *Link, []byte) ([]byte, error) { <-release; return nil, nil })
	})
	a := start(t, Config{Self: "a#1"})
	_, err := a.Call(t.Context(), "b#1", b.addr, 0x22, nil)
	if e := wire.CodeOf(err); e.Code != wire.CodeRoomFull || e.RetryMS != 70 || e.Text != "no seat" {
		t.Errorf("handler's refusal came as %v", err)
	}
	_, err = a.Call(t.Context(), "b#1", b.addr, 0x2f, nil)
	if wire.CodeOf(err).Code != wire.CodeBadRequest {
		t.Errorf("unknown call: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = a.Call(ctx, "b#1", b.addr, 0x23, nil); err == nil {
		t.Error("a call past its deadline should fail")
	}
	l, err := a.Link(t.Context(), "c#1", bounded.addr)
	if err != nil {
		t.Fatal(err)
	}
	// Of three calls that hang, the third is one too many.
	codes := make(chan wire.Code, 3)
	for range 3 {
		go func() {
			_, err := l.Call(t.Context(), 0x24, nil)
			if err == nil {
				codes <- wire.CodeNone
				return
			}
			codes <- wire.CodeOf(err).Code
		}()
	}
	if c := <-codes; c != wire.CodeBusy {
		t.Errorf("third of two calls: %v, want busy", c)
	}
	close(release)
	for range 2 {
		if c := <-codes; c != wire.CodeNone {
			t.Errorf("call within the bound: %v", c)
		}
	}
}

func TestMessagesKeepOrderAndEndInABatch(t *testing.T) {
	const n = 10_000
	var got, batches atomic.Uint64
	done := make(chan struct{})
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) {
		m.OnMessage(kindNote, func(_ *Link, body []byte) {
			if i := binary.BigEndian.Uint64(body); i != got.Add(1)-1 {
				t.Errorf("message %d at place %d", i, got.Load()-1)
			}
		})
		m.OnBatch(func(*Link) {
			batches.Add(1)
			if got.Load() == n {
				close(done)
			}
		})
	})
	a := start(t, Config{Self: "a#1"})
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	var body [8]byte
	for i := range uint64(n) {
		binary.BigEndian.PutUint64(body[:], i)
		if err := l.Send(kindNote, body[:4], body[4:]); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%d of %d messages", got.Load(), n)
	}
	if batches.Load() > n/2 {
		t.Errorf("%d batches for %d messages: nothing was gathered", batches.Load(), n)
	}
}

func TestRefusedPeers(t *testing.T) {
	b := start(t, Config{Self: "b#2", Identity: shared(t, "host", "b", "right")})
	for name, tc := range map[string]struct {
		cfg  Config
		node string
	}{
		"wrong key":     {Config{Self: "a#1", Identity: shared(t, "host", "a", "wrong")}, "b#2"},
		"no key":        {Config{Self: "a#1"}, "b#2"},
		"other cluster": {Config{Self: "a#1", Identity: shared(t, "host", "a", "right"), Cluster: "other"}, "b#2"},
		"other's name":  {Config{Self: "c#1", Identity: shared(t, "host", "a", "right")}, "b#2"},
	} {
		a := start(t, tc.cfg)
		if _, err := a.Link(t.Context(), tc.node, b.addr); err == nil || Refused(err) {
			t.Errorf("%s: %v, want a refusal by the handshake", name, err)
		}
	}
	a := start(t, Config{Self: "a#1", Identity: shared(t, "host", "a", "right")})
	_, err := a.Link(t.Context(), "b#1", b.addr)
	var other *OtherNodeError
	if !errors.As(err, &other) || other.Got != "b#2" {
		t.Errorf("another boot at the address: %v", err)
	}
	b.stop()
	if _, err := a.Link(t.Context(), "b#2", b.addr); !Refused(err) {
		t.Errorf("nobody at the address: %v", err)
	}
}

func TestFullLinkRefuses(t *testing.T) {
	stall := make(chan struct{})
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) {
		m.OnMessage(kindNote, func(*Link, []byte) { <-stall })
	})
	defer close(stall)
	a := start(t, Config{Self: "a#1", QueueBytes: 1 << 20})
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 64<<10)
	for range 10_000 {
		if err = l.Send(kindNote, big, nil); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("a peer that does not read: %v, want ErrFull", err)
	}
}

func TestDownIsToldOnceAtBothEnds(t *testing.T) {
	downs := make(chan string, 4)
	told := func(self string) func(*Mesh) {
		return func(m *Mesh) { m.OnDown(func(l *Link, _ error) { downs <- self + " lost " + l.Peer() }) }
	}
	b := start(t, Config{Self: "b#1"}, told("b"))
	a := start(t, Config{Self: "a#1"}, told("a"))
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	l.Close(io.EOF)
	got := []string{<-downs, <-downs}
	if s := strings.Join(got, ", "); !strings.Contains(s, "a lost b#1") || !strings.Contains(s, "b lost a#1") {
		t.Errorf("downs: %s", s)
	}
	if err := l.Send(kindNote, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send on a closed link: %v", err)
	}
	again, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil || again == l {
		t.Errorf("a new link after the old: %v", err)
	}
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	// A peer that shakes hands and then says nothing.
	quiet := New(Config{Self: "b#1", Cluster: "test"})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conns := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			quiet.handshakeIn(c)
			conns <- c
		}
	}()
	down := make(chan error, 1)
	a := start(t, Config{Self: "a#1", Heartbeat: 10 * time.Millisecond}, func(m *Mesh) {
		m.OnDown(func(_ *Link, cause error) { down <- cause })
	})
	if _, err := a.Link(t.Context(), "b#1", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer func() { (<-conns).Close() }()
	select {
	case cause := <-down:
		if !errors.Is(cause, errSilent) {
			t.Errorf("cause: %v", cause)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a silent peer was not given up")
	}
}

func TestManyDialsShareOneLink(t *testing.T) {
	b := start(t, Config{Self: "b#1"}, echo)
	a := start(t, Config{Self: "a#1"})
	var wg sync.WaitGroup
	links := make([]*Link, 50)
	for i := range links {
		wg.Go(func() { links[i], _ = a.Link(t.Context(), "b#1", b.addr) })
	}
	wg.Wait()
	for _, l := range links {
		if l == nil || l != links[0] {
			t.Fatal("concurrent dials made several links")
		}
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) { m.OnMessage(kindNote, func(*Link, []byte) {}) })
	a := start(t, Config{Self: "a#1"})
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	head, tail := make([]byte, 16), make([]byte, 32)
	for range 2000 {
		l.Send(kindNote, head, tail)
	}
	if n := testing.AllocsPerRun(2000, func() { l.Send(kindNote, head, tail) }); n > 0.1 {
		t.Errorf("%.2f allocations a send, want 0", n)
	}
}

func FuzzHandshake(f *testing.F) {
	m := New(Config{Self: "a#1", Cluster: "test"})
	f.Add(m.open())
	f.Fuzz(func(t *testing.T, p []byte) {
		o, err := readOpening(p)
		if err == nil && len(o.cluster)+len(o.node) > len(p) {
			t.Error("opening longer than its message")
		}
		if err == nil && m.check(o, certs.Name{}) == nil && o.cluster != "test" {
			t.Error("peer of another cluster")
		}
	})
}

// FuzzFrames feeds a link's reader with bytes of a peer that passed its handshake.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, kindPing})
	f.Add([]byte{0, 0, 0, 15, kindCall, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, kindEcho, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		m := New(Config{Self: "a#1", Cluster: "test"})
		echo(m)
		ours, theirs := net.Pipe()
		l := newLink(m, &handshaken{conn: ours, peer: "b#1"})
		go func() { theirs.Write(p); theirs.Close() }()
		l.read()
		m.wg.Wait()
	})
}
