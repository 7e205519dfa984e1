package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// authority signs certificates for 127.0.0.1 in a directory.
type authority struct {
	t   testing.TB
	ca  *certs.Authority
	dir string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca, err := certs.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t, ca, t.TempDir()}
	if err := ca.Write(a.path("ca.pem"), a.path("ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	a.issue("edge")
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes a pair under a name.
func (a *authority) issue(name string) {
	a.t.Helper()
	if err := a.ca.IssueServer([]string{"127.0.0.1"}, time.Now(), time.Hour, a.path(name+".pem"), a.path(name+"-key.pem")); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	a.t.Helper()
	raw, err := os.ReadFile(a.path("ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return pool
}

func startTLS(t testing.TB, a *authority, change ...func(*Config)) *node {
	t.Helper()
	cfg, err := certs.Server(a.path("edge.pem"), a.path("edge-key.pem"), certs.Watch{Log: zerolog.New(os.Stderr), What: "players"})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, append(change, func(c *Config) { c.TLS = cfg })...)
	n.url = "wss://" + n.addr + "/"
	return n
}

func (n *node) dialTLS(pool *x509.CertPool, header http.Header) (*player, error) {
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: patience, TLSClientConfig: &tls.Config{RootCAs: pool}}
	ws, _, err := d.Dial(n.url, header)
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() { ws.Close() })
	return &player{n.t, ws}, nil
}

// connectTLS is a member of a room at a host.
func (n *node) connectTLS(a *authority) (*player, wire.Joined, attachment) {
	n.t.Helper()
	h := startHost(n.t, "h1#1")
	n.dir.put(h.at(room, 5))
	p, err := n.dialTLS(a.pool(), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	p.send(wire.Hello{Instance: wire.Instance{1}, Agent: "test"})
	p.next(wire.TypeWelcome)
	j, at := p.join(h, 5)
	return p, j, at
}

// TestPlayersOverTLS: messages of all sizes arrive whole and in order, also
// those longer than what is sealed at a time.
func TestPlayersOverTLS(t *testing.T) {
	a := newAuthority(t)
	p, j, at := startTLS(t, a).connectTLS(a)
	want := [][]byte{{}, {1}, bytes.Repeat([]byte{2}, 20<<10), bytes.Repeat([]byte{3}, wire.MaxPayload), {4}}
	for i, payload := range want {
		at.say(5, wire.Seq(i+1), string(payload))
	}
	for i := range want {
		if f := p.nextMessage(wire.Seq(i + 1)); !bytes.Equal(f.Payload, want[i]) {
			t.Fatalf("message %d has %d bytes", i+1, len(f.Payload))
		}
	}
	p.send(input{Handle: j.Handle, N: 1, Payload: bytes.Repeat([]byte{9}, 10<<10)})
	if got := at.host.next(peer.KindInput); len(got.body) < 10<<10 {
		t.Errorf("input of %d bytes", len(got.body))
	}
}

func TestCertificatesChangeUnderway(t *testing.T) {
	a := newAuthority(t)
	n := startTLS(t, a)
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: a.pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	a.issue("next")
	for _, f := range []string{"-key.pem", ".pem"} { // for a moment, key and certificate don't fit
		if err := os.Rename(a.path("next"+f), a.path("edge"+f)); err != nil {
			t.Fatal(err)
		}
		serial()
	}
	until(t, "the new certificate shown", func() bool { return serial() != first })
}

func TestTLSOriginsAndVersions(t *testing.T) {
	a := newAuthority(t)
	n := startTLS(t, a)
	for origin, ok := range map[string]bool{"https://" + n.addr: true, "http://" + n.addr: false, "https://127.0.0.1": false} {
		if _, err := n.dialTLS(a.pool(), http.Header{"Origin": {origin}}); (err == nil) != ok {
			t.Errorf("origin %s: %v", origin, err)
		}
	}
	if c, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	c, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol %q", p)
	}
	plain, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	io.WriteString(plain, "GET / HTTP/1.1\r\nHost: game\r\n\r\n")
	plain.SetReadDeadline(time.Now().Add(patience))
	answer, _ := io.ReadAll(plain)
	if bytes.HasPrefix(answer, []byte("HTTP/1.1 1")) || bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
		t.Errorf("in the clear: %s", answer)
	}
}

// TestSlowTLSHandshake: who does not finish it is cut like one who is slow with
// its headers.
func TestSlowTLSHandshake(t *testing.T) {
	n := startTLS(t, newAuthority(t))
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{22, 3, 1})
	began := time.Now()
	c.SetReadDeadline(began.Add(patience))
	io.Copy(io.Discard, c)
	if took := time.Since(began); took > headerWithin+3*time.Second {
		t.Errorf("held for %v", took)
	}
}

// TestTLSNonReader: a client that reads nothing is cut.
func TestTLSNonReader(t *testing.T) {
	a := newAuthority(t)
	n := startTLS(t, a, limits(func(l *Limits) { l.WriteStall = 200 * time.Millisecond; l.SendBuffer = 16 << 10 }))
	_, _, at := n.connectTLS(a)
	seq := wire.Seq(0)
	until(t, "the slow client cut", func() bool {
		if seq < 1000 {
			seq++
			at.say(5, seq, string(make([]byte, 32<<10)))
		}
		return n.Connections() == 0
	})
}
