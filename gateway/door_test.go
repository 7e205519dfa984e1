package gateway

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// FuzzDoor has a loop's door and the HTTP server read the same: what the door takes
// for a handshake is one to the server, and both answer it alike.
func FuzzDoor(f *testing.F) {
	for _, c := range handshakeCases() {
		f.Add([]byte(c.request + "\r\n"))
	}
	for _, s := range []string{
		goodHandshake, goodHandshake + "\r\n\r\n", goodHandshake + "\n", goodHandshake + "X: a\n\n\r\n", goodHandshake + " folded\r\n\r\n",
		goodHandshake + "Expect: 100-continue\r\n\r\n", goodHandshake + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		goodHandshake + "Trailer: X\r\n\r\n", goodHandshake + "A_b.c!: d\r\n\r\n", goodHandshake + "Host:\r\n\r\n",
		"GET http://other/ HTTP/1.1\r\n" + goodHandshake[len("GET / HTTP/1.1\r\n"):] + "\r\n",
		"GET //a/../%2e?x#y HTTP/1.1\r\n" + goodHandshake[len("GET / HTTP/1.1\r\n"):] + "\r\n",
	} {
		f.Add([]byte(s))
	}
	g := &Gateway{}
	var d door
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) > len(d.page) {
			return // no loop reads so much
		}
		r := d.request(head)
		if r == nil {
			return
		}
		seen, said := serverAnswer(t, head)
		if seen == nil {
			t.Fatalf("the server does not take %q: %q", head, said)
		}
		if r.Method != seen.Method || r.RequestURI != seen.RequestURI || !reflect.DeepEqual(r.URL, seen.URL) || r.Host != seen.Host ||
			r.Proto != seen.Proto || !reflect.DeepEqual(r.Header, seen.Header) || seen.ContentLength != 0 || r.Close != seen.Close {
			t.Fatalf("%q is\n%+v here and\n%+v there", head, r, seen)
		}
		answer, err := d.answer(r)
		if status, _ := g.unwelcome(r); status == 0 && err == nil && string(answer) != said {
			t.Fatalf("%q is answered %q here and %q there", head, answer, said)
		}
	})
}

// serverAnswer is the request that an HTTP server reads, nil where there is none,
// and what it says to it.
func serverAnswer(t *testing.T, head []byte) (seen *http.Request, said string) {
	near, far := net.Pipe()
	ended := make(chan struct{})
	srv := &http.Server{MaxHeaderBytes: maxHeader, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		if c, err := upgrader.Upgrade(w, r, nil); err == nil {
			c.NetConn().Close()
		}
	}), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			close(ended)
		}
	}}
	srv.SetKeepAlivesEnabled(false)
	ln := single{make(chan net.Conn, 1)}
	ln.conn <- far
	served := make(chan struct{})
	go func() { defer close(served); srv.Serve(ln) }()
	near.SetDeadline(time.Now().Add(patience))
	wrote := make(chan struct{})
	go func() { defer close(wrote); near.Write(head) }()
	b, _ := io.ReadAll(near)
	near.Close()
	<-wrote
	<-ended
	close(ln.conn)
	<-served
	return seen, string(b)
}

// single is a listener of one connection.
type single struct{ conn chan net.Conn }

func (s single) Accept() (net.Conn, error) {
	if c, ok := <-s.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (s single) Close() error   { return nil }
func (s single) Addr() net.Addr { return &net.TCPAddr{} }

// handshake reads and answers a browser's handshake, as a loop does.
func handshake(tb testing.TB, g *Gateway, d *door, head []byte) {
	r := d.request(head)
	if r == nil {
		tb.Fatal("no handshake")
	}
	from := g.clientAddr(netip.MustParseAddr("203.0.113.9"), r)
	if _, no := g.decide(r, from); no != nil {
		tb.Fatal(no.text)
	}
	if answer, err := d.answer(r); err != nil || len(answer) == 0 {
		tb.Fatal(err)
	}
	g.undo(from)
}

// browsersHandshake has what a browser sends besides.
const browsersHandshake = goodHandshake + "Origin: http://game.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" +
	"Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"

func BenchmarkHandshake(b *testing.B) {
	n := start(b, limits(func(l *Limits) { l.AddressHandshakes = 1 << 30 }))
	var d door
	head := []byte(browsersHandshake)
	b.ReportAllocs()
	for b.Loop() {
		handshake(b, n.Gateway, &d, head)
	}
}

// A handshake makes its request, with a browser's seventeen headers, and gorilla's
// connection, and little else.
func TestAHandshakeAllocatesLittle(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.AddressHandshakes = 1 << 30 }))
	var d door
	head := []byte(browsersHandshake)
	if got := testing.AllocsPerRun(200, func() { handshake(t, n.Gateway, &d, head) }); got > 60 {
		t.Errorf("%g allocations", got)
	}
}
