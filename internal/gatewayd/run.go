package gatewayd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/gateway"
	"github.com/limpet-games/limpet/internal/daemon"
)

// settings of a gateway's process.
type settings struct {
	cluster daemon.ClusterFlags
	ops     daemon.OpsFlags
	memory  daemon.MemoryFlags
	log     daemon.LogFlags
	auth    authFlags
	tls     tlsFlags
	listen  string
	origins []string
	demo    bool
	control string // of limpet dev
	limits  gateway.Limits
	spread  time.Duration // of clients that are sent away
}

func newFlags(s *settings) *daemon.Flags {
	f := daemon.NewFlags("gatewayd", "Keeps players' WebSocket connections and ships their inputs to the rooms' hosts.")
	f.String(&s.listen, "listen", "127.0.0.1:8080", "HOST:PORT", "address for players: wss:// with --tls-cert, else ws://", daemon.Addr)
	s.tls.register(f)
	f.List(&s.origins, "origins", "ORIGIN", "web origins whose pages may connect, like https://game.example; pages of this very host always may", checkOrigin)
	s.cluster.Register(f, "127.0.0.1:7410", "")
	s.auth.register(f)
	s.registerLimits(f)
	f.Duration(&s.spread, "drain-spread", 5*time.Second, 0, time.Hour, "when told to stop: clients are sent to other gateways evenly over this time")
	f.Bool(&s.demo, "demo", "serve the demo and the JavaScript client (/client/limpet.js) to browsers")
	f.String(&s.control, "dev-control", "", "URL", "set by limpet dev: pass /dev/ on to its supervisor")
	s.memory.Register(f)
	s.ops.Register(f, "127.0.0.1:7412")
	s.log.Register(f)
	return f
}

func (s *settings) registerLimits(f *daemon.Flags) {
	l := &s.limits
	f.Int(&l.Connections, "max-connections", 20_000, 1, 10_000_000, "WebSocket connections; more are answered 503 with Retry-After")
	f.Int(&l.AddressConnections, "address-connections", 64, 1, 1_000_000, "WebSockets of one address (IPv6: /64), and as many connections that are none yet; more are turned away; loopback is not limited")
	f.Int(&l.AddressHandshakes, "address-handshakes", 10, 1, 100_000, "WebSocket handshakes a second of one address, with bursts of twice that; more are answered 429; loopback is not limited")
	f.Int(&l.Accepts, "accepts", 1500, 1, 1_000_000, "connections taken a second, of which one over TLS counts for three; the rest waits in the kernel's queue, so that a storm leaves those alone who play")
	f.Int(&l.Admits, "admits", 2000, 1, 1_000_000, "joins and resumes let through a second, resumes first; the others are told when to come back")
	f.Int(&l.Routes, "max-routes", 100_000, 1, 10_000_000, "rooms with members behind this gateway; more joins are answered busy")
	f.Int(&l.Joins, "max-joins", 4096, 1, 1_000_000, "joins and resumes under way; more are answered busy")
	f.Int(&l.Rooms, "connection-rooms", 16, 1, 1024, "rooms of one connection; more are refused")
	f.Int(&l.JoinRate, "connection-joins", 20, 1, 10_000, "joins and resumes a second of one connection, with bursts of twice that; more are refused for a while")
	f.Int(&l.Frames, "connection-frames", 120, 1, 100_000, "frames a second from one connection, with bursts of twice that; more is slowed down, then cut")
	f.Int(&l.Bytes, "connection-bytes", 64<<10, 1<<10, 1<<30, "bytes a second from one connection, with bursts of twice that; more is slowed down, then cut")
	f.Int(&l.OutboxBytes, "outbox-bytes", 256<<10, 64<<10, 1<<30, "bytes that wait for one connection; above it the client is sent away to come back")
	f.Int(&l.OutboxFrames, "outbox-frames", 1024, 16, 1<<20, "frames that wait for one connection; above it the client is sent away to come back")
	f.Duration(&l.Heartbeat, "heartbeat", 10*time.Second, time.Second, 10*time.Minute, "clients are heard of this often; silence of twice that ends a connection")
	f.Duration(&l.JoinWithin, "join-within", 10*time.Second, time.Second, time.Minute, "bound on a join or resume")
	f.Duration(&l.TokenFor, "token-for", 7*24*time.Hour, time.Minute, 365*24*time.Hour, "how long a resume token is good")
}

func checkOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != s {
		return fmt.Errorf("%q: want SCHEME://HOST[:PORT]", s)
	}
	return nil
}

// Run runs a gateway with the arguments, on the process's standard streams,
// and returns its exit status.
func Run(args []string) int { return Command(args, os.Stdout, os.Stderr) }

// Command is Run with help and errors going elsewhere. The status is 0 after a
// clean end, 1 after a failure, 2 for a wrong setting.
func Command(args []string, out, errOut io.Writer) int {
	var s settings
	f := newFlags(&s)
	f.Out, f.Err = out, errOut
	if status, ok := f.Parse(args); !ok {
		return status
	}
	if err := s.auth.check(s.listen); err != nil {
		return f.Bad(err)
	}
	if err := s.tls.check(s.listen); err != nil {
		return f.Bad(err)
	}
	return daemon.Run(f, daemon.Process{
		Program: "gatewayd", Node: s.cluster.Name, Log: s.log, Ops: s.ops,
		Wire: func(p *daemon.Wiring) error { return s.wire(p) },
	})
}

// wire puts the process's parts together. Each may rely on those before it.
func (s *settings) wire(p *daemon.Wiring) error {
	static, err := s.static(p)
	if err != nil {
		return daemon.BadSetting(err)
	}
	verifier, err := s.auth.open(p)
	if err != nil {
		return daemon.BadSetting(err)
	}
	secure, err := s.tls.open(s.listen, p)
	if err != nil {
		return daemon.BadSetting(err)
	}
	ln, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen for players: %w", err)
	}
	p.Defer(func() error { ln.Close(); return nil })
	cluster, err := p.OpenCluster(s.cluster, daemon.Self{Role: directory.RoleGateway})
	if err != nil {
		return err
	}
	coroner := directory.NewCoroner(directory.CoronerConfig{
		Members: cluster.Members, Mesh: cluster.Mesh, Log: p.Log, Metrics: p.Metrics,
	})
	resolver := directory.NewResolver(directory.ResolverConfig{
		Members: cluster.Members, Mesh: cluster.Mesh, Coroner: coroner, Log: p.Log, Metrics: p.Metrics,
	})
	cfg := gateway.Config{
		Name: s.cluster.Name, Mesh: cluster.Mesh,
		Directory: rooms{resolver, coroner, cluster.Members},
		Cluster:   s.cluster.Cluster, Keys: tokenKeys(cluster, p),
		Origins: s.origins, Proxies: s.auth.prefixes(), Static: static, Limits: s.limits, TLS: secure, Pressure: s.memory.Watch(p).Level,
		Log: p.Log, Metrics: p.Metrics, Alarms: p.Alarms,
	}
	if verifier != nil {
		cfg.Authenticate = verifier.Verify
	}
	g, err := gateway.New(cfg)
	if err != nil {
		return daemon.BadSetting(err)
	}
	cluster.Keys.OnChange(func([]daemon.Keys) {
		if err := g.SetTokenKeys(cluster.Keys.Tokens()); err != nil {
			p.Log.Error().Err(err).Msg("keys of resume tokens not changed")
		}
	})
	cluster.Open()
	cluster.AddTo(&p.Parts)
	if secure != nil && cluster.Keys != nil {
		p.Parts.Add("TLS sessions", func(ctx context.Context) error { return shareSessions(ctx, secure, cluster.Keys, p.Log) })
	}
	p.Parts.Add("coroner", coroner.Run)
	p.Parts.Add("directory", resolver.Run)
	if verifier != nil {
		p.Parts.Add("keys for players' tokens", verifier.Run)
		p.Ops.Ready("keys", verifier.Ready)
	}
	p.Parts.Add("gateway", func(ctx context.Context) error { return g.Run(ctx, ln) })
	p.Parts.Add("drain", func(ctx context.Context) error { return s.drainAtEnd(ctx, g, p.Hurry()) })

	p.Ops.Ready("cluster", cluster.Joined)
	p.Ops.Ready("hosts", cluster.SomeHost)
	report := func() daemon.NodeReport {
		r := cluster.Report()
		r.Connections = g.Connections()
		return r
	}
	cluster.ServeReports(p.Ops, report)
	cluster.ServeAdmin(p.Ops, report, nil)
	cluster.ServeQueries(p.Ops, p.Metrics, nil)
	cluster.ServeExplain(p.Ops, believe(g, resolver))
	p.Log.Info().Stringer("listen", ln.Addr()).Msg("players may come")
	return nil
}

// drainAtEnd sends the clients to other gateways when the process is told to
// stop, spread over a time; hurry ends that early.
func (s *settings) drainAtEnd(ctx context.Context, g *gateway.Gateway, hurry <-chan struct{}) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.spread+drainMargin)
	defer cancel()
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	// What did not end by then is closed with the gateway.
	_ = g.Drain(ctx, s.spread)
	return nil
}

// drainMargin is for the last connections to close after the spread.
const drainMargin = 2 * time.Second

// tokenKeys signs resume tokens. Without a secret the gateway draws a key of
// its own: no other gateway takes its tokens, nor it after a restart.
func tokenKeys(c *daemon.Cluster, p *daemon.Wiring) [][]byte {
	if c.Keys == nil {
		p.Log.Warn().Msg("no --cluster-key-file: players can't resume at another gateway, nor at this one after a restart")
		return nil
	}
	return c.Keys.Tokens()
}

// static answers what is no WebSocket.
func (s *settings) static(p *daemon.Wiring) (http.Handler, error) {
	mux := http.NewServeMux()
	if s.demo {
		mux.Handle("/", demo())
	}
	if s.control != "" {
		control, err := devControl(s.control, os.Getenv(daemon.DevSecretVariable), s.cluster.Name, p.Log)
		if err != nil {
			return nil, err
		}
		mux.Handle("/dev/", control)
	}
	return mux, nil
}
