package gateway

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/internal/pressure"
	"github.com/limpet-games/limpet/wire"
)

var upgrader = websocket.Upgrader{
	HandshakeTimeout: headerWithin,
	Subprotocols:     []string{wire.Subprotocol},
	CheckOrigin:      func(*http.Request) bool { return true }, // accept has checked
}

func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case websocket.IsWebSocketUpgrade(r):
		g.accept(w, r)
	case g.cfg.Static != nil:
		g.cfg.Static.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// accept turns a request into a connection that runs on.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request) {
	from := g.clientAddr(requestPeer(r), r)
	var offered []byte
	no := takeRefusal(r)
	if no == nil {
		offered, no = g.decide(r, from)
	}
	if no != nil {
		g.refuse(w, from, no)
		return
	}
	up, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.undo(from)
		g.metrics.handshakes.WithLabelValues("failed").Inc()
		return
	}
	g.metrics.handshakes.WithLabelValues("ok").Inc()
	if !g.adopt(up.NetConn(), from, offered) {
		g.addresses.close(from)
	}
}

// refusal is why a handshake is not taken, as the client is told.
type refusal struct {
	status int
	text   string
	after  int  // when to try again, in seconds; 0: never
	full   bool // the gateway takes none, whoever asks
}

// decide lets a handshake of a client in, and counts it in, or says why not.
func (g *Gateway) decide(r *http.Request, from netip.Addr) (offered []byte, no *refusal) {
	if status, text := g.unwelcome(r); status != 0 {
		return nil, &refusal{status: status, text: text}
	}
	offered, err := handshakeToken(r)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	if wait, ok := g.addresses.handshake(from, time.Now()); !ok {
		return nil, &refusal{status: http.StatusTooManyRequests, text: "too many handshakes from this address",
			after: 1 + rand.IntN(3) + int(wait.Seconds())}
	}
	if g.pressed(pressure.NoConnections) {
		g.metrics.pressed.WithLabelValues("handshake").Inc()
		return nil, &refusal{status: http.StatusServiceUnavailable, text: "this gateway is short of memory or descriptors",
			after: 2 + rand.IntN(6)}
	}
	if !g.addresses.open(from) {
		return nil, &refusal{status: http.StatusServiceUnavailable, text: "too many connections from this address",
			after: 2 + rand.IntN(4)}
	}
	if !g.reserve() {
		g.addresses.close(from)
		return nil, &refusal{status: http.StatusServiceUnavailable, text: "this gateway takes no connections now",
			after: 2 + rand.IntN(4), full: true}
	}
	return offered, nil
}

// undo takes back what decide has counted in.
func (g *Gateway) undo(from netip.Addr) {
	g.unreserve()
	g.addresses.close(from)
}

func (g *Gateway) refuse(w http.ResponseWriter, from netip.Addr, no *refusal) {
	if no.status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
	}
	if no.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(no.after))
	}
	if no.full {
		g.metrics.handshakes.WithLabelValues("full").Inc()
	} else {
		g.metrics.handshakes.WithLabelValues("refused").Inc()
		g.noise.Info().Stringer("from", from).Str("why", no.text).Msg("handshake refused")
		w.Header().Set("Connection", "close") // also: net/http waits for no body then
	}
	http.Error(w, no.text, no.status)
}

// unwelcome checks what the WebSocket handshake itself doesn't.
func (g *Gateway) unwelcome(r *http.Request) (status int, text string) {
	// The names are in their canonical form, which nobody has to make then.
	switch versions := r.Header["Sec-Websocket-Version"]; {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, "a WebSocket handshake is a GET"
	case !r.ProtoAtLeast(1, 1):
		return http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1"
	case r.ContentLength != 0:
		return http.StatusBadRequest, "a WebSocket handshake has no body"
	case len(r.Header["Sec-Websocket-Key"]) > 1 || len(versions) > 1:
		return http.StatusBadRequest, "a header of the handshake is there twice"
	case len(versions) == 0 || versions[0] != "13":
		return http.StatusUpgradeRequired, "this gateway speaks WebSocket version 13"
	}
	if !slices.Contains(websocket.Subprotocols(r), wire.Subprotocol) {
		return http.StatusBadRequest, "this gateway speaks the WebSocket subprotocol " + wire.Subprotocol
	}
	origins := r.Header.Values("Origin")
	switch {
	case len(origins) == 0: // not a browser
		return 0, ""
	case len(origins) > 1:
		return http.StatusForbidden, "more than one Origin header"
	}
	origin, err := parseOrigin(origins[0])
	if err != nil {
		return http.StatusForbidden, "origin is not allowed"
	}
	if g.origins[origin] || sameHost(origin, r) {
		return 0, ""
	}
	return http.StatusForbidden, "origin " + origin + " is not allowed"
}

// parseOrigin is an origin in full: scheme, host and port.
func parseOrigin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q: want scheme://host[:port]", s)
	}
	port := u.Port()
	switch scheme := strings.ToLower(u.Scheme); {
	case scheme != "http" && scheme != "https":
		return "", fmt.Errorf("%q: want http or https", s)
	case port == "" && scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), nil
}

// sameHost reports whether a page of the host that the request was sent to has
// made it. Without TLS here, a host without a port has the default of either
// scheme, for behind a proxy that ends TLS the request does not tell which it
// was.
func sameHost(origin string, r *http.Request) bool {
	schemes := []string{"http", "https"}
	if r.TLS != nil {
		schemes = schemes[1:]
	}
	for _, scheme := range schemes {
		if own, err := parseOrigin(scheme + "://" + r.Host); err == nil && own == origin {
			return true
		}
	}
	return false
}

// reserve counts a connection in before it is one.
func (g *Gateway) reserve() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining || len(g.conns)+g.upgrading >= g.limits.Connections {
		return false
	}
	g.upgrading++
	return true
}

func (g *Gateway) unreserve() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.upgrading--
}

// adopt runs a connection whose handshake the HTTP server has done, in a goroutine
// of its own: the server's holds buffers and a deep stack.
func (g *Gateway) adopt(nc net.Conn, from netip.Addr, offered []byte) bool {
	if h, ok := nc.(*handed); ok {
		nc = h.TCPConn
	}
	nc.SetDeadline(time.Time{})
	if t := socketOf(nc); t != nil {
		t.SetNoDelay(true)
		t.SetWriteBuffer(g.limits.SendBuffer)
	}
	c := newConn(g, nc, from)
	if !g.wait() {
		g.unreserve()
		c.hangUp()
		return false
	}
	if !g.install(c) {
		c.hangUp()
		g.wg.Done()
		return false
	}
	c.caller.offered = offered
	g.callers.open(c.caller, time.Now().Add(g.limits.HelloWithin))
	g.wg.Go(c.run)
	return true
}

// install makes a connection that has been reserved one of the gateway's, which is
// counted in wg until forget, whoever reads it. False: the gateway is closed.
func (g *Gateway) install(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.upgrading--
	if g.closed {
		return false
	}
	c.at = int32(len(g.conns))
	g.conns = append(g.conns, c)
	g.metrics.connections.Inc()
	return true
}
