package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestMain(m *testing.M) {
	// net/http gives a peer that it turned away half a second to read why.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// patience bounds every wait of these tests.
const patience = 10 * time.Second

const room = wire.RoomID("chat/r1")

// until polls a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// fakeDirectory knows what the test tells it.
type fakeDirectory struct {
	mu         sync.Mutex
	places     map[wire.RoomID][]directory.Location // the first that fits a request answers it
	refusal    *wire.Error
	gone       map[directory.NodeID]bool
	asked      []directory.Request
	suspects   []directory.NodeID
	hold       chan struct{} // not nil: what Suspect waits for
	restarting map[directory.NodeID]time.Time
	open       []directory.OpenRoom
	more       bool
	queries    []directory.Query
	listErr    error
	onList     func(directory.Query) error // not nil: answers instead, and may wait
}

func (d *fakeDirectory) put(at directory.Location) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places[at.Room] = append(d.places[at.Room], at)
}

func (d *fakeDirectory) Resolve(_ context.Context, q directory.Request) (directory.Location, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, q)
	if d.refusal != nil {
		return directory.Location{}, d.refusal
	}
	for name, places := range d.places {
		if q.Mode == wire.ModeAny && name.Kind() != q.Room.Kind() || q.Mode != wire.ModeAny && name != q.Room {
			continue
		}
		for _, at := range places {
			if at.Epoch > q.After && at.Node != q.Not && !slices.Contains(q.NotRooms, at.Room) {
				return at, nil
			}
		}
		if q.Mode == wire.ModeAny {
			continue
		}
		return directory.Location{}, &wire.Error{Code: wire.CodeUnavailable, Text: "held, and may live"}
	}
	return directory.Location{}, wire.Refuse(wire.CodeNoRoom, "no such room")
}

func (d *fakeDirectory) Learn(directory.Location)           {}
func (d *fakeDirectory) Forget(_ wire.RoomID, _ wire.Epoch) {}

func (d *fakeDirectory) Suspect(_ context.Context, n directory.NodeID) bool {
	d.mu.Lock()
	d.suspects = append(d.suspects, n)
	gone, hold := d.gone[n], d.hold
	d.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return gone
}

// restarts has a node restart in place until then.
func (d *fakeDirectory) restarts(n directory.NodeID, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restarting = map[directory.NodeID]time.Time{n: until}
}

func (d *fakeDirectory) Restarting(n directory.NodeID) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.restarting[n]
}

func (d *fakeDirectory) Up(n directory.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.gone[n]
}

func (d *fakeDirectory) List(_ context.Context, q directory.Query) (directory.Listing, error) {
	d.mu.Lock()
	d.queries = append(d.queries, q)
	on := d.onList
	d.mu.Unlock()
	if on != nil {
		if err := on(q); err != nil {
			return directory.Listing{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return directory.Listing{Rooms: slices.Clone(d.open), More: d.more, Asked: 3, Answered: 2, Share: 0.64}, d.listErr
}

func (d *fakeDirectory) listed() []directory.Query {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queries)
}

func (d *fakeDirectory) requests() []directory.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]directory.Request(nil), d.asked...)
}

// message is what a gateway sent to a host.
type message struct {
	from *link.Link
	kind peer.Kind
	body []byte
}

// fakeHost speaks wire/peer over a real link, as the test says.
type fakeHost struct {
	t    testing.TB
	id   string
	addr string
	stop func()
	got  chan message
}

func startHost(t testing.TB, id string) *fakeHost {
	t.Helper()
	h := &fakeHost{t: t, id: id, got: make(chan message, 1<<16)}
	h.open("127.0.0.1:0")
	return h
}

// open takes links at an address, until stop.
func (h *fakeHost) open(addr string) {
	h.t.Helper()
	m := link.New(link.Config{Self: h.id, Cluster: "test"})
	for k := peer.KindAttach; k <= peer.KindRelease; k++ {
		m.OnMessage(k, func(from *link.Link, body []byte) {
			h.got <- message{from, k, append([]byte(nil), body...)}
		})
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	h.stop = runUntil(h.t, func(ctx context.Context) error { return m.Run(ctx, ln) })
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// runUntil runs f until the test ends or the result is called.
func runUntil(t testing.TB, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// at is where a room lives when this host has it.
func (h *fakeHost) at(name wire.RoomID, e wire.Epoch) directory.Location {
	return directory.Location{Room: name, Node: directory.NodeID(h.id), Addr: h.addr, Epoch: e, Incarnation: 7}
}

// next waits for a message of a kind and passes over others.
func (h *fakeHost) next(kind peer.Kind) message {
	h.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m := <-h.got:
			if m.kind == kind {
				return m
			}
		case <-late:
			h.t.Fatalf("host %s: no message %#x", h.id, kind)
		}
	}
}

// attachment is an attach that waits for its answer.
type attachment struct {
	peer.Attach
	link *link.Link
	host *fakeHost
}

func (h *fakeHost) nextAttach() attachment {
	h.t.Helper()
	m := h.next(peer.KindAttach)
	a, err := peer.DecodeAttach(m.body)
	if err != nil {
		h.t.Fatal(err)
	}
	return attachment{a, m.from, h}
}

func (a attachment) who(gen wire.Generation) peer.Who {
	return peer.Who{Handle: a.Handle, Member: a.Member, Generation: gen}
}

// accept answers that the member is attached.
func (a attachment) accept(gen wire.Generation, e wire.Epoch, how wire.How, seq wire.Seq) peer.Who {
	a.link.Send(peer.KindAttached, peer.AppendAttached(nil, a.who(gen), wire.Attach{
		How: how, Host: a.host.id, Epoch: e, Incarnation: 7, Seq: seq,
	}), nil)
	return a.who(gen)
}

func (a attachment) refuse(e *wire.Error) {
	a.link.Send(peer.KindRefused, peer.AppendRefused(nil, a.who(a.Generation), e), nil)
}

func (a attachment) output(e wire.Epoch, to peer.Audience, listed []wire.MemberID, m wire.Message) {
	m.Handle = a.Handle
	a.link.Send(peer.KindOutput, peer.AppendOutputHead(nil, a.Handle, e, to, listed), m.Append(nil))
}

func (a attachment) say(e wire.Epoch, seq wire.Seq, text string) {
	a.output(e, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: seq, Payload: []byte(text)})
}

// node is a gateway that serves on loopback until the test ends.
type node struct {
	*Gateway
	t    testing.TB
	dir  *fakeDirectory
	url  string
	addr string
	mesh *link.Mesh
	stop func()
}

func newDirectory() *fakeDirectory {
	return &fakeDirectory{places: map[wire.RoomID][]directory.Location{}, gone: map[directory.NodeID]bool{}}
}

var sharedKey = []byte("a key of thirty-two bytes length")

func start(t testing.TB, change ...func(*Config)) *node {
	t.Helper()
	dir := newDirectory()
	n := &node{t: t, dir: dir, mesh: link.New(link.Config{Self: fmt.Sprintf("gw%p#1", dir), Cluster: "test"})}
	cfg := Config{Name: "gw#1", Mesh: n.mesh, Directory: dir, Cluster: "test", Keys: [][]byte{sharedKey}, Log: zerolog.Nop()}
	for _, f := range change {
		f(&cfg)
	}
	n.dir, _ = cfg.Directory.(*fakeDirectory)
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Gateway = g
	links := listen(t)
	runUntil(t, func(ctx context.Context) error { return n.mesh.Run(ctx, links) })
	ln := listen(t)
	n.addr = ln.Addr().String()
	n.url = "ws://" + n.addr + "/"
	n.stop = runUntil(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	return n
}

func limits(change func(*Limits)) func(*Config) {
	return func(c *Config) { change(&c.Limits) }
}

// player is a client's end of a connection.
type player struct {
	t  testing.TB
	ws *websocket.Conn
}

var dialer = websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: patience}

// dial connects without a hello.
func (n *node) dial() *player {
	n.t.Helper()
	ws, _, err := dialer.Dial(n.url, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { ws.Close() })
	return &player{n.t, ws}
}

// connect connects and says hello.
func (n *node) connect() *player {
	n.t.Helper()
	p := n.dial()
	p.send(wire.Hello{Instance: wire.Instance{1}, Agent: "test"})
	if f, err := wire.DecodeWelcome(p.next(wire.TypeWelcome)); err != nil || f.Gateway != "gw#1" {
		n.t.Fatalf("welcome: %+v, %v", f, err)
	}
	return p
}

func (p *player) send(f encoder) {
	p.t.Helper()
	p.sendBytes(f.Append(nil))
}

func (p *player) sendBytes(b []byte) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		p.t.Fatal(err)
	}
}

// input is an encoder of an input frame, which package wire leaves to clients.
type input wire.InputFrame

func (f input) Append(b []byte) []byte { return wire.InputFrame(f).Append(b) }

// read is the next message, whatever it is.
func (p *player) read() ([]byte, error) {
	p.ws.SetReadDeadline(time.Now().Add(patience))
	_, msg, err := p.ws.ReadMessage()
	return msg, err
}

// next is the next message, which must be of a type.
func (p *player) next(want wire.Type) []byte {
	p.t.Helper()
	msg, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for a frame %#x: %v", want, err)
	}
	if got := wire.TypeOf(msg); got != want {
		p.t.Fatalf("frame %#x (% x), want %#x", got, msg, want)
	}
	return msg
}

func (p *player) nextJoined() wire.Joined {
	p.t.Helper()
	f, err := wire.DecodeJoined(p.next(wire.TypeJoined))
	if err != nil {
		p.t.Fatal(err)
	}
	f.Token = append([]byte(nil), f.Token...)
	return f
}

func (p *player) nextAttached() wire.Attached {
	p.t.Helper()
	f, err := wire.DecodeAttached(p.next(wire.TypeAttached))
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *player) nextMessage(want wire.Seq) wire.Message {
	p.t.Helper()
	f, err := wire.DecodeMessage(p.next(wire.TypeMessage))
	if err != nil || f.Seq != want {
		p.t.Fatalf("message %d, %v, want %d", f.Seq, err, want)
	}
	return f
}

func (p *player) nextError(want wire.Code) wire.ErrorFrame {
	p.t.Helper()
	f, err := wire.DecodeError(p.next(wire.TypeError))
	if err != nil || f.Code != want {
		p.t.Fatalf("error %v %q, %v, want %v", f.Code, f.Text, err, want)
	}
	return f
}

func (p *player) nextLeft(want wire.Code) {
	p.t.Helper()
	f, err := wire.DecodeLeft(p.next(wire.TypeLeft))
	if err != nil || f.Code != want {
		p.t.Fatalf("left with %v, %v, want %v", f.Code, err, want)
	}
}

// closed reads until the connection ends and returns its close code.
func (p *player) closed() int {
	p.t.Helper()
	for {
		_, err := p.read()
		var c *websocket.CloseError
		switch {
		case errors.As(err, &c):
			return c.Code
		case err != nil:
			p.t.Fatalf("connection ended without a close frame: %v", err)
		}
	}
}

// join makes p a member of a room at h and returns how.
func (p *player) join(h *fakeHost, e wire.Epoch) (wire.Joined, attachment) {
	p.t.Helper()
	return p.joinRoom(h, room, e)
}

func (p *player) joinRoom(h *fakeHost, id wire.RoomID, e wire.Epoch) (wire.Joined, attachment) {
	p.t.Helper()
	p.send(wire.Join{Ref: 5, Mode: wire.ModeJoinOrCreate, Kind: id.Kind(), Name: id.Name(), Data: []byte("hi")})
	a := h.nextAttach()
	a.accept(1, e, wire.HowJoined, 0)
	return p.nextJoined(), a
}

// nothingMore checks that nothing comes before the answer to a ping.
func (p *player) nothingMore() {
	p.t.Helper()
	p.sendBytes(wire.AppendPing(nil, wire.TypePing, 99))
	if echo, err := wire.DecodePing(p.next(wire.TypePong)); err != nil || echo != 99 {
		p.t.Fatalf("pong %d, %v", echo, err)
	}
}

func get(t testing.TB, req *http.Request) (int, http.Header) {
	t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

func u32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
