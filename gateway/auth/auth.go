// Package auth checks the tokens that a game issues to its players: JSON Web
// Tokens (RFC 7519), signed with keys from files or from a key set at a URL.
//
// A key is good for one algorithm, which is fixed where the key is given and
// never taken from a token; a token's key id only chooses among known keys.
package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Config says which tokens are good. Give Files, JWKS or both.
type Config struct {
	Files []KeyFile
	JWKS  string // http(s) URL of a JSON Web Key Set

	// Issuer and Audience are what tokens must name. An empty Issuer is not
	// checked; an empty Audience refuses tokens that name any.
	Issuer, Audience string
	Leeway           time.Duration // by which clocks may differ; default 5 s, negative for none
	Refresh          time.Duration // between looks at files and URL; default 5 min

	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Bounds.
const (
	maxKeys     = 64
	maxKeySet   = 256 << 10 // bytes of a file or an answer
	maxKeyID    = 256
	fetchWithin = 5 * time.Second
	askAgain    = 10 * time.Second // between looks for keys that tokens name and nobody knows
)

// Verifier checks tokens. Verify may be called concurrently, also while Run
// looks for new keys.
type Verifier struct {
	cfg   Config
	keys  atomic.Pointer[keySet]
	wants chan struct{} // takes one: a token names a key that is not known

	loads *prometheus.CounterVec // source, result
	known prometheus.Gauge
}

// New reads the key files. The key set at the URL is fetched by Run: until it
// has been, its tokens are refused.
func New(cfg Config) (*Verifier, error) {
	if len(cfg.Files) == 0 && cfg.JWKS == "" {
		return nil, errors.New("no keys for players' tokens")
	}
	if cfg.Leeway == 0 {
		cfg.Leeway = 5 * time.Second
	}
	cfg.Leeway = max(cfg.Leeway, 0)
	if cfg.Refresh == 0 {
		cfg.Refresh = 5 * time.Minute
	}
	v := &Verifier{
		cfg: cfg, wants: make(chan struct{}, 1),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_auth_key_loads_total",
			Help: "Looks at the keys for players' tokens, by source and result."}, []string{"source", "result"}),
		known: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_auth_keys", Help: "Keys that players' tokens may be signed with."}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(v.loads, v.known)
	}
	files, err := readFiles(cfg.Files)
	if err != nil {
		return nil, err
	}
	v.use(&keySet{files: files})
	return v, nil
}

func (v *Verifier) use(s *keySet) {
	v.keys.Store(s)
	v.known.Set(float64(len(s.files) + len(s.fetched)))
}

// Run looks at files and URL again and again until ctx is done. A look that
// fails leaves the keys as they are.
func (v *Verifier) Run(ctx context.Context) error {
	v.look(ctx)
	for {
		wait := v.cfg.Refresh
		if v.cfg.JWKS != "" && len(v.keys.Load().fetched) == 0 {
			wait = min(wait, time.Second)
		}
		due := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-due.C:
		case <-v.wants:
		}
		due.Stop()
		if ctx.Err() != nil {
			return nil
		}
		v.look(ctx)
		select { // so that made-up key ids can't make this process a flood
		case <-ctx.Done():
		case <-time.After(min(askAgain, wait)):
		}
	}
}

// want asks for a look at the URL.
func (v *Verifier) want() {
	select {
	case v.wants <- struct{}{}:
	default:
	}
}

func (v *Verifier) look(ctx context.Context) {
	next := *v.keys.Load()
	if files, err := readFiles(v.cfg.Files); v.loaded("file", err) {
		next.files = files
	}
	if v.cfg.JWKS != "" {
		if fetched, err := fetch(ctx, v.cfg.JWKS); v.loaded("url", err) {
			next.fetched = fetched
		}
	}
	v.use(&next)
}

func (v *Verifier) loaded(source string, err error) bool {
	if err != nil {
		v.loads.WithLabelValues(source, "failed").Inc()
		v.cfg.Log.Warn().Err(err).Msg("keys for players' tokens not loaded: those known before stay")
		return false
	}
	v.loads.WithLabelValues(source, "ok").Inc()
	return true
}

// Ready is an error until there is a key.
func (v *Verifier) Ready() error {
	if s := v.keys.Load(); len(s.files)+len(s.fetched) == 0 {
		return fmt.Errorf("no key from %s yet", v.cfg.JWKS)
	}
	return nil
}
