package daemon

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
)

// OpsFlags are the settings of the operations listener.
type OpsFlags struct {
	Addr      string
	TokenFile string
	Hosts     []string
	Cert, Key string
}

// Register adds --ops and its companions.
func (o *OpsFlags) Register(f *Flags, def string) {
	f.String(&o.Addr, "ops", def, "HOST:PORT", "address of the operations listener: health, metrics, profiles and /v1/", Addr)
	f.String(&o.TokenFile, "ops-token-file", "", "FILE",
		"file with the tokens that the operations listener asks for (Authorization: Bearer), a line each: ROLE TOKEN [NAME], "+
			"ROLE being read, drain or destroy; looked at again when it changes; required off loopback")
	f.String(&o.Cert, "ops-tls-cert", "", "FILE", "certificate with which the operations listener speaks TLS, in PEM; looked at again when it changes")
	f.String(&o.Key, "ops-tls-key", "", "FILE", "the certificate's key")
	f.List(&o.Hosts, "ops-hosts", "NAME", "host names under which the operations listener may be reached, beside IP addresses and localhost")
}

// open reads the tokens, which must be there off loopback.
func (o OpsFlags) open(log zerolog.Logger) (*opsTokens, error) {
	if o.TokenFile != "" {
		t, err := newOpsTokens(o.TokenFile, func(err error) {
			log.Warn().Err(err).Msg("--ops-token-file not read again: the tokens known before stay")
		})
		if err != nil {
			return nil, fmt.Errorf("--ops-token-file: %w", err)
		}
		return t, nil
	}
	if !Loopback(o.Addr) {
		return nil, fmt.Errorf("--ops %s is reachable from other machines: it needs --ops-token-file", o.Addr)
	}
	return nil, nil
}

// secure reads the certificate; nil where the listener speaks in the clear, which
// off loopback is a warning.
func (o OpsFlags) secure(log zerolog.Logger, metrics prometheus.Registerer) (*tls.Config, error) {
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("--ops-tls-cert and --ops-tls-key go together")
	}
	if o.Cert == "" {
		if !Loopback(o.Addr) {
			log.Warn().Msgf("--ops %s speaks in the clear: operators' tokens can be read on the way; give it --ops-tls-cert and --ops-tls-key, "+
				"or keep it on a network that nobody else reads", o.Addr)
		}
		return nil, nil
	}
	c, err := certs.Server(o.Cert, o.Key, certs.Watch{Log: log, Metrics: metrics, What: "operations"})
	if err != nil {
		return nil, fmt.Errorf("--ops-tls-cert: %w", err)
	}
	return c, nil
}

// Ops is the operations listener. Handlers and checks are added before Run.
type Ops struct {
	flags    OpsFlags
	tokens   *opsTokens // nil: none asked
	tls      *tls.Config
	log      zerolog.Logger
	noise    zerolog.Logger // sampled: what strangers can bring about
	mux      *http.ServeMux
	roles    map[string]Role // by pattern, where that is not the method's
	ready    Readiness
	failures failures
	refused  *prometheus.CounterVec
}

// NewOps makes the listener with /healthz, /readyz, /metrics and
// /debug/pprof/.
func NewOps(flags OpsFlags, log zerolog.Logger, metrics *prometheus.Registry) (*Ops, error) {
	tokens, err := flags.open(log)
	if err != nil {
		return nil, err
	}
	secure, err := flags.secure(log, metrics)
	if err != nil {
		return nil, err
	}
	o := &Ops{
		flags: flags, tokens: tokens, tls: secure, log: log, mux: http.NewServeMux(), roles: map[string]Role{},
		noise: log.Sample(&zerolog.BurstSampler{Burst: 5, Period: time.Second}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_ops_refused_total",
			Help: "Requests that the operations listener refused, by why."}, []string{"why"}),
	}
	metrics.MustRegister(o.refused)
	o.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	o.mux.Handle("GET /readyz", &o.ready)
	o.mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	o.mux.HandleFunc("/debug/pprof/", pprof.Index)
	o.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	o.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	o.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	o.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return o, nil
}

// Handle adds a handler behind the token and the host check. GET and HEAD ask
// for RoleRead, everything else for RoleDestroy.
func (o *Ops) Handle(pattern string, h http.Handler) { o.mux.Handle(pattern, h) }

// HandleRole is Handle for a request that asks for a role of its own, as
// METHOD PATH. What asks for more than RoleRead is told to the audit log.
func (o *Ops) HandleRole(role Role, pattern string, h http.Handler) {
	o.roles[pattern] = role
	o.mux.Handle(pattern, h)
}

// HandleJSON adds a handler whose result is answered as JSON.
func (o *Ops) HandleJSON(pattern string, h func(r *http.Request) (any, error)) {
	o.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := h(r)
		if err != nil {
			WriteError(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		WriteJSON(w, http.StatusOK, v)
	})
}

// Ready adds a condition of readiness; see Readiness.
func (o *Ops) Ready(name string, check func() error) { o.ready.Add(name, check) }

// Run serves on ln until ctx is done.
func (o *Ops) Run(ctx context.Context, ln net.Listener) error {
	srv := NewServer(o.guard(o.mux), o.log)
	if o.tls != nil {
		ln = tls.NewListener(ln, o.tls)
	}
	srv.WriteTimeout = 2 * time.Minute // a profile takes as long as it is asked to
	if err := Serve(ctx, srv, ln, time.Second); err != nil {
		return fmt.Errorf("serve operations: %w", err)
	}
	return nil
}

// NewServer is an HTTP server with bounds on time and headers.
func NewServer(h http.Handler, log zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          StdLog(log, zerolog.DebugLevel),
	}
}

// Serve serves until ctx is done, then lets requests end for at most grace.
// It returns when the server's goroutines have ended or been cut off.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener, grace time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(limit) != nil {
		srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// WriteJSON answers v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"error":"the answer does not encode"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(raw, '\n'))
}

// WriteError answers {"error": text}.
func WriteError(w http.ResponseWriter, status int, text string) {
	WriteJSON(w, status, map[string]string{"error": text})
}
