package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/internal/daemon"
)

// TestKeysChangeWhilePlaying changes every key that a cluster has, as
// docs/security.md says, while somebody plays over one connection. Then the host,
// and the gateway, are killed: with the new keys alone the room comes back from the
// store and the player to its room.
func TestKeysChangeWhilePlaying(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	k := newKeys(t)
	c := startClusterOf(t, k.cluster(t))
	k.player.Store("first")
	l := k.join(ctx, t, c)
	played := 0
	plays := func(what string) {
		t.Helper()
		played++
		l.play(ctx, t, played)
		if l.lost() > 0 {
			t.Fatalf("%s: the player's connection is lost", what)
		}
	}
	plays("before any change")

	// The keys of players' tokens.
	k.publish("first", "second")
	await(ctx, t, "a token with the new key", func() bool { return k.admits(ctx, c, "second") })
	plays("two keys for tokens")
	k.publish("second")
	k.player.Store("second")
	await(ctx, t, "no token with the old key", func() bool { return !k.admits(ctx, c, "first") })
	plays("the second key for tokens")

	// Operators' tokens.
	asks := func(token string) bool {
		return strings.Contains(get(ctx, t, c.Hosts[0].Ops("/v1/status"), token), "host-1")
	}
	k.put("ops", "destroy "+cluster.Secret+"\nread old-operators-token\nread new-operators-token\n")
	await(ctx, t, "the new operators' token", func() bool { return asks("new-operators-token") && asks("old-operators-token") })
	k.put("ops", "destroy "+cluster.Secret+"\nread new-operators-token\n")
	await(ctx, t, "the old operators' token is refused", func() bool { return !asks("old-operators-token") && asks("new-operators-token") })

	// The certificate that players see: the key first.
	before := k.shown(t, c)
	cert, key := k.server(t, k.ca)
	k.put("players-key.pem", key)
	k.put("players.pem", cert)
	await(ctx, t, "another certificate", func() bool { return k.shown(t, c) != before })
	plays("another certificate")

	// The CA of links.
	next := k.authority(t)
	k.put("ca.pem", k.text(t, k.ca)+k.text(t, next))
	k.issue(t, next)
	k.put("ca.pem", k.text(t, next))
	plays("another CA")

	// The cluster's secret.
	old := k.step(ctx, t, c, daemon.SecretsOrder{Do: daemon.SecretAdd}, 2)[0]
	fresh := k.secrets(ctx, t, c)[1]
	k.step(ctx, t, c, daemon.SecretsOrder{Do: daemon.SecretUse, ID: fresh}, 2)
	plays("another secret")

	// The checkpoints' keys: a restart in place for each step.
	for _, text := range []string{k.seals[0] + "\n" + k.seals[1] + "\n", k.seals[1] + "\n" + k.seals[0] + "\n"} {
		k.put("seals", text)
		if _, err := cluster.RestartInPlace(ctx, c.Gateways[0], "host-1", func() error { c.Hosts[0].Signal(syscall.SIGUSR2); return nil }); err != nil {
			t.Fatal(err)
		}
		plays("another key for checkpoints")
	}
	if err := l.room.Settle(ctx); err != nil {
		t.Fatal(err)
	}

	// The host comes back with the new keys alone, and over a new link.
	k.put("seals", k.seals[1]+"\n")
	c.Hosts[0].Signal(syscall.SIGKILL)
	if err := c.Hosts[0].Start(); err != nil {
		t.Fatal(err)
	}
	plays("a host with the new keys alone")

	// So does the gateway, whose player shows a token for resuming that the former secret signed.
	c.Gateways[0].Signal(syscall.SIGKILL)
	if err := c.Gateways[0].Start(); err != nil {
		t.Fatal(err)
	}
	l.until(ctx, t, "the player is back", func() bool { return l.resumes == 1 })
	l.play(ctx, t, played+1)
	k.step(ctx, t, c, daemon.SecretsOrder{Do: daemon.SecretDrop, ID: old}, 1)
	l.play(ctx, t, played+2)
	if n := l.lost(); n != 1 {
		t.Errorf("the player's connection was lost %d times, want once, with its gateway", n)
	}
}

func await(ctx context.Context, t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		wait(ctx, t, what)
	}
}

// keys are what a cluster is given, in files that can be replaced, and by a server
// of players' keys.
type keys struct {
	dir    string
	url    string
	ca     *certs.Authority // of the players' certificate, and of links at first
	roots  *x509.CertPool
	seals  [2]string // of checkpoints
	player atomic.Value
	signs  map[string]ed25519.PrivateKey // players' tokens, by key id
	set    atomic.Value                  // JSON
}

func newKeys(t *testing.T) *keys {
	k := &keys{dir: t.TempDir(), signs: map[string]ed25519.PrivateKey{}, roots: x509.NewCertPool(),
		seals: [2]string{strings.Repeat("01", 32), strings.Repeat("02", 32)}}
	for _, id := range []string{"first", "second"} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.signs[id] = key
	}
	k.publish("first")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(k.set.Load().([]byte)) }))
	t.Cleanup(s.Close)
	k.url = s.URL
	k.ca = k.authority(t)
	k.roots.AppendCertsFromPEM([]byte(k.text(t, k.ca)))
	k.put("ca.pem", k.text(t, k.ca))
	k.issue(t, k.ca)
	return k
}

// cluster is a host and a gateway with all of them.
func (k *keys) cluster(t *testing.T) cluster.Config {
	at := func(name string) string { return filepath.Join(k.dir, name) }
	cert, key := k.server(t, k.ca)
	k.put("players.pem", cert)
	k.put("players-key.pem", key)
	k.put("ops", "destroy "+cluster.Secret+"\nread old-operators-token\n")
	k.put("seals", k.seals[0]+"\n")
	common := func(node string) []string {
		return []string{"--ops-token-file", at("ops"), "--cluster-ca", at("ca.pem"), "--node-cert", at(node + ".pem"), "--node-key", at(node + "-key.pem")}
	}
	return cluster.Config{
		Roomd: program(t, "e2e/roomd"), Hosts: 1, Gateways: 1,
		Host: append(common("host-1"), "--checkpoint-keys-file", at("seals"), "--checkpoint-encrypt"),
		Edge: append(common("gateway-1"), "--tls-cert", at("players.pem"), "--tls-key", at("players-key.pem"),
			"--auth-jwks", k.url, "--auth-refresh", "1s", "--auth-audience", "e2e"),
	}
}

// put replaces a file.
func (k *keys) put(name, text string) {
	path := filepath.Join(k.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		panic(err)
	}
}

// publish makes the key set hold these.
func (k *keys) publish(ids ...string) {
	var all []map[string]string
	for _, id := range ids {
		x := base64.RawURLEncoding.EncodeToString(k.signs[id].Public().(ed25519.PublicKey))
		all = append(all, map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": id, "x": x})
	}
	set, err := json.Marshal(map[string]any{"keys": all})
	if err != nil {
		panic(err)
	}
	k.set.Store(set)
}

// token is a player's, good for a minute.
func (k *keys) token(id string) ([]byte, error) {
	claims := jwt.MapClaims{"sub": "ann", "aud": "e2e", "exp": time.Now().Add(time.Minute).Unix()}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = id
	s, err := token.SignedString(k.signs[id])
	return []byte(s), err
}

func (k *keys) client(c *cluster.Cluster) client.Config {
	return client.Config{URLs: []string{"wss" + strings.TrimPrefix(c.URLs()[0], "ws")}, TLS: &tls.Config{RootCAs: k.roots, ServerName: "localhost"}}
}

// join begins the game, with tokens of the key that is the player's by then.
func (k *keys) join(ctx context.Context, t *testing.T, c *cluster.Cluster) *listener {
	t.Helper()
	cfg := k.client(c)
	cfg.NewToken = func(context.Context) ([]byte, error) { return k.token(k.player.Load().(string)) }
	return listenerOf(ctx, t, cfg, "steady/keys")
}

// admits reports whether a token of a key opens a connection.
func (k *keys) admits(ctx context.Context, c *cluster.Cluster, id string) bool {
	cfg := k.client(c)
	cfg.NewToken = func(context.Context) ([]byte, error) { return k.token(id) }
	one, err := client.Dial(ctx, cfg)
	if err != nil {
		return false
	}
	one.Close()
	return true
}

// shown is the serial number of the certificate that players see.
func (k *keys) shown(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(c.URLs()[0], "ws://"), &tls.Config{RootCAs: k.roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (k *keys) authority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("e2e", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// text is an authority's certificate.
func (k *keys) text(t *testing.T, a *certs.Authority) string {
	t.Helper()
	cert, _ := written(t, a.Write)
	return cert
}

// server is a certificate for players, and its key.
func (k *keys) server(t *testing.T, a *certs.Authority) (cert, key string) {
	t.Helper()
	return written(t, func(cert, key string) error {
		return a.IssueServer([]string{"localhost"}, time.Now(), time.Hour, cert, key)
	})
}

// issue gives both processes certificates.
func (k *keys) issue(t *testing.T, a *certs.Authority) {
	t.Helper()
	for node, role := range map[string]string{"host-1": "host", "gateway-1": "gateway"} {
		cert, key := written(t, func(cert, key string) error {
			return a.IssueNode(certs.Name{Cluster: "e2e", Role: role, Node: node}, time.Now(), time.Hour, cert, key)
		})
		k.put(node+"-key.pem", key)
		k.put(node+".pem", cert)
	}
}

// written is what write puts into two files.
func written(t *testing.T, write func(cert, key string) error) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "cert"), filepath.Join(dir, "key")}
	if err := write(paths[0], paths[1]); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts[0], texts[1]
}

// secrets are those that the host holds.
func (k *keys) secrets(ctx context.Context, t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	var a daemon.SecretsAnswer
	if err := c.Hosts[0].Admin(ctx, "/v1/secrets", nil, &a); err != nil {
		t.Fatal(err)
	}
	return a.Nodes[0].Secrets
}

// step changes the cluster's secret, and waits until both processes hold n, the
// same ones in the same order.
func (k *keys) step(ctx context.Context, t *testing.T, c *cluster.Cluster, o daemon.SecretsOrder, n int) []string {
	t.Helper()
	var a daemon.SecretsAnswer
	if err := c.Hosts[0].Admin(ctx, "/v1/secrets", o, &a); err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	await(ctx, t, "both processes have taken the step", func() bool {
		err := c.Hosts[0].Admin(ctx, "/v1/secrets", nil, &a)
		return err == nil && len(a.Nodes) == 2 && len(a.Nodes[0].Secrets) == n && slices.Equal(a.Nodes[0].Secrets, a.Nodes[1].Secrets)
	})
	return a.Nodes[0].Secrets
}
