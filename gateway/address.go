package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// addresses keeps account of what comes from where. IPv6 clients count by
// their /64, of which a customer has at least one. Loopback is not limited:
// what comes from there is this machine's own, or a proxy's on it, whose
// clients are known if it is one of those that are believed.
type addresses struct {
	limits  *Limits
	metrics *metrics

	mu  sync.Mutex
	all map[netip.Addr]*account // guarded by mu
}

// account is one address's.
type account struct {
	open       int // WebSockets
	http       int // connections that are none (yet)
	handshakes bucket
}

func newAddresses(l *Limits, m *metrics) *addresses {
	return &addresses{limits: l, metrics: m, all: map[netip.Addr]*account{}}
}

// maxAddresses bounds the accounts. Those with something open are bounded by
// the connections; the others can be forgotten.
const maxAddresses = 1 << 16

// block is the address under which a client counts.
func block(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func unlimited(a netip.Addr) bool { return !a.IsValid() || a.Unmap().IsLoopback() }

// open counts a WebSocket of a in, unless the address has as many as it may.
func (t *addresses) open(a netip.Addr) bool {
	if unlimited(a) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.account(a)
	if n == nil || n.open >= t.limits.AddressConnections {
		t.metrics.perAddress.WithLabelValues("connections").Inc()
		return false
	}
	n.open++
	return true
}

// roomFor tells whether an address may have one more connection that is no
// WebSocket yet, before it costs anything.
func (t *addresses) roomFor(a netip.Addr) bool {
	if unlimited(a) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.all[block(a)]
	if n == nil || n.http < t.limits.AddressConnections {
		return true
	}
	t.metrics.perAddress.WithLabelValues("http").Inc()
	return false
}

// arrive counts a TCP connection of a in, always, and tells whether the
// address may have it.
func (t *addresses) arrive(a netip.Addr) bool {
	if unlimited(a) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.account(a)
	if n != nil {
		n.http++
	}
	if n == nil || n.http > t.limits.AddressConnections {
		t.metrics.perAddress.WithLabelValues("http").Inc()
		return false
	}
	return true
}

// depart is the end of what arrive counted in, or its becoming a WebSocket.
func (t *addresses) depart(a netip.Addr) {
	if unlimited(a) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.all[block(a)]; n != nil && n.http > 0 {
		n.http--
	}
}

// close counts a WebSocket of a out.
func (t *addresses) close(a netip.Addr) {
	if unlimited(a) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.all[block(a)]; n != nil && n.open > 0 {
		n.open--
	}
}

// handshake spends one of the handshakes that the address may make. wait tells
// one that has none left when it will.
func (t *addresses) handshake(a netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if unlimited(a) {
		return 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.account(a)
	if n != nil && n.handshakes.allow(now, t.limits.AddressHandshakes) {
		return 0, true
	}
	t.metrics.perAddress.WithLabelValues("handshakes").Inc()
	return time.Second, false
}

// account finds or makes an address's account, nil where there is no room for
// one. mu is held.
func (t *addresses) account(a netip.Addr) *account {
	a = block(a)
	if n := t.all[a]; n != nil {
		return n
	}
	if len(t.all) >= maxAddresses && !t.evict() {
		return nil
	}
	n := &account{}
	t.all[a] = n
	return n
}

// evict forgets an account with nothing open. mu is held.
func (t *addresses) evict() bool {
	looked := 0
	for a, n := range t.all {
		if n.open+n.http == 0 {
			delete(t.all, a)
			return true
		}
		if looked++; looked == 64 {
			break
		}
	}
	return false
}

// sweep forgets the accounts that say no more than a new one would.
func (t *addresses) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, n := range t.all {
		if n.open+n.http == 0 && n.handshakes.full(now) {
			delete(t.all, a)
		}
	}
	t.metrics.addresses.Set(float64(len(t.all)))
}

// peerAddr is who is at the other end of a TCP connection.
func peerAddr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func (g *Gateway) believed(a netip.Addr) bool {
	return slices.ContainsFunc(g.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// requestPeer is the peer of a request to the HTTP server.
func requestPeer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// clientAddr is where a request of peer comes from: that, or behind proxies that
// are believed the last address that none of them has.
func (g *Gateway) clientAddr(peer netip.Addr, r *http.Request) netip.Addr {
	client := peer.WithZone("")
	if !g.believed(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !g.believed(client) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // the proxy that wrote it counts for its client
		}
		client = next.Unmap().WithZone("")
	}
	return client
}
