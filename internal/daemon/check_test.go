package daemon

import (
	"github.com/rs/zerolog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9:80": true, "[::1]:80": true, "localhost:80": true,
		"[::ffff:127.0.0.1]:80": true, "localhost": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false,
		"example.org:80": false, "localhost.example.org:80": false, "": false,
	} {
		if got := Loopback(addr); got != want {
			t.Errorf("Loopback(%q) is %v", addr, got)
		}
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := ReadSecret(write("good", "  0123456789abcdef\n"))
	if err != nil || string(got) != "0123456789abcdef" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, path := range []string{write("short", "0123456789abcde\n"), write("empty", ""), filepath.Join(dir, "missing")} {
		if _, err := ReadSecret(path); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
}

func TestAdvertised(t *testing.T) {
	at := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, c := range []struct{ bound, host, want string }{
		{"127.0.0.1:7000", "", "127.0.0.1:7000"},
		{"127.0.0.1:7000", "10.1.2.3", "10.1.2.3:7000"},
		{"0.0.0.0:7000", "10.1.2.3", "10.1.2.3:7000"},
		{"[::]:7000", "fd00::1", "[fd00::1]:7000"},
	} {
		if got, err := Advertised(at(c.bound), c.host); err != nil || got != c.want {
			t.Errorf("Advertised(%s, %q) is %q, %v; want %s", c.bound, c.host, got, err, c.want)
		}
	}
	if got, err := Advertised(at("0.0.0.0:7000"), ""); err == nil && (Loopback(got) || got == "0.0.0.0:7000") {
		t.Errorf("a wildcard is advertised as %s", got)
	}
}

func TestKeysDiffer(t *testing.T) {
	a, err := DeriveKeys([]byte("a secret of some length"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := DeriveKeys([]byte("a secret of some lengti"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range [][]byte{a.Gossip, a.Link, a.Token, b.Gossip, b.Link, b.Token} {
		if len(k) != 32 {
			t.Errorf("key of %d bytes", len(k))
		}
		seen[string(k)] = true
	}
	if len(seen) != 6 {
		t.Errorf("only %d of 6 keys differ", len(seen))
	}
}

func TestClusterNeedsAKeyOffLoopback(t *testing.T) {
	for _, c := range []struct {
		gossip, link string
		ok           bool
	}{
		{"127.0.0.1:1", "127.0.0.1:2", true},
		{"127.0.0.1:1", "", true},
		{"0.0.0.0:1", "127.0.0.1:2", false},
		{":1", "", false},
		{"127.0.0.1:1", ":2", false},
		{"127.0.0.1:1", "10.0.0.1:2", false},
	} {
		flags := ClusterFlags{Gossip: c.gossip, Link: c.link}
		if _, err := flags.keys(zerolog.Nop()); (err == nil) != c.ok {
			t.Errorf("gossip %s, link %q: %v", c.gossip, c.link, err)
		}
	}
}

func TestHTTPURLNamesBothSchemes(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:7412", "https://host-1:7402"} {
		if err := HTTPURL(good); err != nil {
			t.Error(err)
		}
	}
	if err := HTTPURL("host-1:7402"); err == nil || !strings.Contains(err.Error(), "https://HOST:PORT") {
		t.Errorf("%v", err)
	}
}
