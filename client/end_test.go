package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func TestFinalCloseCodeEndsTheClient(t *testing.T) {
	m := joined(t, nil)
	waiting := make(chan error, 1)
	m.send("x")
	go func() { waiting <- m.r.Settle(context.Background()) }()
	m.conn.closeWith(wire.CloseFlood, "calm down")
	next[*Dropped](t, m.log)
	if e := next[*Left](t, m.log); e.Code != wire.CloseFlood || e.Text != "calm down" {
		t.Errorf("left %+v", e)
	}
	<-m.c.Done()
	if err := <-waiting; wire.CodeOf(err).Code != wire.CloseFlood {
		t.Errorf("settle: %v", err)
	}
	for what, err := range map[string]error{
		"Err":  m.c.Err(),
		"Join": second(m.c.Join(context.Background(), wire.ModeJoin, "arena", "x", nil)),
		"List": second(m.c.List(context.Background(), "arena", 1)),
	} {
		if wire.CodeOf(err).Code != wire.CloseFlood {
			t.Errorf("%s: %v, want %s", what, err, wire.CloseFlood)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestUnwantedHelloEndsTheDial(t *testing.T) {
	f := newFake(t)
	f.greet = false
	go func() {
		conn := f.accept()
		conn.send(wire.ErrorFrame{Error: wire.Error{Code: wire.CodeUnauthorized, Text: "no such game"}})
		conn.closeWith(wire.CloseUnauthorized, "not authorized")
	}()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := Dial(ctx, Config{URLs: []string{f.url}})
	if e := wire.CodeOf(err); e.Code != wire.CloseUnauthorized {
		t.Errorf("error %v, want %s", err, wire.CloseUnauthorized)
	}
}

func TestDialTellsWhatIsWrong(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for url, says := range map[string]string{
		"ws" + strings.TrimPrefix(plain.URL, "http"):  "404",
		"ws" + strings.TrimPrefix(closed.URL, "http"): "refused",
		"http://127.0.0.1:1":                          "ws://HOST:PORT",
		"127.0.0.1:1":                                 "ws://HOST:PORT",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		_, err := Dial(ctx, Config{URLs: []string{url}})
		cancel()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one with %q", url, err, says)
		}
	}
	if _, err := Dial(context.Background(), Config{}); err == nil {
		t.Error("no URL: no error")
	}
	if _, err := Dial(context.Background(), Config{URLs: []string{"ws://x"}, Token: make([]byte, wire.MaxToken+1)}); err == nil {
		t.Error("too long a token: no error")
	}
}

func TestDialGoesOnToTheNextGateway(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	dead := "ws" + strings.TrimPrefix(closed.URL, "http")
	f := newFake(t)
	for range 4 { // whichever is drawn to be the first
		c := dial(t, Config{URLs: []string{dead, f.url}})
		if s := c.Stats(); s.URL != f.url || s.Gateway != "fake" {
			t.Errorf("stats %+v", s)
		}
	}
}

func TestCloseSaysGoodbye(t *testing.T) {
	m := joined(t, nil)
	m.send("last words")
	m.c.Close()
	m.c.Close()
	m.conn.wantInput(1, "last words")
	if err := m.conn.gone(); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("the gateway saw %v, want a close with 1000", err)
	}
	if !errors.Is(m.c.Err(), ErrClosed) || !errors.Is(m.r.Status().Over, ErrClosed) {
		t.Errorf("client %v, room %v", m.c.Err(), m.r.Status().Over)
	}
	if _, err := m.c.Join(context.Background(), wire.ModeJoin, "arena", "x", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("join after close: %v", err)
	}
	m.log.none(t)
}

func TestDropComesBack(t *testing.T) {
	m := joined(t, nil)
	m.c.Drop()
	next[*Dropped](t, m.log)
	m.f.accept().resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
	next[*Resumed](t, m.log)
}

func TestTwoGoroutinesAConnection(t *testing.T) {
	f := newFake(t)
	const clients = 20
	for range clients {
		dial(t, Config{URLs: []string{f.url}})
		f.accept()
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	ours := 0
	for _, g := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(g, "client.(*Client).") && !strings.Contains(g, "client.TestTwo") {
			ours++
		}
	}
	if ours > 2*clients {
		t.Errorf("%d goroutines for %d clients, want two each at most", ours, clients)
	}
}

// A gateway that takes no bytes must not hold up a Send, nor Close for long.
func TestStalledGatewayBlocksNobody(t *testing.T) {
	f := newFake(t)
	f.greet, f.queue = false, 1
	held := make(chan *fakeConn)
	go func() {
		conn := f.accept()
		conn.next() // hello
		conn.send(f.welcome)
		j := want(conn, wire.TypeJoin, wire.DecodeJoin)
		conn.send(wire.Joined{Ref: j.Ref, Handle: 7, Kind: "arena", Name: "lobby", Member: 1, Attach: atStart, Token: []byte("t")})
		held <- conn
	}()
	c := dial(t, Config{URLs: []string{f.url}, MaxInputs: 1 << 16, MaxInputBytes: 64 << 20})
	r, err := c.Join(context.Background(), wire.ModeJoin, "arena", "lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	<-held
	payload := make([]byte, 16_000)
	start := time.Now()
	for range 1500 { // more than the kernel takes
		if _, err := r.Send(payload); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Now()
	c.Close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("sending took %s, closing %s", sent.Sub(start), time.Since(sent))
	}
}

func BenchmarkInputs(b *testing.B) {
	q := newInputs(1024, 1<<20)
	payload, buf := make([]byte, 32), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		n, _, _ := q.push(payload)
		buf = q.take(1, buf[:0])
		q.applied = n
		q.forget(n)
	}
}
