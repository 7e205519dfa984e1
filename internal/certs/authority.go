package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// skew is by how much clocks may differ.
const skew = time.Hour

// NewAuthority makes a private CA that is good for a time.
func NewAuthority(cluster string, now time.Time, good time.Duration) (*Authority, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	return newAuthority("Limpet CA of cluster "+cluster, key, now.Add(-skew), now.Add(good))
}

func newAuthority(name string, key ed25519.PrivateKey, from, to time.Time) (*Authority, error) {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return &Authority{cert, key}, nil
}

// ReadAuthority reads a CA's certificate and key.
func ReadAuthority(certFile, keyFile string) (*Authority, error) {
	all, err := readCerts(certFile)
	if err != nil {
		return nil, err
	}
	block, err := readPEM(keyFile)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", keyFile, err)
	}
	key, ok := parsed.(crypto.Signer)
	if pub, fits := all[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !fits || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("key %s is not the one of %s", keyFile, certFile)
	}
	if !all[0].IsCA {
		return nil, fmt.Errorf("%s is not a CA's certificate", certFile)
	}
	return &Authority{all[0], key}, nil
}

// Write writes the CA's certificate and key; the key for its owner alone. Files
// that are there stay.
func (a *Authority) Write(certFile, keyFile string) error {
	return writePair(certFile, keyFile, a.key, a.cert.Raw)
}

// IssueNode writes a process's certificate and key, good for both ends of links.
func (a *Authority) IssueNode(n Name, now time.Time, good time.Duration, certFile, keyFile string) error {
	if err := n.Check(); err != nil {
		return err
	}
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: n.Role + " " + n.Node}, URIs: []*url.URL{n.URI()},
		NotBefore: now.Add(-skew), NotAfter: now.Add(good),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, certFile, keyFile)
}

// IssueServer writes a certificate and key for a listener that is reached under
// names or addresses.
func (a *Authority) IssueServer(hosts []string, now time.Time, good time.Duration, certFile, keyFile string) error {
	if len(hosts) == 0 {
		return errors.New("a server's certificate needs a name or address")
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-skew), NotAfter: now.Add(good),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return a.issue(t, certFile, keyFile)
}

func (a *Authority) issue(t *x509.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	der, err := a.sign(t, key.Public())
	if err != nil {
		return err
	}
	return writePair(certFile, keyFile, key, der)
}

func (a *Authority) sign(t *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] &= 0x7f
	t.SerialNumber = new(big.Int).SetBytes(serial)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return der, nil
}

func writePair(certFile, keyFile string, key crypto.Signer, der []byte) error {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := writeNew(keyFile, "PRIVATE KEY", raw, 0o600); err != nil {
		return err
	}
	return writeNew(certFile, "CERTIFICATE", der, 0o644)
}

func writeNew(path, kind string, der []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
