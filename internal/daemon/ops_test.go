package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
)

const testToken = "a-token-of-some-length"

// serveOps runs an operations listener and returns its address.
func serveOps(t *testing.T, flags OpsFlags, prepare func(*Ops)) string {
	t.Helper()
	o, err := NewOps(flags, zerolog.Nop(), NewRegistry("testd"))
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(o)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

type request struct {
	method, path, host, token, origin string
}

func (r request) do(t *testing.T, addr string) (status int, body string) {
	t.Helper()
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+r.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.host != "" {
		req.Host = r.host
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.origin != "" {
		req.Header.Set("Origin", r.origin)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestHealthAndMetrics(t *testing.T) {
	addr := serveOps(t, OpsFlags{Addr: "127.0.0.1:0"}, nil)
	if status, body := (request{path: "/healthz"}).do(t, addr); status != http.StatusOK || !strings.Contains(body, "true") {
		t.Errorf("health: %d %s", status, body)
	}
	status, body := request{path: "/metrics"}.do(t, addr)
	for _, want := range []string{`limpet_build_info{`, `program="testd"`, "go_goroutines", "process_cpu_seconds_total"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("metrics: %d, lack %s", status, want)
		}
	}
	if status, _ := (request{path: "/debug/pprof/goroutine?debug=1"}).do(t, addr); status != http.StatusOK {
		t.Errorf("pprof: %d", status)
	}
	if status, _ := (request{path: "/elsewhere"}).do(t, addr); status != http.StatusNotFound {
		t.Errorf("elsewhere: %d", status)
	}
}

func TestReadinessTellsReasons(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	addr := serveOps(t, OpsFlags{Addr: "127.0.0.1:0"}, func(o *Ops) {
		o.Ready("always", func() error { return nil })
		o.Ready("store", func() error {
			if down.Load() {
				return errors.New("no lease yet")
			}
			return nil
		})
	})
	ask := func() (int, map[string]string) {
		status, body := request{path: "/readyz"}.do(t, addr)
		var answer struct {
			Ready   bool
			Reasons map[string]string
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if answer.Ready != (status == http.StatusOK) {
			t.Errorf("status %d with %s", status, body)
		}
		return status, answer.Reasons
	}
	if status, reasons := ask(); status != http.StatusServiceUnavailable || len(reasons) != 1 || reasons["store"] != "no lease yet" {
		t.Errorf("not ready: %d %v", status, reasons)
	}
	down.Store(false)
	if status, reasons := ask(); status != http.StatusOK || len(reasons) != 0 {
		t.Errorf("ready: %d %v", status, reasons)
	}
}

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenIsAskedForAllButProbes(t *testing.T) {
	addr := serveOps(t, OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, testToken+"\n")}, func(o *Ops) {
		o.HandleJSON("GET /v1/thing", func(*http.Request) (any, error) { return "a thing", nil })
	})
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/healthz", "", http.StatusOK},
		{"/readyz", "", http.StatusOK},
		{"/metrics", "", http.StatusUnauthorized},
		{"/debug/pprof/", "", http.StatusUnauthorized},
		{"/v1/thing", "", http.StatusUnauthorized},
		{"/v1/thing", testToken[:len(testToken)-1], http.StatusUnauthorized},
		{"/v1/thing", testToken + "x", http.StatusUnauthorized},
		{"/v1/thing", testToken, http.StatusOK},
		{"/healthz/../v1/thing", "", http.StatusUnauthorized},
		{"/metrics", testToken, http.StatusOK},
	} {
		if status, body := (request{path: c.path, token: c.token}).do(t, addr); status != c.want {
			t.Errorf("%s with token %q: %d %s, want %d", c.path, c.token, status, body, c.want)
		}
	}
}

func TestOffLoopbackNeedsAToken(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "10.0.0.1:0", "[::]:0"} {
		if _, err := NewOps(OpsFlags{Addr: addr}, zerolog.Nop(), NewRegistry("t")); err == nil || !strings.Contains(err.Error(), "--ops-token-file") {
			t.Errorf("%s without a token: %v", addr, err)
		}
	}
	if _, err := NewOps(OpsFlags{Addr: "127.0.0.1:0", TokenFile: tokenFile(t, "short")}, zerolog.Nop(), NewRegistry("t")); err == nil {
		t.Error("a short token is taken")
	}
}

func TestForeignNamesAndOriginsAreRefused(t *testing.T) {
	var called atomic.Int32
	addr := serveOps(t, OpsFlags{Addr: "127.0.0.1:0", Hosts: []string{"ops.example"}}, func(o *Ops) {
		o.Handle("/v1/act", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Add(1) }))
	})
	for _, c := range []struct {
		request
		want int
	}{
		{request{path: "/v1/act", host: "evil.example"}, http.StatusMisdirectedRequest},
		{request{path: "/v1/act", host: "evil.example:7402"}, http.StatusMisdirectedRequest},
		{request{path: "/v1/act", host: "127.0.0.1.evil.example"}, http.StatusMisdirectedRequest},
		{request{path: "/healthz", host: "evil.example"}, http.StatusMisdirectedRequest},
		{request{path: "/v1/act", method: "POST", origin: "http://evil.example"}, http.StatusForbidden},
		{request{path: "/v1/act", host: "localhost:1"}, http.StatusOK},
		{request{path: "/v1/act", host: "OPS.example"}, http.StatusOK},
		{request{path: "/v1/act", method: "POST", origin: "http://" + addr}, http.StatusOK},
		{request{path: "/v1/act", method: "POST"}, http.StatusOK},
		{request{path: "/debug/pprof/profile", origin: "http://evil.example"}, http.StatusForbidden},
	} {
		before := called.Load()
		status, body := c.do(t, addr)
		if status != c.want || (called.Load() > before) != (c.want == http.StatusOK) {
			t.Errorf("%+v: %d %s, want %d", c.request, status, body, c.want)
		}
	}
}

const roleFile = `
# who may what
read    read-token-for-tests      prometheus
drain   drain-token-for-tests     deploy
destroy destroy-token-for-tests   ada
`

func TestRoles(t *testing.T) {
	act := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	addr := serveOps(t, OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, roleFile)}, func(o *Ops) {
		o.Handle("GET /v1/thing", act)
		o.Handle("POST /v1/end", act)
		o.HandleRole(RoleDrain, "POST /v1/move", act)
		o.HandleRole(RoleNone, "GET /page", act)
	})
	for path, want := range map[string][4]int{ // without a token, read, drain, destroy
		"GET /v1/thing":     {401, 200, 200, 200},
		"HEAD /v1/thing":    {401, 200, 200, 200},
		"GET /metrics":      {401, 200, 200, 200},
		"POST /v1/move":     {401, 403, 200, 200},
		"POST /v1/end":      {401, 403, 403, 200},
		"POST /v1/nothing":  {401, 403, 403, 404},
		"GET /debug/pprof/": {401, 403, 403, 200},
		"GET /page":         {200, 200, 200, 200},
		"GET /healthz":      {200, 200, 200, 200},
		"DELETE /v1/thing":  {401, 403, 403, 405},
		"POST //v1/end":     {401, 403, 403, 307},
	} {
		method, path, _ := strings.Cut(path, " ")
		for i, token := range []string{"", "read-token-for-tests", "drain-token-for-tests", "destroy-token-for-tests"} {
			if status, body := (request{method: method, path: path, token: token}).do(t, addr); status != want[i] {
				t.Errorf("%s %s with %q: %d %s, want %d", method, path, token, status, body, want[i])
			}
		}
	}
}

func TestTokensAreReadAgain(t *testing.T) {
	path := tokenFile(t, "read first-token-for-tests\n")
	tokens, err := newOpsTokens(path, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	role := func(token string) Role {
		tokens.checked = time.Time{} // as if a second had passed
		r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}
		found, _ := tokens.find(r)
		return found.Role
	}
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := role("first-token-for-tests"); got != RoleRead {
		t.Errorf("at first: %v", got)
	}
	change("drain another-token-for-tests x\n")
	if a, b := role("first-token-for-tests"), role("another-token-for-tests"); a != RoleNone || b != RoleDrain {
		t.Errorf("after a change: %v, %v", a, b)
	}
	change("") // half written: what was known stays
	if got := role("another-token-for-tests"); got != RoleDrain {
		t.Errorf("with an empty file: %v", got)
	}
}

func TestTokenFiles(t *testing.T) {
	for _, bad := range []string{
		"", "# nothing\n", "short", "read short", "admin " + testToken, "read " + testToken + " a b",
		strings.Repeat("read "+testToken+"\n", maxOpsTokens+1), strings.Repeat("#", maxOpsTokenFile+1),
		"read " + testToken + " " + strings.Repeat("n", 65),
	} {
		_, _, err := ReadOpsTokens(tokenFile(t, bad))
		if err == nil || strings.Contains(err.Error(), testToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	if _, best, err := ReadOpsTokens(tokenFile(t, roleFile)); err != nil || best != "destroy-token-for-tests" {
		t.Errorf("the token that may most: %q, %v", best, err)
	}
}

func TestWrongTokensAreSlowedDown(t *testing.T) {
	addr := serveOps(t, OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, testToken)}, nil)
	var last int
	for range maxFailures + 1 {
		last, _ = request{path: "/metrics", token: "guess"}.do(t, addr)
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after %d wrong tokens: %d", maxFailures, last)
	}
	if status, _ := (request{path: "/metrics", token: testToken}).do(t, addr); status != http.StatusTooManyRequests {
		t.Errorf("the right one, guessed among many: %d", status)
	}
	if status, _ := (request{path: "/healthz"}).do(t, addr); status != http.StatusOK {
		t.Errorf("a probe from there: %d", status)
	}
}

func TestFailuresAreForgottenAndBounded(t *testing.T) {
	var f failures
	now := time.Now()
	from := netip.MustParseAddr("2001:db8::1")
	for range maxFailures {
		f.failed(from, now)
	}
	if f.wait(netip.MustParseAddr("2001:db8::2"), now) <= 0 || f.wait(netip.MustParseAddr("2001:db8:0:1::1"), now) > 0 {
		t.Error("an IPv6 /64 counts as one")
	}
	if f.wait(from, now.Add(failureEvery)) > 0 {
		t.Error("one more try is due by then")
	}
	for i := range 2 * maxFailing {
		f.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(f.until) > maxFailing {
		t.Errorf("%d addresses are remembered", len(f.until))
	}
	if f.wait(from, now) <= 0 {
		t.Error("the one that failed most is forgotten first")
	}
}

func TestOperatorsAreAudited(t *testing.T) {
	var log bytes.Buffer
	o, err := NewOps(OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, roleFile)}, zerolog.New(&log), NewRegistry("t"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "--ops-tls-cert") {
		t.Errorf("no warning that tokens travel in the clear: %s", &log)
	}
	log.Reset()
	o.HandleRole(RoleDrain, "POST /v1/move", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusConflict)
		w.Write(body)
	}))
	ask := func(token, body string) (int, string) {
		r := httptest.NewRequest("POST", "http://127.0.0.1/v1/move", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		o.guard(o.mux).ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if status, body := ask("drain-token-for-tests", "{\"room\":\"a\\b\n\"}"); status != http.StatusConflict || !strings.HasPrefix(body, "{") {
		t.Fatalf("%d %s", status, body)
	}
	line := log.String()
	for _, want := range []string{`"audit":"POST /v1/move"`, `"by":"deploy"`, `"role":"drain"`, `"status":409`, `"from":"192.0.2.1"`, `room`} {
		if !strings.Contains(line, want) {
			t.Errorf("the audit log lacks %s: %s", want, line)
		}
	}
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "token-for-tests") {
		t.Errorf("audit log: %s", line)
	}
	if status, _ := ask("drain-token-for-tests", strings.Repeat("x", maxRequest+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a request that can't be told: %d", status)
	}
	log.Reset()
	if status, _ := ask("read-token-for-tests", "{}"); status != http.StatusForbidden || !strings.Contains(log.String(), "operator refused") {
		t.Errorf("refused: %d, %s", status, &log)
	}
}

// With a certificate the listener speaks TLS, and nothing else.
func TestOperationsOverTLS(t *testing.T) {
	ca, err := certs.NewAuthority("c", time.Now(), 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "ops.pem"), filepath.Join(dir, "ops-key.pem")
	if err := ca.IssueServer([]string{"localhost"}, time.Now(), 60*24*time.Hour, cert, key); err != nil {
		t.Fatal(err)
	}
	if err := ca.Write(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	raw, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(raw) {
		t.Fatal(err)
	}
	var log logText
	o, err := NewOps(OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, testToken), Cert: cert, Key: key}, zerolog.New(&log), NewRegistry("t"))
	if err != nil || log.String() != "" {
		t.Fatalf("%v; log: %s", err, &log)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true}}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for url, want := range map[string]int{"https://localhost:" + port + "/v1/x": http.StatusNotFound, "http://localhost:" + port + "/healthz": http.StatusBadRequest} {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+testToken)
		req.Header.Set("Origin", "https://localhost:"+port)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", url, resp.Status, want)
		}
	}
}

func TestProfilesAreForThisMachine(t *testing.T) {
	o, err := NewOps(OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, testToken)}, zerolog.Nop(), NewRegistry("t"))
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]int{"127.0.0.1": http.StatusOK, "10.0.0.5": http.StatusForbidden} {
		r := httptest.NewRequest("GET", "http://"+local+"/debug/pprof/cmdline", nil)
		r.RemoteAddr = local + ":1234"
		r.Header.Set("Authorization", "Bearer "+testToken)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local), Port: 7402}))
		w := httptest.NewRecorder()
		if o.guard(o.mux).ServeHTTP(w, r); w.Code != want {
			t.Errorf("at %s: %d %s", local, w.Code, w.Body)
		}
	}
}
