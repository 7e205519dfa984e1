package certs

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// lookEvery is how often files are looked at, at most.
const lookEvery = time.Second

// Watch tells how changed files fared.
type Watch struct {
	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
	What    string                // label: players, operations or links
}

// watched reads files again when they have changed. What is there stays where
// they can't be read: they may be half written.
type watched struct {
	paths   []string
	load    func() (expires time.Time, err error)
	log     zerolog.Logger
	what    string
	loads   *prometheus.CounterVec
	expires prometheus.Gauge

	mu     sync.Mutex
	stamps []stamp // guarded by mu, as is the rest
	looked time.Time
	warned time.Time
	until  time.Time
}

// stamp tells one content of a file from another, also where a new file has
// taken its place within a tick of the clock. Nil: there is none.
type stamp struct{ os.FileInfo }

func stampOf(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{st}
}

func (s stamp) same(o stamp) bool {
	if s.FileInfo == nil || o.FileInfo == nil {
		return s.FileInfo == nil && o.FileInfo == nil
	}
	return os.SameFile(s.FileInfo, o.FileInfo) && s.Size() == o.Size() && s.ModTime().Equal(o.ModTime())
}

func newWatched(w Watch, paths []string, load func() (time.Time, error)) (*watched, error) {
	f := &watched{paths: paths, load: load, log: w.Log, what: w.What,
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_certificate_loads_total",
			Help:        "Looks at certificates' files that had changed, by result.",
			ConstLabels: prometheus.Labels{"for": w.What}}, []string{"result"}),
		expires: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_certificate_expires_seconds",
			Help:        "When the certificate runs out, in seconds since 1970.",
			ConstLabels: prometheus.Labels{"for": w.What}}),
	}
	if w.Metrics != nil {
		w.Metrics.MustRegister(f.loads, f.expires)
	}
	for _, p := range paths {
		f.stamps = append(f.stamps, stampOf(p))
	}
	until, err := load()
	if err != nil {
		return nil, err
	}
	f.taken(until)
	f.looked = time.Now()
	f.nearsEnd(f.looked)
	return f, nil
}

func (f *watched) taken(until time.Time) {
	f.until = until
	f.expires.Set(float64(until.Unix()))
	f.loads.WithLabelValues("ok").Inc()
}

// look reads the files again if they have changed, at most once in lookEvery.
func (f *watched) look(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.looked) < lookEvery {
		return
	}
	f.looked = now
	f.nearsEnd(now)
	changed := false
	for i, p := range f.paths {
		if s := stampOf(p); !s.same(f.stamps[i]) {
			f.stamps[i], changed = s, true
		}
	}
	if !changed {
		return
	}
	until, err := f.load()
	if err != nil {
		f.loads.WithLabelValues("failed").Inc()
		f.log.Warn().Err(err).Str("for", f.what).Msg("changed certificate not taken: the one before stays")
		return
	}
	f.taken(until)
	f.log.Info().Str("for", f.what).Time("expires", until).Msg("changed certificate taken")
}

// nearsEnd warns, once a day, of a certificate that runs out within a month.
func (f *watched) nearsEnd(now time.Time) {
	if f.until.Sub(now) > 30*24*time.Hour || now.Sub(f.warned) < 24*time.Hour {
		return
	}
	f.warned = now
	f.log.Warn().Str("for", f.what).Time("expires", f.until).Msg("the certificate runs out soon: put a new one in its place")
}

// Server is the TLS of a listener for players or operators: certificate and key are read
// again when their files change.
func Server(certFile, keyFile string, w Watch) (*tls.Config, error) {
	var mu sync.Mutex
	var pair *tls.Certificate
	f, err := newWatched(w, []string{certFile, keyFile}, func() (time.Time, error) {
		p, err := readPair(certFile, keyFile)
		if err != nil {
			return time.Time{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		pair = p
		return p.Leaf.NotAfter, nil
	})
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			f.look(time.Now())
			mu.Lock()
			defer mu.Unlock()
			return pair, nil
		},
	}
	c.WrapSession = sealSession(c)
	return c, nil
}
