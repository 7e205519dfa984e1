package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDangerousSettingsAreRefused starts the programs in ways that would open
// them to strangers, lose rooms, or mean something else than they say. Each is
// refused in one line that names what to do.
func TestDangerousSettingsAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := file("key", []byte(strings.Repeat("k", 32)))
	misspelt := file("misspelt", []byte("admin an-operators-token\n"))
	short := file("short", []byte("password"))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := file("public", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	private := file("private", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	gw := func(args ...string) []string {
		return append([]string{"gatewayd", "--listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--ops", "127.0.0.1:0"}, args...)
	}
	host := func(args ...string) []string {
		return append([]string{"roomd", "--gossip", "127.0.0.1:0", "--link", "127.0.0.1:0", "--ops", "127.0.0.1:0"}, args...)
	}
	for name, c := range map[string]struct {
		args []string
		mend string // what the line must name
	}{
		"players off loopback without tokens":       {gw("--listen", "0.0.0.0:0"), "--auth-keys"},
		"players on all interfaces without tokens":  {gw("--listen", ":0"), "--insecure-anonymous"},
		"behind a proxy without tokens":             {gw("--trusted-proxies", "10.0.0.0/8"), "--auth-keys"},
		"keys, and open to everybody":               {gw("--auth-keys", "HS256:"+key, "--insecure-anonymous"), "drop one"},
		"issuer without keys":                       {gw("--auth-issuer", "game"), "--auth-keys"},
		"tokens without signatures":                 {gw("--auth-keys", "none:"+key), "HS256"},
		"algorithm left to tokens":                  {gw("--auth-keys", key), "ALGORITHM:FILE"},
		"short secret for tokens":                   {gw("--auth-keys", "HS256:"+short), "at least 32"},
		"public key as a secret":                    {gw("--auth-keys", "HS256:"+public), "PEM"},
		"private key in the gateway":                {gw("--auth-keys", "RS256:"+private), "public key"},
		"key of another algorithm":                  {gw("--auth-keys", "ES256:"+public), "ES256"},
		"keys that come in the clear":               {gw("--auth-jwks", "http://auth.example/keys"), "https://"},
		"everybody is a proxy":                      {gw("--trusted-proxies", "0.0.0.0/0", "--auth-keys", "HS256:"+key), "name the proxies"},
		"players' tokens in the clear":              {gw("--listen", "0.0.0.0:0", "--auth-keys", "HS256:"+key), "--tls-cert"},
		"anonymous players in the clear":            {gw("--listen", ":0", "--insecure-anonymous"), "--insecure-no-tls"},
		"certificate without its key":               {gw("--tls-cert", public), "--tls-key"},
		"certificate that is none":                  {gw("--tls-cert", public, "--tls-key", private), "--tls-cert"},
		"TLS and none":                              {gw("--tls-cert", public, "--tls-key", private, "--insecure-no-tls"), "drop one"},
		"certificate of links without its CA":       {gw("--node-cert", public, "--node-key", private), "--cluster-ca"},
		"certificate of links, but gossip open":     {gw("--node-cert", public, "--node-key", private, "--cluster-ca", public), "--cluster-key-file"},
		"links of a CA that is none":                {gw("--node-cert", public, "--node-key", private, "--cluster-ca", public, "--cluster-key-file", key), "--node-cert"},
		"operators' roles misspelt":                 {gw("--ops-token-file", misspelt), "read, drain or destroy"},
		"origin that is no origin":                  {gw("--origins", "*"), "SCHEME://HOST"},
		"origin with a path":                        {gw("--origins", "https://game.example/play"), "SCHEME://HOST"},
		"gateway's gossip off loopback without key": {gw("--gossip", "0.0.0.0:0"), "--cluster-key-file"},
		"gateway's links off loopback without key":  {gw("--link", "0.0.0.0:0"), "--cluster-key-file"},
		"operations off loopback without token":     {gw("--ops", "0.0.0.0:0"), "--ops-token-file"},
		"operations' certificate without its key":   {gw("--ops-tls-cert", public), "--ops-tls-key"},
		"operations' certificate that is none":      {gw("--ops-tls-cert", public, "--ops-tls-key", private), "--ops-tls-cert"},
		"short token for operations":                {gw("--ops", "0.0.0.0:0", "--ops-token-file", short), "at least 16"},
		"no limit on frames":                        {gw("--connection-frames", "0"), "from 1"},
		"no heartbeat":                              {gw("--heartbeat", "0"), "from 1s"},
		"control of a cluster by a remote host":     {gw("--dev-control", "http://10.0.0.1:1"), "loopback"},
		"rooms saved nowhere":                       {host(), "--redis URL and --data DIR"},
		"rooms saved twice":                         {host("--redis", "redis://127.0.0.1:1/0", "--data", dir), "one of"},
		"host's gossip off loopback without key":    {host("--data", dir, "--gossip", "0.0.0.0:0"), "--cluster-key-file"},
		"host's links off loopback without key":     {host("--data", dir, "--link", ":0"), "--cluster-key-file"},
		"short secret of the cluster":               {host("--data", dir, "--link", ":0", "--cluster-key-file", short), "at least 16"},
		"missing secret of the cluster":             {host("--data", dir, "--link", ":0", "--cluster-key-file", dir+"/none"), "--cluster-key-file"},
		"host's operations off loopback, no token":  {host("--data", dir, "--ops", ":0"), "--ops-token-file"},
		"lease too short to be renewed":             {host("--data", dir, "--lease", "100ms"), "from 1s"},
		"encryption of checkpoints without a key":   {host("--data", dir, "--checkpoint-encrypt"), "--checkpoint-keys-file"},
		"short key of checkpoints":                  {host("--data", dir, "--checkpoint-keys-file", short), "64 hex digits"},
		"secret of the cluster as an argument":      {host("--data", dir, "--cluster-key", "hunter2"), "unknown flag"},
		"a flag that is a word of a sentence":       {gw("insecure"), "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			status := runCommand(t, c.args, streams{strings.NewReader(""), &out, &errOut})
			line := lastLine(errOut.String())
			if status != 2 || !strings.Contains(line, c.mend) || !strings.HasPrefix(line, c.args[0]+": ") {
				t.Errorf("status %d, want 2 and %q in: %s", status, c.mend, line)
			}
			for _, secret := range []string{"password", "hunter2 ", strings.Repeat("k", 32)} {
				if strings.Contains(errOut.String(), secret) {
					t.Errorf("the output holds a secret: %s", &errOut)
				}
			}
		})
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func runCommand(t *testing.T, args []string, s streams) int {
	t.Helper()
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(context.Background(), args[1:], s)
		}
	}
	t.Fatalf("no command %s", args[0])
	return 0
}
