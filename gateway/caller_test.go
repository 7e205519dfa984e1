//go:build linux

package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limpet-games/limpet/wire"
)

// counted is how many connections are no WebSockets yet.
func (n *node) counted() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.http
}

// expected is how many have not said hello.
func (n *node) expected() int {
	n.callers.mu.Lock()
	defer n.callers.mu.Unlock()
	return n.callers.n
}

// A loop answers a handshake that comes at once: no goroutine waits for the hello.
func TestWhoComesHasNoGoroutine(t *testing.T) {
	n := start(t)
	var all []*rawClient
	for range 20 {
		c := n.request(goodHandshake + "\r\n")
		if resp := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp.Status)
		}
		all = append(all, c)
	}
	until(t, "all are WebSockets", func() bool { return n.watched() == len(all) && n.counted() == 0 && n.expected() == len(all) })
	if got := readers(); got != 0 {
		t.Errorf("%d goroutines", got)
	}
	for _, c := range all {
		c.write(clientFrame(0x82, wire.Hello{Instance: wire.Instance{1}}.Append(nil)), 0)
		if got := c.next(); got != "frame 0x81" {
			t.Fatal(got)
		}
	}
	if got := readers(); got != 0 || n.expected() != 0 {
		t.Errorf("after the hello %d goroutines, %d expected", got, n.expected())
	}
	for _, c := range all {
		c.nc.Close()
	}
	until(t, "all are gone", func() bool { return n.Connections() == 0 && n.watched() == 0 })
}

// An authentication may take its time: nobody waits for it but its own client.
func TestAnAuthenticationDoesNotHoldUpTheLoop(t *testing.T) {
	asked, answer := make(chan string, 2), make(chan error)
	n := start(t, func(c *Config) {
		c.Authenticate = func(ctx context.Context, token []byte) (Identity, error) {
			asked <- string(token)
			if string(token) != "slow" {
				return Identity{User: "ann"}, nil
			}
			select {
			case err := <-answer:
				return Identity{User: "bob"}, err
			case <-ctx.Done():
				return Identity{}, ctx.Err()
			}
		}
	})
	for _, verdict := range []error{nil, errors.New("no")} {
		slow := n.request(goodHandshake + "\r\n")
		slow.response()
		slow.write(clientFrame(0x82, wire.Hello{Token: []byte("slow")}.Append(nil)), 0)
		slow.write(clientFrame(0x82, echo(3)), 0) // without waiting for the welcome
		if got := <-asked; got != "slow" {
			t.Fatal(got)
		}
		quick := n.request(goodHandshake + "\r\n")
		quick.response()
		quick.write(clientFrame(0x82, wire.Hello{Token: []byte("quick")}.Append(nil)), 0)
		if got := quick.next(); got != "frame 0x81" {
			t.Fatal(got)
		}
		<-asked
		answer <- verdict
		if verdict != nil {
			if got := slow.next(); got != "close 4502" {
				t.Errorf("refused: %s", got)
			}
			continue
		}
		for _, want := range []string{"frame 0x81", "echo 3"} {
			if got := slow.next(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		until(t, "loops watch both", func() bool { return n.watched() == 2 && readers() == 0 })
	}
}

// Who says nothing is hung up on in time. Who says half of something has as long as
// if the HTTP server had read all of it.
func TestWhoSaysNothingIsHungUpOn(t *testing.T) {
	n := start(t)
	silent, half := n.request(""), n.request("GET / HT")
	until(t, "both are counted", func() bool { return n.counted() == 2 && n.expected() == 1 })
	n.callers.mu.Lock()
	n.callers.each(func(k *caller) {
		if left := time.Until(k.until); left > headerWithin {
			t.Errorf("%s are left", left)
		}
		k.until = time.Now()
	})
	n.callers.mu.Unlock()
	if said, err := io.ReadAll(silent.r); err != nil || len(said) > 0 {
		t.Errorf("not hung up on: %v, %q", err, said)
	}
	until(t, "only the other is counted", func() bool { return n.counted() == 1 && n.expected() == 0 && n.watched() == 0 })
	half.nc.Close()
	until(t, "none is counted", func() bool { return n.counted() == 0 })
}

func TestTheHeadsTimeBeginsWithTheConnection(t *testing.T) {
	ln := listen(t)
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	h := &handed{TCPConn: near.(*net.TCPConn), head: []byte("GET"), until: time.Now().Add(10 * time.Millisecond)}
	defer h.Close()
	h.SetReadDeadline(time.Now().Add(time.Hour))
	b := make([]byte, 8)
	if k, err := h.Read(b); err != nil || string(b[:k]) != "GET" {
		t.Errorf("%q, %v", b[:k], err)
	}
	if _, err := h.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the rest was waited for: %v", err)
	}
}

// A gateway that stops waits for nobody who has not said anything.
func TestTheEndFindsThoseWhoCome(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Linger = 50 * time.Millisecond }))
	silent, upgraded := n.request(""), n.request(goodHandshake+"\r\n")
	upgraded.response()
	until(t, "both are there", func() bool { return n.expected() == 2 && len(n.connections()) == 1 })
	began := time.Now()
	n.stop()
	if took := time.Since(began); took > headerWithin/2 {
		t.Errorf("took %s", took)
	}
	if _, err := silent.nc.Read(make([]byte, 1)); err == nil {
		t.Error("the silent one heard something")
	}
	if got := upgraded.next(); got != "frame 0x90" {
		t.Errorf("the other heard %s", got)
	}
	if n.counted() != 0 || n.expected() != 0 {
		t.Errorf("%d are counted, %d expected", n.counted(), n.expected())
	}
}

// What a loop refuses is answered by the HTTP server once, and what comes next on
// the connection is a request like any other.
func TestARefusalIsOfOneRequest(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Connections = 1 }))
	first := n.greeted()
	c := n.request(goodHandshake + "\r\n")
	resp := c.response()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	first.nc.Close()
	until(t, "there is room", func() bool { return n.Connections() == 0 })
	io.WriteString(c.nc, goodHandshake+"\r\n")
	if resp := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	until(t, "it is counted out", func() bool { return n.counted() == 0 })
}

// Connections that a loop takes have what the runtime gives to its own.
func TestSocketsOfLoops(t *testing.T) {
	n := start(t)
	n.greeted()
	nc, err := n.connections()[0].out.wrap()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, o := range socketOptions {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.name); err != nil || got != o.value {
				t.Errorf("option %d of level %d is %d (%v), want %d", o.name, o.level, got, err, o.value)
			}
		}
	})
}
