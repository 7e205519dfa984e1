package client

import (
	"context"
	"net"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

// within bounds everything that a test waits for.
const within = 10 * time.Second

// fake is a gateway of which a test is the mind.
type fake struct {
	t        *testing.T
	url      string
	server   *http.Server
	accepted chan *fakeConn
	welcome  wire.Welcome
	greet    bool // read the hello and answer it
	queue    int  // frames that a connection reads ahead of the test
	wg       sync.WaitGroup
	done     chan struct{} // closed by close

	mu    sync.Mutex
	conns []*fakeConn
	shut  bool
}

// newFake starts a gateway on a free port of loopback.
func newFake(t *testing.T) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newFakeOn(t, ln)
}

func newFakeOn(t *testing.T, ln net.Listener) *fake {
	f := &fake{
		t: t, url: "ws://" + ln.Addr().String(), accepted: make(chan *fakeConn, 64), greet: true, queue: 4096,
		done:    make(chan struct{}),
		welcome: wire.Welcome{Heartbeat: 10_000, InputLimit: 16_371, Gateway: "fake"},
	}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve)}
	f.wg.Go(func() { f.server.Serve(ln) })
	t.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.mu.Lock()
	if f.shut {
		f.mu.Unlock()
		return
	}
	f.shut = true
	conns := f.conns
	f.mu.Unlock()
	close(f.done)
	f.server.Close()
	for _, c := range conns {
		c.ws.Close()
	}
	f.wg.Wait()
}

var upgrader = websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &fakeConn{f: f, ws: ws, in: make(chan []byte, f.queue)}
	f.mu.Lock()
	if f.shut {
		ws.Close()
	}
	f.conns = append(f.conns, c)
	f.wg.Add(1)
	greet := f.greet
	f.mu.Unlock()
	defer f.wg.Done()
	defer ws.Close()
	if greet {
		_, msg, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if c.hello, err = wire.DecodeHello(msg); err != nil {
			f.t.Errorf("first frame: %v", err)
			return
		}
		c.send(f.welcome)
	}
	f.accepted <- c
	c.listen()
}

// accept waits for the next connection.
func (f *fake) accept() *fakeConn {
	f.t.Helper()
	select {
	case c := <-f.accepted:
		return c
	case <-time.After(within):
		f.t.Fatal("no connection came")
		return nil
	}
}

// fakeConn is a connection at the gateway's end.
type fakeConn struct {
	f     *fake
	ws    *websocket.Conn
	hello wire.Hello
	in    chan []byte // frames but pings; closed at the end

	mu       sync.Mutex
	pings    int
	mute     bool // pings are not answered
	closedBy error
}

func (c *fakeConn) listen() {
	defer close(c.in)
	for {
		_, msg, err := c.ws.ReadMessage()
		if err != nil {
			c.mu.Lock()
			c.closedBy = err
			c.mu.Unlock()
			return
		}
		if wire.TypeOf(msg) != wire.TypePing {
			select {
			case c.in <- msg:
			case <-c.f.done:
			}
			continue
		}
		echo, _ := wire.DecodePing(msg)
		c.mu.Lock()
		c.pings++
		mute := c.mute
		c.mu.Unlock()
		if !mute {
			c.write(wire.AppendPing(nil, wire.TypePong, echo))
		}
	}
}

type appender interface{ Append([]byte) []byte }

func (c *fakeConn) send(frames ...appender) {
	for _, f := range frames {
		c.write(f.Append(nil))
	}
}

// write sends bytes; a connection that is gone is none of its concern.
func (c *fakeConn) write(msg []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ws.WriteMessage(websocket.BinaryMessage, msg)
}

func (c *fakeConn) closeWith(code wire.Code, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), text), time.Now().Add(within))
}

// next is the next frame of the client.
func (c *fakeConn) next() []byte {
	c.f.t.Helper()
	select {
	case msg, ok := <-c.in:
		if !ok {
			c.f.t.Fatal("the client has closed the connection")
		}
		return msg
	case <-time.After(within):
		c.f.t.Fatal("the client sent nothing")
	}
	return nil
}

// gone waits until the client has closed the connection, and says how.
func (c *fakeConn) gone() error {
	c.f.t.Helper()
	for {
		select {
		case _, ok := <-c.in:
			if ok {
				continue
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.closedBy
		case <-time.After(within):
			c.f.t.Fatal("the client keeps the connection")
		}
	}
}

// want decodes the client's next frame, which must be of the decoder's type.
func want[F any](c *fakeConn, typ wire.Type, decode func([]byte) (F, error)) F {
	c.f.t.Helper()
	msg := c.next()
	if got := wire.TypeOf(msg); got != typ {
		c.f.t.Fatalf("the client sent type %#x, want %#x: % x", got, typ, msg)
	}
	f, err := decode(msg)
	if err != nil {
		c.f.t.Fatal(err)
	}
	return f
}

func (c *fakeConn) wantInput(n wire.Input, payload string) {
	c.f.t.Helper()
	f := want(c, wire.TypeInput, wire.DecodeInput)
	if f.N != n || string(f.Payload) != payload {
		c.f.t.Fatalf("input %d %q, want %d %q", f.N, f.Payload, n, payload)
	}
}

// admit answers the next frame, a join.
func (c *fakeConn) admit(a wire.Attach) wire.Joined {
	c.f.t.Helper()
	f := want(c, wire.TypeJoin, wire.DecodeJoin)
	j := wire.Joined{Ref: f.Ref, Handle: 7, Kind: f.Kind, Name: f.Name, Member: 42, Attach: a, Token: []byte("token-1")}
	c.send(j)
	return j
}

// resume answers the next frame, a resume.
func (c *fakeConn) resume(a wire.Attach) wire.Resume {
	c.f.t.Helper()
	f := want(c, wire.TypeResume, wire.DecodeResume)
	c.send(wire.Joined{Ref: f.Ref, Handle: 8, Kind: "arena", Name: "lobby", Member: 42, Attach: a, Token: []byte("token-2")})
	return f
}

// log keeps a client's events.
type log struct {
	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1)} }

func (l *log) add(_ *Room, e Event) {
	l.mu.Lock()
	l.events = append(l.events, kept(e))
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// kept copies an event for longer than the call.
func kept(e Event) Event {
	switch e := e.(type) {
	case *Message:
		m := *e
		m.Payload = append([]byte(nil), e.Payload...)
		return &m
	case *Ack:
		a := *e
		return &a
	}
	return e
}

// next takes the next event, which must be an E.
func next[E Event](t *testing.T, l *log) E {
	t.Helper()
	deadline := time.After(within)
	for {
		l.mu.Lock()
		var e Event
		if len(l.events) > 0 {
			e = l.events[0]
			l.events = l.events[1:]
		}
		l.mu.Unlock()
		if e != nil {
			want, ok := e.(E)
			if !ok {
				t.Fatalf("event %T%+v, want %T", e, e, want)
			}
			return want
		}
		select {
		case <-l.more:
		case <-deadline:
			var want E
			t.Fatalf("no event came, want %T", want)
		}
	}
}

// starts says whether the next event is already there and of the type of e.
func (l *log) starts(e Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events) > 0 && reflect.TypeOf(l.events[0]) == reflect.TypeOf(e)
}

// none fails if there is an event that nobody has asked for.
func (l *log) none(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		t.Errorf("unexpected event %T%+v", e, e)
	}
}

func dial(t *testing.T, cfg Config) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c, err := Dial(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// member is a client that has joined arena/lobby.
type member struct {
	*testing.T
	f    *fake
	conn *fakeConn
	c    *Client
	r    *Room
	log  *log
}

var atStart = wire.Attach{Host: "host-1", Epoch: 1000, Incarnation: 1000}

func joined(t *testing.T, change func(*Config)) *member {
	t.Helper()
	m := &member{T: t, f: newFake(t), log: newLog()}
	cfg := Config{URLs: []string{m.f.url}, OnEvent: m.log.add}
	if change != nil {
		change(&cfg)
	}
	m.c = dial(t, cfg)
	m.conn = m.f.accept()
	m.join("lobby", atStart)
	next[*Joined](t, m.log)
	return m
}

func (m *member) join(name string, a wire.Attach) {
	m.Helper()
	type answer struct {
		r   *Room
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		r, err := m.c.Join(ctx, wire.ModeJoinOrCreate, "arena", name, []byte("data"))
		answered <- answer{r, err}
	}()
	m.conn.admit(a)
	got := <-answered
	if got.err != nil {
		m.Fatal(got.err)
	}
	m.r = got.r
}

func (m *member) send(payloads ...string) {
	m.Helper()
	for _, p := range payloads {
		if _, err := m.r.Send([]byte(p)); err != nil {
			m.Fatal(err)
		}
	}
}
