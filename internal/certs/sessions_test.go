package certs

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A session that began at one gateway goes on at another of the cluster, also
// while the secret changes and the day after; at no stranger's, and not by TLS 1.2.
func TestSessionsAreShared(t *testing.T) {
	name := filepath.Join(t.TempDir(), "edge")
	ca, err := NewAuthority("c", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.IssueServer([]string{"game.example"}, time.Now(), time.Hour, name+".pem", name+"-key.pem"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	gateway := func(at time.Time, secrets ...string) *tls.Config {
		c, err := Server(name+".pem", name+"-key.pem", Watch{Log: zerolog.Nop(), What: "players"})
		if err != nil {
			t.Fatal(err)
		}
		var all [][]byte
		for _, s := range secrets {
			all = append(all, []byte(s))
		}
		if err := ShareSessions(c, all, at); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for what, c := range map[string]struct {
		first, second *tls.Config
		most          uint16
		resumed       bool
	}{
		"another gateway":             {gateway(now, "old"), gateway(now, "old"), tls.VersionTLS13, true},
		"one with a new secret":       {gateway(now, "old", "new"), gateway(now, "new", "old"), tls.VersionTLS13, true},
		"the next day":                {gateway(now, "old"), gateway(now.Add(sessionDay), "old"), tls.VersionTLS13, true},
		"three days later":            {gateway(now, "old"), gateway(now.Add(3*sessionDay), "old"), tls.VersionTLS13, false},
		"another cluster's gateway":   {gateway(now, "old"), gateway(now, "other"), tls.VersionTLS13, false},
		"another gateway, by TLS 1.2": {gateway(now, "old"), gateway(now, "old"), tls.VersionTLS12, false},
	} {
		client := &tls.Config{InsecureSkipVerify: true, ServerName: "game.example", MaxVersion: c.most, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if handshake(t, c.first, client) {
			t.Errorf("%s: the first session is resumed", what)
		}
		if got := handshake(t, c.second, client); got != c.resumed {
			t.Errorf("%s: resumed: %v", what, got)
		}
	}
}

func handshake(t *testing.T, server, client *tls.Config) (resumed bool) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan error, 1)
	go func() {
		defer b.Close()
		s := tls.Server(b, server)
		_, err := s.Write([]byte("hello"))
		done <- err
	}()
	c := tls.Client(a, client)
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

func TestPartsShowTheirNodesCertificate(t *testing.T) {
	host := Name{"c", "host", "host-1"}
	for node, want := range map[string]bool{"host-1": true, "host-1~chat": true, "host-2": false, "host-2~chat": false, "host": false, "host-1x": false} {
		if host.Covers(node) != want {
			t.Errorf("%s covers %s: %v", host, node, !want)
		}
	}
	if (Name{"c", "gateway", "host-1"}).Covers("host-1~chat") {
		t.Error("a gateway has parts")
	}
	if (Name{"c", "host", "host-1~chat"}).Check() == nil {
		t.Error("a part has a certificate of its own")
	}
}
