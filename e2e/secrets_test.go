package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/wire"
)

// TestLogsHoldNoSecrets lets players and operators show good and bad tokens in
// every way there is, breaks a host in between, and then looks for the tokens, and
// for what signs them, in all that the processes have logged at their loudest, in
// their metrics and in the list of processes.
func TestLogsHoldNoSecrets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := os.Getenv("LIMPET_E2E_LOGS")
	if dir == "" {
		dir = t.TempDir()
	}
	key, ops := strings.Repeat("players-key-", 4), "operators-secret-token"
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	common := []string{"--log-level", "debug", "--ops-token-file", write("ops", "read "+ops+" ann\n")}
	c := startClusterOf(t, cluster.Config{
		Dir: dir, Roomd: program(t, "e2e/roomd"), Hosts: 2, Gateways: 1,
		Host: append(common, "--checkpoint-keys-file", write("checkpoints", strings.Repeat("5ea1", 16)+"\n")),
		Edge: append(common, "--auth-keys", "HS256:"+write("players", key)),
	})
	secrets := map[string][]byte{"players' key": []byte(key), "operators' token": []byte(ops), "cluster's secret": []byte(cluster.Secret)}
	signed := func(name, with string, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(with))
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = []byte(token)
		secrets[name+"'s signature"] = []byte(token[strings.LastIndexByte(token, '.')+1:])
		return token
	}
	later := time.Now().Add(time.Hour).Unix()
	good := signed("good token", key, jwt.MapClaims{"sub": "ann", "exp": later})
	spoken := signed("token of the handshake", key, jwt.MapClaims{"sub": "bob", "exp": later, "limpet": map[string]any{"kinds": []string{"chat"}}})
	old := signed("token that has run out", key, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(-time.Hour).Unix()})
	forged := signed("forged token", strings.Repeat("x", 40), jwt.MapClaims{"sub": "ann", "exp": later})

	url := c.URLs()[0]
	ann := dialSpeaker(ctx, t, url, good, "")
	ann.say(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "secrets"}.Append(nil))
	joined, err := wire.DecodeJoined(ann.until(t, wire.TypeJoined))
	if err != nil {
		t.Fatal(err)
	}
	secrets["resume token"] = joined.Token
	bob := dialSpeaker(ctx, t, url, "", spoken)
	bob.say(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "secrets"}.Append(nil)) // not one of its kinds
	bob.until(t, wire.TypeError)
	limited := func(name string, limit map[string]any) *speaker {
		s := dialSpeaker(ctx, t, url, signed(name, key, jwt.MapClaims{"sub": name, "exp": later, "limpet": limit}), "")
		s.say(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "seats"}.Append(nil))
		return s
	}
	refused := func(s *speaker, want wire.Code) {
		t.Helper()
		if e, err := wire.DecodeError(s.until(t, wire.TypeError)); err != nil || e.Code != want {
			t.Errorf("refused with %+v, %v; want %v", e, err, want)
		}
	}
	refused(limited("another room's", map[string]any{"rooms": []string{"ledger/others"}}), wire.CodeUnauthorized)
	limited("red", map[string]any{"rooms": []string{"ledger/seats"}, "seat": "red"}).until(t, wire.TypeJoined)
	limited("blue", map[string]any{"seat": "blue"}).until(t, wire.TypeJoined)
	refused(limited("red again", map[string]any{"seat": "red"}), wire.CodeRoomFull)
	for _, token := range []string{old, forged, "no token at all"} {
		dialSpeaker(ctx, t, url, token, "").closed(t)
	}
	ann.ws.Close()
	again := dialSpeaker(ctx, t, url, good, "")
	again.say(wire.Resume{Ref: 2, Token: joined.Token}.Append(nil))
	again.until(t, wire.TypeJoined)
	bad := bytes.Clone(joined.Token)
	bad[len(bad)-1] ^= 1
	again.say(wire.Resume{Ref: 3, Token: bad}.Append(nil))
	again.until(t, wire.TypeError)
	c.Hosts[1].Signal(syscall.SIGKILL) // its rooms, and what others say of it
	third := dialSpeaker(ctx, t, url, good, "")
	third.say(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "secrets"}.Append(nil))
	third.until(t, wire.TypeJoined)

	metrics := ""
	for _, p := range []*cluster.Process{c.Hosts[0], c.Gateways[0]} {
		for _, token := range []string{ops, ops + "x", ""} {
			metrics += get(ctx, t, p.Ops("/metrics"), token)
		}
		metrics += get(ctx, t, p.Ops("/v1/status?token="+ops), "")
	}
	for what, text := range spoke(t, dir, metrics) {
		for name, secret := range secrets {
			for _, form := range [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)),
				[]byte(base64.StdEncoding.EncodeToString(secret))} {
				if bytes.Contains(text, form) {
					t.Errorf("%s holds the %s", what, name)
				}
			}
		}
	}
}

// spoke is all that the processes have said, and how they were started.
func spoke(t *testing.T, dir, metrics string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"metrics": []byte(metrics)}
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range append(logs, lines...) {
		text, err := os.ReadFile(path)
		ours := bytes.Contains(text, []byte(dir)) && !bytes.Contains(text, []byte("\x00-test."))
		if err == nil && (strings.HasSuffix(path, ".log") || ours) {
			all[path] = text
		}
	}
	if len(logs) < 4 || len(all) < len(logs)+2 || !bytes.Contains(all[filepath.Join(dir, "gateway-1.log")], []byte(`"level":"debug"`)) {
		t.Fatalf("found %d logs and %d texts, want those of 4 processes at their loudest", len(logs), len(all))
	}
	return all
}

func get(ctx context.Context, t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	b.ReadFrom(resp.Body)
	return b.String()
}

// speaker is a client that says what it is told to.
type speaker struct{ ws *websocket.Conn }

// dialSpeaker shows one token in the hello, or the other in the handshake.
func dialSpeaker(ctx context.Context, t *testing.T, url, hello, handshake string) *speaker {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"limpet.v1"}}
	if handshake != "" {
		d.Subprotocols = append(d.Subprotocols, "limpet.token."+base64.RawURLEncoding.EncodeToString([]byte(handshake)))
	}
	ws, resp, err := d.DialContext(ctx, url, nil)
	if err != nil {
		t.Fatalf("dial: %v, %v", err, resp)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	s := &speaker{ws}
	s.say(wire.Hello{Instance: wire.Instance{byte(len(hello)), byte(len(handshake)), 9}, Token: []byte(hello)}.Append(nil))
	return s
}

func (s *speaker) say(frame []byte) { s.ws.WriteMessage(websocket.BinaryMessage, frame) }

func (s *speaker) until(t *testing.T, want wire.Type) []byte {
	t.Helper()
	seen := ""
	for {
		_, p, err := s.ws.ReadMessage()
		if err != nil {
			t.Fatalf("await %v: %v; seen%s", want, err, seen)
		}
		if wire.TypeOf(p) == want {
			return p
		}
		seen += fmt.Sprintf(" %v", wire.TypeOf(p))
	}
}

func (s *speaker) closed(t *testing.T) {
	t.Helper()
	for {
		if _, _, err := s.ws.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, int(wire.CloseUnauthorized)) {
				t.Errorf("closed with %v, want 4502", err)
			}
			return
		}
	}
}
