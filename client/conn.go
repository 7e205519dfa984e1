package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

const (
	dialWithin     = 5 * time.Second  // for the TCP connection
	welcomeWithin  = 15 * time.Second // from the dial to the welcome: in a storm, gateways take connections one by one
	goodbyeWithin  = time.Second
	leastHeartbeat = 100 * time.Millisecond
	readLimit      = wire.MaxPayload + 1024 // the largest frame of a gateway
	keepReadBuffer = 16 << 10
)

// writeBuffers serve all connections. A whole frame fits into one, so that
// none goes out in fragments.
var writeBuffers sync.Pool

const writeBuffer = wire.MaxInput + 8<<10

// conn is one connection to one gateway.
type conn struct {
	// Static after connect.
	url     string
	ws      *websocket.Conn
	net     *batchConn
	welcome wire.Welcome
	opened  time.Time
	wake    chan struct{} // something is to be written
	ended   chan struct{} // closed by end

	// Owned by the reader.
	buf      []byte
	deadline time.Time // of reading, moved on in steps

	// Guarded by Client.mu.
	handles map[wire.Handle]*Room
	out     [][]byte // requests to write
	queue   []*Room  // rooms with something to write
	spoke   bool     // something was written since the last beat
	heard   bool     // something was read since the last beat
	rtt     time.Duration
	moveOn  *time.Timer   // set by GoAway
	goodbye *ending       // the writer is to close the connection
	advice  time.Duration // of the gateway, for the next attempt; -1 for none

	once  sync.Once
	cause *ending // why it ended, where end was called
}

// ending is why a connection ended.
type ending struct {
	code   wire.Code // close code, CodeNone where there was none
	err    error
	moving bool // on the gateway's word: no back-off
}

// heartbeat is how often something must be said.
func (n *conn) heartbeat() time.Duration {
	return max(time.Duration(n.welcome.Heartbeat)*time.Millisecond, leastHeartbeat)
}

// end breaks the connection; the reader notices.
func (n *conn) end(why *ending) {
	n.once.Do(func() {
		n.cause = why
		close(n.ended)
		n.ws.Close()
	})
}

// poke tells the writer that something is to be written.
func (n *conn) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// connect dials a gateway and says hello.
func (c *Client) connect(ctx context.Context, url string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, welcomeWithin)
	defer cancel()
	token, err := c.cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	n := &conn{url: url, wake: make(chan struct{}, 1), ended: make(chan struct{}), handles: map[wire.Handle]*Room{}, advice: -1}
	dialer := websocket.Dialer{
		Subprotocols:    []string{wire.Subprotocol},
		ReadBufferSize:  c.cfg.ReadBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &writeBuffers,
		TLSClientConfig: c.cfg.TLS,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialWithin)
			defer cancel()
			nc, err := c.cfg.NetDial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			n.net = &batchConn{Conn: nc}
			return n.net, nil
		},
	}
	ws, resp, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, handshakeError(url, resp, err)
	}
	n.ws = ws
	ws.SetReadLimit(readLimit)
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	err = n.greet(wire.Hello{Minor: wire.Minor, Instance: c.cfg.Instance, Token: token, Agent: c.cfg.Agent})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		ws.Close()
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	n.opened = time.Now()
	return n, nil
}

// refused is a handshake that a gateway answered otherwise than with a
// WebSocket.
type refused struct {
	status string
	after  time.Duration // its retry advice; -1 for none
}

func (e *refused) Error() string { return "refused with " + e.status }

func handshakeError(url string, resp *http.Response, err error) error {
	if resp != nil && errors.Is(err, websocket.ErrBadHandshake) {
		r := &refused{status: resp.Status, after: -1}
		if s, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && s >= 0 {
			r.after = time.Duration(s) * time.Second
		}
		err = r
	}
	return fmt.Errorf("connect to %s: %w", url, err)
}

// greet says hello and waits for the welcome.
func (n *conn) greet(h wire.Hello) error {
	if n.ws.Subprotocol() != wire.Subprotocol {
		return fmt.Errorf("no gateway: it does not speak %s", wire.Subprotocol)
	}
	if err := n.ws.WriteMessage(websocket.BinaryMessage, h.Append(nil)); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	var told error // what the gateway said before it closed
	for {
		msg, err := n.read()
		if err != nil {
			return fmt.Errorf("wait for welcome: %w", errors.Join(told, err))
		}
		switch wire.TypeOf(msg) {
		case wire.TypeWelcome:
			n.welcome, err = wire.DecodeWelcome(msg)
			return err
		case wire.TypeError:
			if f, err := wire.DecodeError(msg); err == nil {
				told = &f.Error
			}
		}
	}
}

// read returns the next message, which is valid until the next call.
func (n *conn) read() ([]byte, error) {
	if n.opened != (time.Time{}) {
		n.patience()
	}
	kind, r, err := n.ws.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.BinaryMessage {
		return nil, errors.New("gateway sent a text message")
	}
	if cap(n.buf) > keepReadBuffer {
		n.buf = nil
	}
	b := n.buf[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(256, len(b)))...)[:len(b)]
		}
		k, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+k]
		if err == io.EOF {
			n.buf = b
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// patience moves the read deadline to two heartbeats from now, not on every
// message but in steps of a quarter.
func (n *conn) patience() {
	beat := n.heartbeat()
	if until := time.Now().Add(2 * beat); until.Sub(n.deadline) > beat/4 {
		n.deadline = until
		n.ws.SetReadDeadline(until)
	}
}

// endOf says why reading ended.
func (n *conn) endOf(err error) *ending {
	own := &ending{err: err}
	n.end(own)
	if n.cause != own {
		return n.cause
	}
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 5000 {
		code := wire.Code(closed.Code)
		return &ending{code: code, err: &wire.Error{Code: code, Text: closed.Text}}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fmt.Errorf("nothing heard for %s", 2*n.heartbeat())
	}
	return &ending{err: err}
}
