package gateway

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
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
	from := g.clientAddr(r)
	if status, text := g.unwelcome(r); status != 0 {
		if status == http.StatusUpgradeRequired {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-WebSocket-Version", "13")
		}
		g.refuse(w, from, status, text)
		return
	}
	offered, err := handshakeToken(r)
	if err != nil {
		g.refuse(w, from, http.StatusBadRequest, err.Error())
		return
	}
	if wait, ok := g.addresses.handshake(from, time.Now()); !ok {
		w.Header().Set("Retry-After", fmt.Sprint(1+rand.IntN(3)+int(wait.Seconds())))
		g.refuse(w, from, http.StatusTooManyRequests, "too many handshakes from this address")
		return
	}
	if g.pressed(pressure.NoConnections) {
		g.metrics.pressed.WithLabelValues("handshake").Inc()
		w.Header().Set("Retry-After", fmt.Sprint(2+rand.IntN(6)))
		g.refuse(w, from, http.StatusServiceUnavailable, "this gateway is short of memory or descriptors")
		return
	}
	if !g.addresses.open(from) {
		w.Header().Set("Retry-After", fmt.Sprint(2+rand.IntN(4)))
		g.refuse(w, from, http.StatusServiceUnavailable, "too many connections from this address")
		return
	}
	if !g.upgrade(w, r, from, offered) {
		g.addresses.close(from)
	}
}

func (g *Gateway) refuse(w http.ResponseWriter, from netip.Addr, status int, text string) {
	g.metrics.handshakes.WithLabelValues("refused").Inc()
	g.noise.Info().Stringer("from", from).Str("why", text).Msg("handshake refused")
	w.Header().Set("Connection", "close") // also: net/http waits for no body then
	http.Error(w, text, status)
}

func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request, from netip.Addr, offered []byte) bool {
	if !g.reserve() {
		g.metrics.handshakes.WithLabelValues("full").Inc()
		w.Header().Set("Retry-After", fmt.Sprint(2+rand.IntN(4)))
		http.Error(w, "this gateway takes no connections now", http.StatusServiceUnavailable)
		return false
	}
	up, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.unreserve()
		g.metrics.handshakes.WithLabelValues("failed").Inc()
		return false
	}
	g.metrics.handshakes.WithLabelValues("ok").Inc()
	return g.adopt(up.NetConn(), from, offered)
}

// unwelcome checks what the WebSocket handshake itself doesn't.
func (g *Gateway) unwelcome(r *http.Request) (status int, text string) {
	switch versions := r.Header.Values("Sec-WebSocket-Version"); {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, "a WebSocket handshake is a GET"
	case !r.ProtoAtLeast(1, 1):
		return http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1"
	case r.ContentLength != 0:
		return http.StatusBadRequest, "a WebSocket handshake has no body"
	case len(r.Header.Values("Sec-WebSocket-Key")) > 1 || len(versions) > 1:
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

// adopt runs a connection whose handshake is done, in a goroutine of its own:
// the HTTP server's holds buffers and a deep stack.
func (g *Gateway) adopt(nc net.Conn, from netip.Addr, offered []byte) bool {
	nc.SetDeadline(time.Time{})
	if t := socketOf(nc); t != nil {
		t.SetNoDelay(true)
		t.SetWriteBuffer(g.limits.SendBuffer)
	}
	c := newConn(g, nc, from)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.upgrading--
	if g.closed {
		c.hangUp()
		return false
	}
	c.at = len(g.conns)
	g.conns = append(g.conns, c)
	g.metrics.connections.Inc()
	g.wg.Add(1) // until forget, whoever reads it
	g.wg.Go(func() { c.run(offered) })
	return true
}
