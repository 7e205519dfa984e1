package gatewayd

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/daemon"
)

// devControl passes the demo's requests to break things on to the supervisor
// of limpet dev. Only pages that this gateway served, opened on this machine,
// may ask: a page from elsewhere has another origin, and a name that somebody
// points here is no loopback name.
func devControl(to, secret, gateway string, log zerolog.Logger) (http.Handler, error) {
	target, err := url.Parse(to)
	if err != nil || !daemon.HostIsLoopback(target.Host) {
		return nil, fmt.Errorf("--dev-control %q: want a URL on loopback", to)
	}
	if secret == "" {
		return nil, errors.New("--dev-control needs the supervisor's secret in " + daemon.DevSecretVariable)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header = http.Header{
				"Authorization":         {"Bearer " + secret},
				daemon.DevGatewayHeader: {gateway},
			}
			if t := r.In.Header.Get("Content-Type"); t != "" {
				r.Out.Header.Set("Content-Type", t)
			}
		},
		Transport: &http.Transport{ResponseHeaderTimeout: 5 * time.Second, MaxConnsPerHost: 8, IdleConnTimeout: time.Minute},
		ErrorLog:  daemon.StdLog(log, zerolog.DebugLevel),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			daemon.WriteError(w, http.StatusBadGateway, "limpet dev does not answer")
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, why := sameOrigin(r); why != "" {
			daemon.WriteError(w, status, why)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		proxy.ServeHTTP(w, r)
	}), nil
}

// sameOrigin says what speaks against a request.
func sameOrigin(r *http.Request) (status int, why string) {
	if !daemon.HostIsLoopback(r.Host) {
		return http.StatusMisdirectedRequest, "only to be had on this machine"
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return http.StatusForbidden, "another site's page asks"
	}
	if r.Method == http.MethodGet {
		return 0, ""
	}
	if origin, err := url.Parse(r.Header.Get("Origin")); err != nil || origin.Host != r.Host {
		return http.StatusForbidden, "want the Origin of a page from here"
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return http.StatusUnsupportedMediaType, "want Content-Type: application/json"
	}
	return 0, ""
}
