package daemon

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard refuses requests that a web page could have made through somebody's
// browser, and those without the token where one is asked. Health and
// readiness are open: probes have no token and learn nothing from them.
func (o *Ops) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	checked := crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !o.hostAllowed(r.Host):
			WriteError(w, http.StatusMisdirectedRequest, "this name is not one of --ops-hosts")
		case r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && !o.authorized(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="limpet operations"`)
			WriteError(w, http.StatusUnauthorized, "a token is required (Authorization: Bearer)")
		default:
			checked.ServeHTTP(w, r)
		}
	})
}

// hostAllowed: an address in the Host header can't be the work of DNS
// rebinding, which needs a name. Names must be known.
func (o *Ops) hostAllowed(hostport string) bool {
	return HostIsAddress(hostport) || slices.ContainsFunc(o.flags.Hosts, func(h string) bool {
		return strings.EqualFold(h, hostOnly(hostport))
	})
}

// HostIsAddress reports whether a Host header is an IP address or localhost,
// with any port.
func HostIsAddress(hostport string) bool {
	host := hostOnly(hostport)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost")
}

// HostIsLoopback reports whether a Host header names this machine alone.
func HostIsLoopback(hostport string) bool { return loopbackHost(hostOnly(hostport)) }

func hostOnly(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.Trim(host, "[]")
}

func (o *Ops) authorized(r *http.Request) bool {
	return len(o.token) == 0 || BearerIs(r, o.token)
}

// BearerIs compares a request's bearer token with the right one, in a time
// that tells nothing of where they differ.
func BearerIs(r *http.Request, token []byte) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256(token)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
