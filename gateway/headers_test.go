package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzProxyHeaders feeds a handshake's headers: whatever they say, a client
// counts for an address that a proxy which is believed has seen, or its own; and
// an origin is let in only where it is the one that was listed.
func FuzzProxyHeaders(f *testing.F) {
	f.Add("198.51.100.7, 10.0.0.1", "https://game.example", "limpet.v1, limpet.token.YWJj")
	f.Add("unknown, ::ffff:10.0.0.2,[2001:db8::1]:80", "null", "limpet.token.")
	f.Add(",,, 2001:db8::1%eth0", "HTTPS://GAME.EXAMPLE:443", "")
	g := &Gateway{cfg: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, origins: map[string]bool{"https://game.example:443": true}}
	f.Fuzz(func(t *testing.T, forwarded, origin, protocols string) {
		r := &http.Request{Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "10.9.9.9", RemoteAddr: "203.0.113.9:1", Header: http.Header{
			"X-Forwarded-For": strings.Split(forwarded, "\n"), "Origin": {origin}, "Sec-Websocket-Protocol": {"limpet.v1, " + protocols},
			"Sec-Websocket-Version": {"13"},
		}}
		if got := g.clientAddr(requestPeer(r), r); got != netip.MustParseAddr("203.0.113.9") {
			t.Errorf("a stranger's headers make it %s", got)
		}
		r.RemoteAddr = "10.0.0.3:1"
		if got := g.clientAddr(requestPeer(r), r); !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("behind a proxy: %s", got)
		}
		status, _ := g.unwelcome(r)
		canonical, err := parseOrigin(origin)
		if listed := err == nil && (canonical == "https://game.example:443" || sameHost(canonical, r)); (status == 0) != listed {
			t.Errorf("origin %q: %d, listed %v", origin, status, listed)
		}
		if token, err := handshakeToken(r); err == nil && len(token) > 4<<10 {
			t.Errorf("token of %d bytes", len(token))
		}
	})
}
