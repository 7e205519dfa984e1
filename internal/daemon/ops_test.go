package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
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
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
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
	called := 0
	addr := serveOps(t, OpsFlags{Addr: "127.0.0.1:0", Hosts: []string{"ops.example"}}, func(o *Ops) {
		o.Handle("/v1/act", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
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
	} {
		before := called
		status, body := c.do(t, addr)
		if status != c.want || (called > before) != (c.want == http.StatusOK) {
			t.Errorf("%+v: %d %s, want %d", c.request, status, body, c.want)
		}
	}
}
