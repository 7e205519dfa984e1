package certs

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// Shared certificates are good in an age that has no end: that their holder has
// the secret is what they prove, and no clock has a say in it.
var (
	sharedFrom = time.Unix(0, 0).UTC()
	sharedAt   = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	sharedTo   = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// FromKeys is the identity of a process that has the cluster's secret: it signs
// its own certificate, with a CA that is derived from the first of keys, and
// takes what a CA of any of them has signed. keys is asked for each link, so
// that they can change one process at a time.
func FromKeys(self Name, keys func() [][]byte) (*Links, error) {
	s := &shared{self: self}
	l := &Links{self, func() (*tls.Certificate, *x509.CertPool, time.Time, error) {
		own, roots, err := s.at(keys())
		return own, roots, sharedAt, err
	}}
	_, err := l.config()
	return l, err
}

// shared makes certificates from keys, and keeps those of the keys it had last.
type shared struct {
	self Name

	mu    sync.Mutex
	keys  [][]byte // guarded by mu, as is the rest
	own   *tls.Certificate
	roots *x509.CertPool
}

func (s *shared) at(keys [][]byte) (*tls.Certificate, *x509.CertPool, error) {
	if len(keys) == 0 {
		return nil, nil, errors.New("no key for links")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	same := len(keys) == len(s.keys)
	for i := 0; same && i < len(keys); i++ {
		same = bytes.Equal(keys[i], s.keys[i])
	}
	if same {
		return s.own, s.roots, nil
	}
	roots := x509.NewCertPool()
	var own *tls.Certificate
	for i, k := range keys {
		ca, err := derived(k)
		if err != nil {
			return nil, nil, err
		}
		roots.AddCert(ca.cert)
		if i == 0 {
			if own, err = ca.certify(s.self); err != nil {
				return nil, nil, err
			}
		}
	}
	s.keys = nil
	for _, k := range keys {
		s.keys = append(s.keys, bytes.Clone(k))
	}
	s.own, s.roots = own, roots
	return own, roots, nil
}

// derived is the CA of a key, the same wherever it is made.
func derived(key []byte) (*Authority, error) {
	seed, err := hkdf.Key(sha256.New, key, nil, "limpet v1 link CA", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive CA: %w", err)
	}
	return newAuthority("Limpet CA of a shared key", ed25519.NewKeyFromSeed(seed), sharedFrom, sharedTo)
}

// certify makes a process's certificate, which never leaves its memory.
func (a *Authority) certify(n Name) (*tls.Certificate, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	der, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: n.Role + " " + n.Node}, URIs: []*url.URL{n.URI()},
		NotBefore: sharedFrom, NotAfter: sharedTo,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, pub)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
