package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// FromFiles is the identity of a process whose certificate a private CA has
// signed. The files are read again when they change: several CAs may stand in
// one file while one takes over from another. The certificate must name self.
func FromFiles(self Name, caFile, certFile, keyFile string, w Watch) (*Links, error) {
	var mu sync.Mutex
	var own *tls.Certificate
	var roots *x509.CertPool
	f, err := newWatched(w, []string{caFile, certFile, keyFile}, func() (time.Time, error) {
		cas, err := readCerts(caFile)
		if err != nil {
			return time.Time{}, err
		}
		pool := x509.NewCertPool()
		for _, c := range cas {
			pool.AddCert(c)
		}
		pair, err := readPair(certFile, keyFile)
		if err != nil {
			return time.Time{}, err
		}
		n, err := verify(chainOf(pair), pool, time.Now(), self.Cluster)
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: %w", certFile, err)
		}
		if n != self {
			return time.Time{}, fmt.Errorf("%s is %s's: this process is %s", certFile, n, self)
		}
		mu.Lock()
		defer mu.Unlock()
		own, roots = pair, pool
		return pair.Leaf.NotAfter, nil
	})
	if err != nil {
		return nil, err
	}
	return &Links{self, func() (*tls.Certificate, *x509.CertPool, time.Time, error) {
		f.look(time.Now())
		mu.Lock()
		defer mu.Unlock()
		return own, roots, time.Now(), nil
	}}, nil
}

func chainOf(p *tls.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{p.Leaf}
	for _, der := range p.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return chain
}
