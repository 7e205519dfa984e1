package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/limpet-games/limpet/internal/alarm"
	"github.com/limpet-games/limpet/internal/certs"
)

// Config says who this process is and how its links behave.
type Config struct {
	Self       string        // this process, NAME#BOOT
	Cluster    string        // both ends must agree
	Identity   *certs.Links  // what both ends prove, by TLS; nil: links are plain, and anybody may come
	QueueBytes int           // unsent bytes a link may hold before Send answers ErrFull; default 16 MiB
	MaxCalls   int           // calls of one peer handled at once; more are answered busy; default 4096
	MaxLinks   int           // inbound links; more are refused; default 4096
	Heartbeat  time.Duration // default 500 ms; higher detects a silent peer later
	DialWithin time.Duration // bound on a dial and its handshake; default 1 s
	// Dial connects to an address; nil: by TCP. An address where no process
	// listens is ECONNREFUSED.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
	Alarms  *alarm.Clock          // for beats and waits; it runs for longer than the mesh; nil: timers of Go's
}

func (c *Config) setDefaults() {
	if c.QueueBytes == 0 {
		c.QueueBytes = 16 << 20
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = 4096
	}
	if c.MaxLinks == 0 {
		c.MaxLinks = 4096
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 500 * time.Millisecond
	}
	if c.DialWithin == 0 {
		c.DialWithin = time.Second
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
}

// CallHandler answers calls. It runs in a goroutine of its own; ctx ends with
// the caller's deadline or the link. body belongs to it.
type CallHandler func(ctx context.Context, from *Link, body []byte) ([]byte, error)

// QuickHandler answers calls on the link's reader, so it must not block: what it
// can't answer from memory it leaves (ok is false) to the kind's CallHandler. body
// is valid only during the call; the answer is appended to reply.
type QuickHandler func(from *Link, body, reply []byte) (answer []byte, ok bool, err error)

// MessageHandler takes one-way messages, in order, on the link's reader: it
// must not block, and body is valid only during the call.
type MessageHandler func(from *Link, body []byte)

// Mesh owns this process's links. Handlers are registered before Run.
type Mesh struct {
	cfg     Config
	noise   zerolog.Logger // sampled: what each join would bring about again
	metrics metrics
	dials   singleflight.Group

	// Static after Run has started.
	calls    [256]CallHandler
	quick    [256]QuickHandler
	messages [256]MessageHandler
	only     [256]string // role that a kind may come from; empty: any
	onBatch  []func(*Link)
	onDown   []func(*Link, error)

	ctx    context.Context // ends with the mesh
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // every goroutine of every link

	answers sync.Pool // of chan answer, for calls to come

	mu     sync.Mutex
	links  map[string][]*Link // by peer; guarded by mu
	total  int                // guarded by mu
	closed bool               // guarded by mu
}

// New makes a mesh without links.
func New(cfg Config) *Mesh {
	cfg.setDefaults()
	m := &Mesh{cfg: cfg, links: map[string][]*Link{}, metrics: newMetrics(cfg.Metrics),
		noise: cfg.Log.Sample(&zerolog.BurstSampler{Burst: 4, Period: 10 * time.Second})}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	return m
}

// Self is this process's NAME#BOOT.
func (m *Mesh) Self() string { return m.cfg.Self }

// OnCall registers the handler of calls of a kind.
func (m *Mesh) OnCall(kind uint8, h CallHandler) {
	if kind < firstFree || m.calls[kind] != nil {
		panic(fmt.Sprintf("link: call kind %#x is taken", kind))
	}
	m.calls[kind] = h
}

// OnQuickCall registers handlers of calls of a kind: h gets what quick leaves.
func (m *Mesh) OnQuickCall(kind uint8, quick QuickHandler, h CallHandler) {
	m.OnCall(kind, h)
	m.quick[kind] = quick
}

// OnMessage registers the handler of one-way messages of a kind.
func (m *Mesh) OnMessage(kind uint8, h MessageHandler) {
	if kind < firstFree || m.messages[kind] != nil {
		panic(fmt.Sprintf("link: message kind %#x is taken", kind))
	}
	m.messages[kind] = h
}

// Only lets kinds come from processes of a role alone: others' calls are refused,
// and their links closed for a message. It says nothing where links are plain,
// for those prove no role.
func (m *Mesh) Only(role string, kinds ...uint8) {
	for _, k := range kinds {
		m.only[k] = role
	}
}

// OnBatch is called on a link's reader when all that had arrived is handled.
func (m *Mesh) OnBatch(h func(*Link)) { m.onBatch = append(m.onBatch, h) }

// OnDown is called once for each link, after its last message, on its reader.
func (m *Mesh) OnDown(h func(l *Link, cause error)) { m.onDown = append(m.onDown, h) }

// Run serves inbound links on ln until ctx is done, then closes every link and
// returns when all their goroutines have ended.
func (m *Mesh) Run(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := m.accept(ctx, ln)
	m.shut()
	m.wg.Wait()
	return err
}

func (m *Mesh) accept(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept links: %w", err)
		case err != nil: // out of descriptors, say: wait, don't spin
			m.cfg.Log.Warn().Err(err).Msg("accept link")
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		default:
			m.serve(conn)
		}
	}
}

// serve takes an inbound connection through its handshake.
func (m *Mesh) serve(conn net.Conn) {
	if !m.begin() {
		conn.Close()
		return
	}
	go func() {
		defer m.wg.Done()
		h, err := m.handshakeIn(conn)
		if err != nil {
			conn.Close()
			m.metrics.refused.Inc()
			m.cfg.Log.Warn().Err(err).Stringer("from", conn.RemoteAddr()).Msg("link refused")
			return
		}
		if l, err := m.adopt(h); err == nil {
			l.read()
		}
	}()
}

// begin counts a goroutine in, unless the mesh is closed or full.
func (m *Mesh) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.total >= m.cfg.MaxLinks {
		return false
	}
	m.wg.Add(1)
	return true
}

// adopt registers a link after its handshake and starts its writer.
func (m *Mesh) adopt(h *handshaken) (*Link, error) {
	l, peer, conn := newLink(m, h), h.peer, h.conn
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		conn.Close()
		return nil, ErrClosed
	}
	m.links[peer] = append(m.links[peer], l)
	m.total++
	m.wg.Add(1)
	m.mu.Unlock()
	m.metrics.links.Inc()
	go func() { defer m.wg.Done(); l.write() }()
	return l, nil
}

// drop forgets a link that is down.
func (m *Mesh) drop(l *Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ls := m.links[l.peer]
	for i, x := range ls {
		if x == l {
			m.links[l.peer] = append(ls[:i:i], ls[i+1:]...)
			m.total--
			m.metrics.links.Dec()
		}
	}
	if len(m.links[l.peer]) == 0 {
		delete(m.links, l.peer)
	}
}

func (m *Mesh) shut() {
	m.mu.Lock()
	m.closed = true
	var all []*Link
	for _, ls := range m.links {
		all = append(all, ls...)
	}
	m.mu.Unlock()
	m.cancel(ErrClosed)
	for _, l := range all {
		l.Close(ErrClosed)
	}
}

// Up reports whether a link to the node stands.
func (m *Mesh) Up(node string) bool { return m.live(node) != nil }

func (m *Mesh) live(node string) *Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.links[node] {
		select {
		case <-l.done:
		default:
			return l
		}
	}
	return nil
}

// Link is the live link to a node, dialled at addr if there is none.
// Concurrent calls for one node share a dial, which outlives its callers.
func (m *Mesh) Link(ctx context.Context, node, addr string) (*Link, error) {
	if l := m.live(node); l != nil {
		return l, nil
	}
	got := m.dials.DoChan(node+"@"+addr, func() (any, error) { return m.dial(node, addr) })
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", node, ctx.Err())
	case r := <-got:
		if r.Err != nil {
			return nil, fmt.Errorf("dial %s: %w", node, r.Err)
		}
		return r.Val.(*Link), nil
	}
}

func (m *Mesh) dial(node, addr string) (*Link, error) {
	if l := m.live(node); l != nil {
		return l, nil
	}
	if !m.begin() {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.DialWithin)
	defer cancel()
	conn, err := m.cfg.Dial(ctx, addr)
	if err != nil {
		m.wg.Done()
		return nil, err
	}
	h, err := m.handshakeOut(conn)
	if err != nil && m.ctx.Err() == nil {
		m.noise.Warn().Err(err).Str("node", node).Str("to", addr).Msg("link not made")
	}
	if err == nil && node != "" && h.peer != node {
		err = &OtherNodeError{Want: node, Got: h.peer}
	}
	if err != nil {
		conn.Close()
		m.wg.Done()
		return nil, err
	}
	l, err := m.adopt(h)
	if err != nil {
		m.wg.Done()
		return nil, err
	}
	go func() { defer m.wg.Done(); l.read() }()
	return l, nil
}
