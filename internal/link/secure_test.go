package link

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/certs"
	"github.com/limpet-games/limpet/wire"
)

// TestKeysChangeOneProcessAtATime takes a cluster of two from one key to
// another: links stand, and new ones can be made, after each step.
func TestKeysChangeOneProcessAtATime(t *testing.T) {
	var mu sync.Mutex
	keys := map[string][]string{"a": {"old"}, "b": {"old"}}
	identity := func(name string) *certs.Links {
		l, err := certs.FromKeys(certs.Name{Cluster: "test", Role: "host", Node: name}, func() (all [][]byte) {
			mu.Lock()
			defer mu.Unlock()
			for _, k := range keys[name] {
				all = append(all, []byte(k))
			}
			return all
		})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	b := start(t, Config{Self: "b#1", Identity: identity("b")}, echo)
	first := start(t, Config{Self: "a#1", Identity: identity("a")})
	stands, err := first.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []map[string][]string{
		{"a": {"old", "new"}}, {"b": {"old", "new"}}, {"a": {"new", "old"}}, {"b": {"new", "old"}}, {"a": {"new"}}, {"b": {"new"}},
	} {
		mu.Lock()
		for who, now := range step {
			keys[who] = now
		}
		mu.Unlock()
		a := start(t, Config{Self: "a#1", Identity: identity("a")})
		if _, err := a.Call(t.Context(), "b#1", b.addr, kindEcho, nil); err != nil {
			t.Errorf("after %v: %v", step, err)
		}
		if _, err := stands.Call(t.Context(), kindEcho, nil); err != nil {
			t.Errorf("the link that stood, after %v: %v", step, err)
		}
	}
	late := start(t, Config{Self: "a#1", Identity: shared(t, "host", "a", "old")})
	if _, err := late.Link(t.Context(), "b#1", b.addr); err == nil {
		t.Error("the old key still opens a link")
	}
}

func TestRolesMaySendTheirKindsOnly(t *testing.T) {
	heard := make(chan string, 4)
	b := start(t, Config{Self: "b#1", Identity: shared(t, "host", "b", "k")}, echo, func(m *Mesh) {
		m.OnMessage(kindNote, func(l *Link, _ []byte) { heard <- l.Peer() })
		m.Only("host", kindNote, kindEcho)
	})
	gw := start(t, Config{Self: "g#1", Identity: shared(t, "gateway", "g", "k")})
	l, err := gw.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Call(t.Context(), kindEcho, nil); wire.CodeOf(err).Code != wire.CodeUnauthorized {
		t.Errorf("a gateway's call: %v", err)
	}
	l.Send(kindNote, nil, nil)
	select {
	case <-l.Done():
	case <-time.After(10 * time.Second):
		t.Error("a gateway's message did not end its link")
	}
	host := start(t, Config{Self: "h#1", Identity: shared(t, "host", "h", "k")})
	hl, err := host.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	hl.Send(kindNote, nil, nil)
	if who := <-heard; who != "h#1" {
		t.Errorf("heard %s", who)
	}
}

func TestCertificatesFromFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	issue := func(ca *certs.Authority, role, name, as string) *certs.Links {
		t.Helper()
		n := certs.Name{Cluster: "test", Role: role, Node: name}
		if err := ca.IssueNode(n, time.Now(), time.Hour, at(as+".pem"), at(as+"-key.pem")); err != nil {
			t.Fatal(err)
		}
		l, err := certs.FromFiles(n, at(as+"-ca.pem"), at(as+".pem"), at(as+"-key.pem"), certs.Watch{Log: zerolog.Nop(), What: "links"})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	authority := func(as ...string) *certs.Authority {
		t.Helper()
		ca, err := certs.NewAuthority("test", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range as {
			if err := ca.Write(at(n+"-ca.pem"), at(n+"-ca-key.pem")); err != nil {
				t.Fatal(err)
			}
		}
		return ca
	}
	ours, theirs := authority("b", "a"), authority("stranger")
	b := start(t, Config{Self: "b#1", Identity: issue(ours, "host", "b", "b")}, echo)
	a := start(t, Config{Self: "a#1", Identity: issue(ours, "gateway", "a", "a")})
	if got, err := a.Call(t.Context(), "b#1", b.addr, kindEcho, []byte("hi")); err != nil || string(got) != "hi" {
		t.Errorf("%q, %v", got, err)
	}
	for name, id := range map[string]*certs.Links{
		"another CA's": issue(theirs, "host", "a", "stranger"), "from a key": shared(t, "host", "a", "k"), "none": nil,
	} {
		var log bytes.Buffer
		m := start(t, Config{Self: "a#1", Identity: id, Log: zerolog.New(zerolog.SyncWriter(&log))})
		for range 20 {
			if _, err := m.Link(t.Context(), "b#1", b.addr); err == nil {
				t.Errorf("certificate %s: taken", name)
			}
		}
		if n := strings.Count(log.String(), "link not made"); n == 0 || n > 8 {
			t.Errorf("certificate %s: the log says so %d times of 20: %s", name, n, &log)
		}
	}
}

// TestRecordedLinksAreWorthless records all that a link carries, and plays it
// to the same node again.
func TestRecordedLinksAreWorthless(t *testing.T) {
	heard := make(chan struct{}, 100)
	b := start(t, Config{Self: "b#1", Identity: shared(t, "host", "b", "k")}, func(m *Mesh) {
		m.OnMessage(kindNote, func(*Link, []byte) { heard <- struct{}{} })
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var recorded bytes.Buffer
	over := make(chan struct{})
	go func() {
		defer close(over)
		in, err := ln.Accept()
		if err != nil {
			return
		}
		defer in.Close()
		out, err := net.Dial("tcp", b.addr)
		if err != nil {
			return
		}
		defer out.Close()
		go io.Copy(in, out)
		io.Copy(io.MultiWriter(out, &recorded), in)
	}()
	a := start(t, Config{Self: "a#1", Identity: shared(t, "host", "a", "k")})
	l, err := a.Link(t.Context(), "b#1", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Send(kindNote, []byte("a secret in the clear"), nil)
	<-heard
	l.Close(io.EOF)
	<-over
	if bytes.Contains(recorded.Bytes(), []byte("secret")) {
		t.Error("links can be read on the way")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(recorded.Bytes())
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	io.Copy(io.Discard, c)
	if len(heard) > 0 {
		t.Error("a recorded link is heard again")
	}
}
