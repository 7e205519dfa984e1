package daemon

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// guard refuses requests that a web page could have made through somebody's
// browser, those without a token that allows them where tokens are asked, and
// who tries too many. Health and readiness are open: probes have no token and
// learn nothing from them. There is no CORS: no page of another origin reads
// an answer.
func (o *Ops) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	checked := crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.hostAllowed(r.Host) {
			o.refuse(w, r, "host", http.StatusMisdirectedRequest, "this name is not one of --ops-hosts")
			return
		}
		need := o.need(r)
		who, ok := o.admit(w, r, need)
		if !ok {
			return
		}
		if need <= RoleRead {
			checked.ServeHTTP(w, r)
			return
		}
		o.audited(w, r, who, checked)
	})
}

// admit checks that a request may do what it asks for, or answers it.
func (o *Ops) admit(w http.ResponseWriter, r *http.Request, need Role) (who OpsToken, ok bool) {
	if need == RoleNone {
		return who, true
	}
	if isProfile(r) && (!arrivedOnLoopback(r) || byAnotherPage(r)) {
		o.refuse(w, r, "profile", http.StatusForbidden, "profiles are for this machine alone: ask on its loopback address")
		return who, false
	}
	if o.tokens == nil {
		return OpsToken{Role: RoleDestroy, Name: "loopback"}, true
	}
	from := remoteOf(r)
	if wait := o.failures.wait(from, time.Now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(1+int(wait.Seconds())))
		o.refuse(w, r, "rate", http.StatusTooManyRequests, "too many wrong tokens from this address")
		return who, false
	}
	who, ok = o.tokens.find(r)
	switch {
	case !ok:
		if r.Header.Get("Authorization") != "" { // a guess
			o.failures.failed(from, time.Now())
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="limpet operations"`)
		o.refuse(w, r, "token", http.StatusUnauthorized, "a token is required (Authorization: Bearer)")
	case who.Role < need:
		o.refuse(w, r, "role", http.StatusForbidden, "the token is for "+who.Role.String()+": this asks for "+need.String())
	default:
		return who, true
	}
	return who, false
}

// refuse answers a request that is not let through, and tells the log.
func (o *Ops) refuse(w http.ResponseWriter, r *http.Request, why string, status int, text string) {
	o.refused.WithLabelValues(why).Inc()
	o.noise.Warn().Str("why", why).Stringer("from", remoteOf(r)).Str("method", r.Method).Str("path", short(r.URL.Path)).Msg("operator refused")
	WriteError(w, status, text)
}

// need is the role that a request asks for.
func (o *Ops) need(r *http.Request) Role {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return RoleNone
	}
	if isProfile(r) {
		return RoleDestroy
	}
	_, pattern := o.mux.Handler(r)
	switch role, ok := o.roles[pattern]; {
	case ok:
		return role
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return RoleRead
	}
	return RoleDestroy
}

func isProfile(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/debug/") }

// byAnotherPage: a browser sends this for a page of another origin. Such a page
// reads no answer to a GET, but a profile costs something.
func byAnotherPage(r *http.Request) bool {
	act := *r
	act.Method = http.MethodPost
	return http.NewCrossOriginProtection().Check(&act) != nil
}

// arrivedOnLoopback: the connection is this machine's own.
func arrivedOnLoopback(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && Loopback(at.String()) && remoteOf(r).IsLoopback()
}

func remoteOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
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
