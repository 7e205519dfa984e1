// Package client is the Go client of the protocol limpet.v1: one connection to
// whichever gateway answers, and memberships of rooms that outlive it. It
// reconnects and resumes by itself, keeps inputs until they are durable, and
// checks what the gateway says: order, duplicates and counts.
//
// A Client runs at most two goroutines, started by Dial and ended by Close.
package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// ErrClosed is the end of everything that Close ended.
var ErrClosed = errors.New("client is closed")

// Config says where to connect and how. Only URLs is required.
type Config struct {
	// URLs are the gateways, ws:// or wss://, with or without a path. The first
	// to try is drawn; a failure goes on to the next.
	URLs  []string
	Token []byte // authentication for the hello, at most wire.MaxToken bytes
	// NewToken gives the token of each connection, in Token's place: the first may
	// have run out when the client has to come back. An error is a failed attempt
	// to connect. It must heed ctx, and has 15 s with all else of the attempt.
	NewToken func(ctx context.Context) ([]byte, error)
	Agent    string // names this program to the gateway, at most 255 bytes; default "limpet-go"
	// Instance numbers inputs; the zero value draws one. Two Clients must not
	// share one at a time.
	Instance wire.Instance

	// OnEvent gets every event of every room, one at a time and in order. It
	// holds up the connection while it runs: it must not block, nor call
	// Close, Join, Leave, Settle, Ready, List, Browse or Watch. Send is fine. The event and
	// what it points to are valid during the call only.
	OnEvent func(*Room, Event)

	// Inputs that a room keeps until they are durable; beyond either bound the
	// oldest are given up (see GaveUp). Default 1024 and 1 MiB.
	MaxInputs     int
	MaxInputBytes int

	// TLS is for wss. It gets a cache for sessions of its own, where it has none.
	TLS        *tls.Config
	NetDial    func(ctx context.Context, network, addr string) (net.Conn, error)
	ReadBuffer int // bytes; default 1024, enough for most frames of a game
}

func (c Config) checked() (Config, error) {
	if len(c.URLs) == 0 {
		return c, errors.New("no gateway URL given")
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
			return c, fmt.Errorf("gateway %q: want ws://HOST:PORT or wss://HOST:PORT", s)
		}
	}
	if err := checkToken(c.Token); err != nil {
		return c, err
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	if c.TLS.ClientSessionCache == nil { // so that coming back costs the gateway less
		c.TLS = c.TLS.Clone()
		c.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(len(c.URLs))
	}
	if c.Agent == "" {
		c.Agent = "limpet-go"
	}
	if c.Instance == (wire.Instance{}) {
		rand.Read(c.Instance[:])
	}
	if c.OnEvent == nil {
		c.OnEvent = func(*Room, Event) {}
	}
	if c.MaxInputs <= 0 {
		c.MaxInputs = 1024
	}
	if c.MaxInputBytes <= 0 {
		c.MaxInputBytes = 1 << 20
	}
	if c.NetDial == nil {
		c.NetDial = (&net.Dialer{}).DialContext
	}
	if c.ReadBuffer <= 0 {
		c.ReadBuffer = 1024
	}
	return c, nil
}

func checkToken(token []byte) error {
	if len(token) > wire.MaxToken {
		return fmt.Errorf("token of %d bytes: want at most %d", len(token), wire.MaxToken)
	}
	return nil
}

// token is what the next hello shows.
func (c *Config) token(ctx context.Context) ([]byte, error) {
	if c.NewToken == nil {
		return c.Token, nil
	}
	token, err := c.NewToken(ctx)
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", err)
	}
	return token, nil
}

// Client is a connection to a cluster, kept up until Close or until a gateway
// says for good that it is not wanted. Safe for concurrent use.
type Client struct {
	// Static after Dial.
	cfg   Config
	stop  context.CancelFunc
	opens chan struct{} // closed at the first welcome
	done  chan struct{} // closed when the run loop has ended

	// Owned by the run loop.
	turn    int
	backoff backoff
	events  []delivery
	woken   []chan struct{}
	message Message
	ack     Ack

	kick chan struct{} // tells a waiting run loop that rooms have late events

	mu       sync.Mutex
	conn     *conn // nil between connections
	rooms    []*Room
	lists    []*listing
	browses  []*browse
	lastRef  uint32
	scratch  []byte
	tries    int
	lastErr  error // of the last attempt to connect
	endCause error // set once the client is over
}

// Dial connects and returns at the first gateway's welcome. It goes on trying,
// over all URLs and with back-off, until ctx is done. The Client is to be
// closed.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	life, stop := context.WithCancel(context.Background())
	c := &Client{
		cfg:   cfg,
		stop:  stop,
		opens: make(chan struct{}),
		done:  make(chan struct{}),
		kick:  make(chan struct{}, 1),
		turn:  firstTurn(len(cfg.URLs)),
	}
	go c.run(life)
	select {
	case <-c.opens:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("connect: %w", c.Err())
	case <-ctx.Done():
		last := c.lastError() // it says what was tried
		c.Close()
		if last == nil {
			last = fmt.Errorf("connect: %w", ctx.Err())
		}
		return nil, last
	}
}

// Close ends the connection and waits for the goroutines. Memberships are not
// left: the rooms keep the places for their grace. It may be called again.
func (c *Client) Close() {
	c.stop()
	<-c.done
}

// Done is closed when the client is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the client is over: ErrClosed, or the *wire.Error with which a
// gateway turned it away for good. nil while it runs.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endCause
}

// Drop kills the connection as a broken network would; the client comes back
// by itself. For tests and demonstrations.
func (c *Client) Drop() {
	c.mu.Lock()
	n := c.conn
	c.mu.Unlock()
	if n != nil {
		n.end(&ending{err: errors.New("dropped on purpose")})
	}
}

// Stats are what a client tells of itself.
type Stats struct {
	Connected bool
	Gateway   string        // the name in the last welcome
	URL       string        // of the current connection
	RTT       time.Duration // of the last ping, 0 before the first
	Tries     int           // attempts to connect so far
}

// Stats tells how the connection does.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Tries: c.tries}
	if n := c.conn; n != nil {
		s.Connected, s.Gateway, s.URL, s.RTT = true, n.welcome.Gateway, n.url, n.rtt
	}
	return s
}

func (c *Client) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastErr
}
