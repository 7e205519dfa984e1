package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
)

// jwk is a public key of a JSON Web Key Set (RFC 7517, RFC 8037).
type jwk struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid"`
	Algorithm string   `json:"alg"`
	Use       string   `json:"use"`
	Ops       []string `json:"key_ops"`
	Curve     string   `json:"crv"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
}

// client follows no redirects: keys come from where the operator said.
var client = &http.Client{
	Timeout:       fetchWithin,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetch gets the keys of a set.
func fetch(ctx context.Context, url string) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch key set: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Close = true // minutes pass until the next
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch key set: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch key set: %s answers %s", url, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("fetch key set: %w", err)
	}
	if len(raw) > maxKeySet {
		return nil, fmt.Errorf("key set has more than %d bytes", maxKeySet)
	}
	return parseSet(raw)
}

// parseSet takes the keys that are for checking signatures with an algorithm
// of ours. Secrets have no business in a set that everybody can read.
func parseSet(raw []byte) ([]key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	var keys []key
	seen := map[string]bool{}
	for _, j := range set.Keys {
		alg, pub, err := j.key()
		if err != nil || len(j.ID) > maxKeyID || !j.verifies() || j.Algorithm != "" && j.Algorithm != alg {
			continue
		}
		if j.ID != "" && seen[j.ID] {
			return nil, errors.New("key set has two keys of one id")
		}
		seen[j.ID] = true
		keys = append(keys, key{id: j.ID, alg: alg, key: pub})
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("key set has no key for RS256, ES256 or EdDSA")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("key set has %d keys: want at most %d", len(keys), maxKeys)
	}
	return keys, nil
}

// verifies reports whether the key is there to check signatures.
func (j *jwk) verifies() bool {
	if j.Use != "" && j.Use != "sig" {
		return false
	}
	for _, op := range j.Ops {
		if op == "verify" {
			return true
		}
	}
	return len(j.Ops) == 0
}

// key is the public key, and the one algorithm that it is for.
func (j *jwk) key() (alg string, pub jwt.VerificationKey, err error) {
	switch {
	case j.Type == "RSA":
		alg, pub, err = RS256, nil, nil
		pub, err = j.rsa()
	case j.Type == "EC" && j.Curve == "P-256":
		alg = ES256
		pub, err = j.p256()
	case j.Type == "OKP" && j.Curve == "Ed25519":
		alg = EdDSA
		var x []byte
		if x, err = field(j.X, ed25519.PublicKeySize); err == nil {
			pub = ed25519.PublicKey(x)
		}
	default:
		err = fmt.Errorf("key of type %q is not used", j.Type)
	}
	if err != nil {
		return "", nil, err
	}
	return alg, pub, fits(pub.(crypto.PublicKey), alg)
}

func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := field(j.N, 0)
	if err != nil {
		return nil, err
	}
	e, err := field(j.E, 0)
	if err != nil {
		return nil, err
	}
	exp := new(big.Int).SetBytes(e)
	if len(n) > 1024 || !exp.IsInt64() || exp.Int64() < 3 || exp.Int64() > 1<<31-1 {
		return nil, errors.New("RSA key is out of range")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exp.Int64())}, nil
}

func (j *jwk) p256() (*ecdsa.PublicKey, error) {
	x, err := field(j.X, 32)
	if err != nil {
		return nil, err
	}
	y, err := field(j.Y, 32)
	if err != nil {
		return nil, err
	}
	point := append(append([]byte{4}, x...), y...) // the uncompressed form
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}

// field decodes a number of a key, of n bytes unless n is 0.
func field(s string, n int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && (len(b) == 0 || n != 0 && len(b) != n) {
		err = fmt.Errorf("field of %d bytes", len(b))
	}
	return b, err
}
