package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// linkProtocol is what the two ends of a link agree on, by ALPN.
const linkProtocol = "limpet-link"

// Links is a process's identity on links: it shows its own certificate, and
// takes that of any process of its cluster. It may be used concurrently.
type Links struct {
	self Name
	now  func() (own *tls.Certificate, roots *x509.CertPool, at time.Time, err error)
}

// Self is this process's name.
func (l *Links) Self() Name { return l.self }

// Server is for the end that was dialled.
func (l *Links) Server() (*tls.Config, error) {
	c, err := l.config()
	if err != nil {
		return nil, err
	}
	c.ClientAuth = tls.RequireAnyClientCert // verified below: by CA and name
	return c, nil
}

// Client is for the end that dials.
func (l *Links) Client() (*tls.Config, error) {
	c, err := l.config()
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify = true // of host names: verified below, by CA and name
	return c, nil
}

func (l *Links) config() (*tls.Config, error) {
	own, roots, at, err := l.now()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{linkProtocol},
		Certificates:                []tls.Certificate{*own},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // links carry batches
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.NegotiatedProtocol != linkProtocol {
				return errors.New("peer does not speak the link protocol")
			}
			_, err := verify(cs.PeerCertificates, roots, at, l.self.Cluster)
			return err
		},
	}, nil
}

// verify checks a peer's certificates and tells its name.
func verify(chain []*x509.Certificate, roots *x509.CertPool, at time.Time, cluster string) (Name, error) {
	if len(chain) == 0 {
		return Name{}, errors.New("peer shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Name{}, fmt.Errorf("peer's certificate: %w", err)
	}
	n, err := nameOf(chain[0])
	switch {
	case err != nil:
		return Name{}, err
	case n.Check() != nil:
		return Name{}, n.Check()
	case n.Cluster != cluster:
		return Name{}, fmt.Errorf("peer is of cluster %q, this is %q", n.Cluster, cluster)
	}
	return n, nil
}

// Peer is the name of a connection's other end, which its handshake verified.
func Peer(c *tls.Conn) (Name, error) {
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return Name{}, errNoName
	}
	return nameOf(chain[0])
}
