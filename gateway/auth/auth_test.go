package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The game's keys.
var (
	secret        = []byte("a secret of the game, long enough")
	rsaKey, _     = rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _      = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _   = ed25519.GenerateKey(rand.Reader)
	strangerEC, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
)

func publicPEM(t testing.TB, k crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func allFiles(t testing.TB) []KeyFile {
	return []KeyFile{
		{HS256, write(t, "secret", secret)}, {RS256, write(t, "rsa.pem", publicPEM(t, rsaKey.Public()))},
		{ES256, write(t, "ec.pem", publicPEM(t, ecKey.Public()))}, {EdDSA, write(t, "ed.pem", publicPEM(t, edKey.Public()))},
	}
}

func newVerifier(t testing.TB, change ...func(*Config)) *Verifier {
	t.Helper()
	cfg := Config{Files: allFiles(t), Issuer: "game", Audience: "limpet", Log: zerolog.Nop()}
	for _, f := range change {
		f(&cfg)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// good are claims that pass; with overrides, nil to leave one out.
func good(over map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ada", "iss": "game", "aud": "limpet", "exp": time.Now().Add(time.Minute).Unix()}
	for k, v := range over {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func sign(t testing.TB, m jwt.SigningMethod, key any, c jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	for i := 0; i+1 < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEachAlgorithm(t *testing.T) {
	v := newVerifier(t)
	for alg, token := range map[string]string{
		HS256: sign(t, jwt.SigningMethodHS256, secret, good(nil)), RS256: sign(t, jwt.SigningMethodRS256, rsaKey, good(nil)),
		ES256: sign(t, jwt.SigningMethodES256, ecKey, good(nil)), EdDSA: sign(t, jwt.SigningMethodEdDSA, edKey, good(nil)),
	} {
		id, err := v.Verify(t.Context(), []byte(token))
		if err != nil || id.User != "ada" || !json.Valid(id.Claims) || id.Kinds != nil || id.Rooms != nil {
			t.Errorf("%s: %+v, %v", alg, id, err)
		}
	}
}

// forged are tokens that must not pass.
func forged(t testing.TB) map[string]string {
	es := func(over map[string]any) string { return sign(t, jwt.SigningMethodES256, ecKey, good(over)) }
	parts := strings.Split(es(nil), ".")
	b64 := base64.RawURLEncoding.EncodeToString
	none := func(alg string) string {
		return b64([]byte(`{"alg":"`+alg+`","typ":"JWT"}`)) + "." + parts[1] + "."
	}
	rsaPEM, ecPEM := publicPEM(t, rsaKey.Public()), publicPEM(t, ecKey.Public())
	return map[string]string{
		"empty": "", "garbled": "let me in", "two parts": parts[0] + "." + parts[1], "four parts": es(nil) + ".x",
		"none": none("none"), "None": none("None"), "nOnE": none("nOnE"), "no alg": b64([]byte(`{"typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"none with its signature":        strings.TrimSuffix(none("none"), ".") + "." + parts[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"RSA key as a secret":            sign(t, jwt.SigningMethodHS256, rsaPEM, good(nil)),
		"EC key as a secret":             sign(t, jwt.SigningMethodHS256, ecPEM, good(nil)),
		"EC key's point as a secret":     sign(t, jwt.SigningMethodHS256, elliptic.MarshalCompressed(elliptic.P256(), ecKey.X, ecKey.Y), good(nil)),
		"Ed25519 key as a secret":        sign(t, jwt.SigningMethodHS256, []byte(edKey.Public().(ed25519.PublicKey)), good(nil)),
		"empty secret":                   sign(t, jwt.SigningMethodHS256, []byte{}, good(nil)),
		"HS512 with the secret":          sign(t, jwt.SigningMethodHS512, secret, good(nil)),
		"PS256":                          sign(t, jwt.SigningMethodPS256, rsaKey, good(nil)),
		"RS512":                          sign(t, jwt.SigningMethodRS512, rsaKey, good(nil)),
		"stranger's key":                 sign(t, jwt.SigningMethodES256, strangerEC, good(nil)),
		"stranger's key, kid a path":     sign(t, jwt.SigningMethodES256, strangerEC, good(nil), "kid", "../../../dev/null"),
		"empty secret, kid a null file":  sign(t, jwt.SigningMethodHS256, []byte{}, good(nil), "kid", "/dev/null"),
		"stranger's key, kid a query":    sign(t, jwt.SigningMethodHS256, []byte("x"), good(nil), "kid", "x' UNION SELECT 'x"),
		"stranger's key at a URL":        sign(t, jwt.SigningMethodES256, strangerEC, good(nil), "jku", "https://evil.example/keys"),
		"stranger's certificate":         sign(t, jwt.SigningMethodES256, strangerEC, good(nil), "x5u", "https://evil.example/cert"),
		"critical extension":             withHeader(t, map[string]any{"alg": ES256, "crit": []string{"b64"}, "b64": false}),
		"its own key":                    withHeader(t, map[string]any{"alg": ES256, "jwk": map[string]string{"kty": "oct", "k": "AA"}}) + "x",
		"expired":                        es(map[string]any{"exp": time.Now().Add(-10 * time.Second).Unix()}),
		"never expires":                  es(map[string]any{"exp": nil}),
		"exp is text":                    es(map[string]any{"exp": "tomorrow"}),
		"exp is huge":                    es(map[string]any{"exp": json.RawMessage("1e400")}),
		"not yet":                        es(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}),
		"issued tomorrow":                es(map[string]any{"iat": time.Now().Add(24 * time.Hour).Unix()}),
		"other audience":                 es(map[string]any{"aud": "shop"}),
		"no audience":                    es(map[string]any{"aud": nil}),
		"other issuer":                   es(map[string]any{"iss": "shop"}),
		"no issuer":                      es(map[string]any{"iss": nil}),
		"no subject":                     es(map[string]any{"sub": nil}),
		"long subject":                   es(map[string]any{"sub": strings.Repeat("x", wire.MaxUserLen+1)}),
		"subject with a line break":      es(map[string]any{"sub": "ada\nlevel=error"}),
		"subject is a number":            es(map[string]any{"sub": 7}),
		"claims too big":                 es(map[string]any{"more": strings.Repeat("x", peer.MaxClaims)}),
		"grant of too many":              es(map[string]any{"limpet": map[string]any{"kinds": strings.Split(strings.Repeat("k,", 70), ",")}}),
		"seat without a name":            es(map[string]any{"limpet": map[string]any{"seat": ""}}),
		"long seat":                      es(map[string]any{"limpet": map[string]any{"seat": strings.Repeat("s", 65)}}),
		"seat is a number":               es(map[string]any{"limpet": map[string]any{"seat": 1}}),
		"grant is text":                  es(map[string]any{"limpet": "everything"}),
		"padded":                         es(nil) + "=",
		"longer than a frame has room":   es(map[string]any{"more": strings.Repeat("x", wire.MaxToken)}),
		"payload of another":             parts[0] + "." + strings.Split(es(map[string]any{"sub": "bob"}), ".")[1] + "." + parts[2],
		"signature of DER form":          parts[0] + "." + parts[1] + "." + derSignature(t, parts[0]+"."+parts[1]),
		"signature of zeros":             parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)),
		"HS256 signed over RS256 header": parts[0] + "." + parts[1] + "." + strings.Split(sign(t, jwt.SigningMethodHS256, secret, good(nil)), ".")[2],
	}
}

// withHeader is a token that is signed well under a header of its own.
func withHeader(t testing.TB, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, good(nil))
	for k, v := range header {
		token.Header[k] = v
	}
	s, err := token.SignedString(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func derSignature(t testing.TB, text string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sig)
}

func TestForgedTokens(t *testing.T) {
	v := newVerifier(t)
	for name, token := range forged(t) {
		id, err := v.Verify(t.Context(), []byte(token))
		if err == nil {
			t.Errorf("%s: taken as %+v", name, id)
			continue
		}
		if len(token) > 20 && strings.Contains(err.Error(), token[len(token)-20:]) {
			t.Errorf("%s: the error holds the token: %v", name, err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	v := newVerifier(t)
	for alg, text := range map[string]string{
		HS256: sign(t, jwt.SigningMethodHS256, secret, good(nil)), RS256: sign(t, jwt.SigningMethodRS256, rsaKey, good(nil)),
		ES256: sign(t, jwt.SigningMethodES256, ecKey, good(nil)), EdDSA: sign(t, jwt.SigningMethodEdDSA, edKey, good(nil)),
	} {
		t.Run(alg, func(t *testing.T) { flipEach(t, v, []byte(text)) })
	}
}

func flipEach(t *testing.T, v *Verifier, token []byte) {
	t.Helper()
	for i := range token {
		for bit := range 8 {
			token[i] ^= 1 << bit
			if id, err := v.Verify(t.Context(), token); err == nil {
				t.Errorf("byte %d, bit %d: taken as %+v", i, bit, id)
			}
			token[i] ^= 1 << bit
		}
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

func TestLeewayAndAudience(t *testing.T) {
	late := good(map[string]any{"exp": time.Now().Add(-3 * time.Second).Unix()})
	if _, err := newVerifier(t).Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, late))); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	strict := newVerifier(t, func(c *Config) { c.Leeway, c.Audience, c.Issuer = -1, "", "" })
	if _, err := strict.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, late))); !errors.Is(err, jwt.ErrTokenExpired) {
		t.Errorf("without leeway: %v", err)
	}
	if _, err := strict.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, good(nil)))); !errors.Is(err, errAudience) {
		t.Errorf("an audience where none is set: %v", err)
	}
	if _, err := strict.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, good(map[string]any{"aud": nil})))); err != nil {
		t.Errorf("no audience where none is set: %v", err)
	}
}

func TestGrant(t *testing.T) {
	token := sign(t, jwt.SigningMethodHS256, secret, good(map[string]any{"limpet": map[string]any{"kinds": []string{"arena"}, "rooms": []string{}}}))
	id, err := newVerifier(t).Verify(t.Context(), []byte(token))
	if err != nil || len(id.Kinds) != 1 || id.Kinds[0] != "arena" || id.Rooms == nil || len(id.Rooms) != 0 {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	private, _ := x509.MarshalPKCS8PrivateKey(ecKey)
	for name, f := range map[string]KeyFile{
		"missing":              {HS256, filepath.Join(t.TempDir(), "none")},
		"short secret":         {HS256, write(t, "k", []byte("31 bytes are not quite enough.."))},
		"public key as secret": {HS256, write(t, "k", publicPEM(t, rsaKey.Public()))},
		"weak RSA":             {RS256, write(t, "k", publicPEM(t, weak.Public()))},
		"EC for RS256":         {RS256, write(t, "k", publicPEM(t, ecKey.Public()))},
		"P-384":                {ES256, write(t, "k", publicPEM(t, p384.Public()))},
		"RSA for EdDSA":        {EdDSA, write(t, "k", publicPEM(t, rsaKey.Public()))},
		"private key":          {ES256, write(t, "k", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))},
		"no PEM":               {ES256, write(t, "k", []byte("hello"))},
		"too long":             {HS256, write(t, "k", make([]byte, maxKeySet+1))},
	} {
		if _, err := New(Config{Files: []KeyFile{f}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, s := range []string{"", "HS256", "HS256:", "none:/x", "HS512:/x", "hs256:/x"} {
		if _, err := ParseKeyFile(s); err == nil {
			t.Errorf("%q: taken", s)
		}
	}
}

func ecJWK(id string, k *ecdsa.PublicKey) map[string]any {
	raw, _ := k.Bytes()
	b64 := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": b64(raw[1:33]), "y": b64(raw[33:])}
}

func rsaJWK(id string, k *rsa.PublicKey) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "RSA", "kid": id, "alg": RS256, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

// keyServer serves a key set that the test can change.
type keyServer struct {
	*httptest.Server
	body atomic.Pointer[[]byte]
	asks atomic.Int32
}

func serveKeys(t *testing.T) *keyServer {
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asks.Add(1)
		if b := s.body.Load(); b != nil {
			w.Write(*b)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) set(t *testing.T, keys ...any) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	s.body.Store(&raw)
}

func run(t *testing.T, v *Verifier) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestKeySetFollowsItsURL(t *testing.T) {
	s := serveKeys(t)
	v := newVerifier(t, func(c *Config) { c.Files, c.JWKS, c.Refresh = nil, s.URL, 20*time.Millisecond })
	old := sign(t, jwt.SigningMethodES256, ecKey, good(nil), "kid", "old")
	fresh := sign(t, jwt.SigningMethodRS256, rsaKey, good(nil), "kid", "new")
	check := func(token string) error { _, err := v.Verify(t.Context(), []byte(token)); return err }
	run(t, v)
	if v.Ready() == nil || check(old) == nil {
		t.Fatal("ready without a key")
	}
	s.set(t, ecJWK("old", &ecKey.PublicKey))
	until(t, "first key", func() bool { return check(old) == nil })
	if v.Ready() != nil {
		t.Error("not ready with a key")
	}
	if check(sign(t, jwt.SigningMethodES256, strangerEC, good(nil), "kid", "old")) == nil ||
		check(sign(t, jwt.SigningMethodES256, ecKey, good(nil), "kid", "other")) == nil || check(fresh) == nil {
		t.Error("a token of an unknown key is good")
	}
	s.set(t, ecJWK("old", &ecKey.PublicKey), rsaJWK("new", &rsaKey.PublicKey))
	until(t, "second key", func() bool { return check(fresh) == nil && check(old) == nil })
	broken := []byte("{")
	s.body.Store(&broken)
	asked := s.asks.Load()
	until(t, "a failed look", func() bool { return s.asks.Load() >= asked+2 })
	if check(fresh) != nil {
		t.Error("a look that failed took the keys away")
	}
	s.set(t, rsaJWK("new", &rsaKey.PublicKey))
	until(t, "the old key's end", func() bool { return check(old) != nil })
	if check(fresh) != nil {
		t.Error("the key that stayed is gone")
	}
}

// Made-up key ids must not make the gateway ask more than now and then.
func TestUnknownKeysAskOnce(t *testing.T) {
	s := serveKeys(t)
	s.set(t, ecJWK("k", &ecKey.PublicKey))
	v := newVerifier(t, func(c *Config) { c.Files, c.JWKS, c.Refresh = nil, s.URL, time.Hour })
	run(t, v)
	until(t, "keys", func() bool { return v.Ready() == nil })
	for i := range 500 {
		v.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, good(nil), "kid", fmt.Sprint(i))))
	}
	until(t, "a second look", func() bool { return s.asks.Load() == 2 })
	for i := range 500 {
		v.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodHS256, secret, good(nil), "kid", fmt.Sprint(i))))
	}
	if n := s.asks.Load(); n > 2 {
		t.Errorf("%d looks", n)
	}
}

func TestKeySetsThatAreRefused(t *testing.T) {
	good := ecJWK("a", &ecKey.PublicKey)
	with := func(k string, v any) map[string]any {
		m := map[string]any{}
		for name, x := range good {
			m[name] = x
		}
		m[k] = v
		return m
	}
	many := make([]any, maxKeys+1)
	for i := range many {
		many[i] = ecJWK(fmt.Sprint(i), &ecKey.PublicKey)
	}
	for name, keys := range map[string][]any{
		"none": {}, "a secret": {map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}}, "for encryption": {with("use", "enc")},
		"for another algorithm": {with("alg", "ES384")}, "claims HS256": {with("alg", HS256)}, "off the curve": {with("x", good["y"])},
		"short": {with("x", "AAAA")}, "one id twice": {good, good}, "too many": many, "for signing": {with("key_ops", []string{"sign"})},
		"small exponent": {map[string]any{"kty": "RSA", "kid": "a", "n": base64.RawURLEncoding.EncodeToString(rsaKey.N.Bytes()), "e": "AQ"}},
	} {
		raw, _ := json.Marshal(map[string]any{"keys": keys})
		if got, err := parseSet(raw); err == nil {
			t.Errorf("%s: taken, %d keys", name, len(got))
		}
	}
}

func FuzzVerify(f *testing.F) {
	v := newVerifier(f)
	f.Add([]byte(sign(f, jwt.SigningMethodHS256, secret, good(nil))))
	for _, token := range forged(f) {
		f.Add([]byte(token))
	}
	f.Fuzz(func(t *testing.T, token []byte) {
		id, err := v.Verify(t.Context(), token)
		if err == nil && (id.User == "" || len(id.Claims) > peer.MaxClaims) {
			t.Errorf("%+v", id)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	raw, _ := json.Marshal(map[string]any{"keys": []any{ecJWK("a", &ecKey.PublicKey), rsaJWK("b", &rsaKey.PublicKey)}})
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if keys, err := parseSet(raw); err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Errorf("%d keys", len(keys))
		}
	})
}
