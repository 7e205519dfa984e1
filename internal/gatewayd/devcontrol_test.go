package gatewayd

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestDevControlAnswersItsOwnPagesAlone(t *testing.T) {
	passed := make(chan *http.Request, 1)
	supervisor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed <- r
		raw, _ := io.ReadAll(r.Body)
		w.Write(raw)
	}))
	defer supervisor.Close()
	h, err := devControl(supervisor.URL, "the secret", "gateway-1", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	const here, json = "127.0.0.1:8080", "application/json"
	for _, c := range []struct {
		method, host, origin, site, contentType string
		want                                    int
	}{
		{"GET", here, "", "", "", http.StatusOK},
		{"GET", "localhost:8080", "", "same-origin", "", http.StatusOK},
		{"GET", "evil.example:8080", "", "", "", http.StatusMisdirectedRequest},
		{"GET", here, "", "cross-site", "", http.StatusForbidden},
		{"POST", here, "http://" + here, "same-origin", json, http.StatusOK},
		{"POST", here, "http://" + here, "", json + "; charset=utf-8", http.StatusOK},
		{"POST", here, "http://evil.example", "", json, http.StatusForbidden},
		{"POST", here, "http://127.0.0.1:9999", "same-site", json, http.StatusForbidden},
		{"POST", here, "http://127.0.0.1:9999", "", json, http.StatusForbidden},
		{"POST", here, "", "", json, http.StatusForbidden},
		{"POST", here, "null", "", json, http.StatusForbidden},
		{"POST", here, "http://" + here, "", "text/plain", http.StatusUnsupportedMediaType},
		{"POST", "evil.example", "http://evil.example", "same-origin", json, http.StatusMisdirectedRequest},
	} {
		r := httptest.NewRequest(c.method, "http://"+c.host+"/dev/kill", strings.NewReader(`{"node":"host-1"}`))
		for k, v := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site, "Content-Type": c.contentType, "Cookie": "a=b"} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p *http.Request
		select {
		case p = <-passed:
		default:
		}
		if w.Code != c.want || (p != nil) != (c.want == http.StatusOK) {
			t.Errorf("%+v: %d %s, passed on: %v", c, w.Code, w.Body, p != nil)
		}
		if p == nil {
			continue
		}
		if p.Header.Get("Authorization") != "Bearer the secret" || p.Header.Get("Limpet-Gateway") != "gateway-1" ||
			p.URL.Path != "/dev/kill" || p.Header.Get("Cookie") != "" || p.Header.Get("Origin") != "" {
			t.Errorf("%+v: passed on as %s with %v", c, p.URL, p.Header)
		}
	}
}

func TestDevControlIsOnLoopbackWithASecret(t *testing.T) {
	for _, c := range [][2]string{{"http://10.0.0.1:80", "secret"}, {"http://localhost.example.org", "secret"}, {"http://127.0.0.1:1", ""}, {"", "secret"}} {
		if _, err := devControl(c[0], c[1], "g", zerolog.Nop()); err == nil {
			t.Errorf("--dev-control %q with secret %q is taken", c[0], c[1])
		}
	}
}
