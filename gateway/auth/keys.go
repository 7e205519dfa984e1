package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// The algorithms that keys can be for.
const (
	HS256 = "HS256" // a shared secret: whoever can check tokens can make them
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

var algorithms = []string{HS256, RS256, ES256, EdDSA}

// KeyFile is a file with one or several keys for one algorithm: the secret
// itself for HS256, else public keys or certificates in PEM.
type KeyFile struct{ Algorithm, Path string }

// ParseKeyFile reads ALGORITHM:FILE.
func ParseKeyFile(s string) (KeyFile, error) {
	alg, path, ok := strings.Cut(s, ":")
	if !ok || path == "" || !slices.Contains(algorithms, alg) {
		return KeyFile{}, fmt.Errorf("%q: want ALGORITHM:FILE with one of %s", s, strings.Join(algorithms, ", "))
	}
	return KeyFile{alg, path}, nil
}

// key is one that tokens may be signed with, by its algorithm alone.
type key struct {
	id  string // "" in files
	alg string
	key jwt.VerificationKey
}

// keySet is immutable.
type keySet struct{ files, fetched []key }

// find lists the keys that a token with an algorithm and a key id may be
// signed with. Keys of files have no id and are all tried.
func (s *keySet) find(alg, id string) (found []jwt.VerificationKey) {
	for _, k := range s.files {
		if k.alg == alg {
			found = append(found, k.key)
		}
	}
	for _, k := range s.fetched {
		if k.alg == alg && (id == "" || k.id == id) {
			found = append(found, k.key)
		}
	}
	return found
}

// Fewest bytes of a secret, and bits of an RSA key.
const (
	minSecret = 32
	minRSA    = 2048
)

func readFiles(files []KeyFile) ([]key, error) {
	var all []key
	for _, f := range files {
		keys, err := f.read()
		if err != nil {
			return nil, fmt.Errorf("keys of %s: %w", f.Path, err)
		}
		all = append(all, keys...)
	}
	if len(all) > maxKeys {
		return nil, fmt.Errorf("%d keys: want at most %d", len(all), maxKeys)
	}
	return all, nil
}

func (f KeyFile) read() ([]key, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKeySet {
		return nil, fmt.Errorf("more than %d bytes", maxKeySet)
	}
	if f.Algorithm == HS256 {
		return secretKey(raw)
	}
	return publicKeys(raw, f.Algorithm)
}

// secretKey refuses what looks like a public key: taken for a secret, it would
// let everybody sign.
func secretKey(raw []byte) ([]key, error) {
	secret := strings.TrimSpace(string(raw))
	if block, _ := pem.Decode(raw); block != nil {
		return nil, errors.New("it holds PEM: a secret for HS256 is no key of another algorithm")
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secret of %d bytes: want at least %d", len(secret), minSecret)
	}
	return []key{{alg: HS256, key: []byte(secret)}}, nil
}

func publicKeys(raw []byte, alg string) ([]key, error) {
	var keys []key
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		pub, err := publicKey(block)
		if err == nil {
			err = fits(pub, alg)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key{alg: alg, key: pub})
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in PEM")
	}
	return keys, nil
}

func publicKey(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("it holds a %s: a gateway needs the public key alone", strings.ToLower(block.Type))
}

// fits checks that a key is one of its algorithm's, and a strong one.
func fits(pub crypto.PublicKey, alg string) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if alg == RS256 && k.N.BitLen() < minRSA {
			return fmt.Errorf("RSA key of %d bits: want at least %d", k.N.BitLen(), minRSA)
		}
		if alg == RS256 {
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if alg == EdDSA {
			return nil
		}
	}
	return fmt.Errorf("a %T is no key for %s", pub, alg)
}
