package gateway

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// path is a route with members on real sockets and a link to a host that
// ignores what comes, driven without the goroutines around it.
type path struct {
	g     *Gateway
	link  *link.Link
	route *route
	conns []*conn
	far   []net.Conn // the clients' ends
}

func newPath(t testing.TB, members int, change ...func(*Config)) *path {
	t.Helper()
	n := start(t, change...)
	h := startHost(t, "h#1")
	go func() { // what a host's room would take
		for range h.got {
		}
	}()
	t.Cleanup(func() { h.stop(); close(h.got) })
	l, err := n.mesh.Link(t.Context(), h.id, h.addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &path{g: n.Gateway, link: l}
	r, err := n.lockRoute(room)
	if err != nil {
		t.Fatal(err)
	}
	defer r.mu.Unlock()
	// The gateway does not know this host: the test alone ends its batches.
	if err := r.bind(newHost(l), directory.Location{Room: room, Node: directory.NodeID(h.id), Addr: h.addr, Epoch: 10}); err != nil {
		t.Fatal(err)
	}
	p.route = r
	for i := range members {
		s := &session{conn: p.connect(t), route: r, member: wire.MemberID(i + 1), generation: 1}
		r.setSeat(s.member, seat{holder: s})
		r.stand(s, live)
		s.conn.keep(s)
		p.conns = append(p.conns, s.conn)
	}
	return p
}

// connect is a connection whose far end reads all and forgets it.
func (p *path) connect(t testing.TB) *conn {
	ln := listen(t)
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, far)
	c := newConn(p.g, near, netip.Addr{})
	c.caller = nil // it has said hello
	p.far = append(p.far, far)
	t.Cleanup(func() { far.Close(); c.drained(); c.hangUp() })
	return c
}

func (p *path) output(size int) []byte {
	m := wire.Message{Type: wire.TypeMessage, Handle: p.route.handle, Seq: 1, Payload: make([]byte, size)}
	return m.Append(peer.AppendOutputHead(nil, p.route.handle, 10, peer.ToAll, nil))
}

func BenchmarkFanOut50(b *testing.B) {
	p := newPath(b, 50)
	out := p.output(256)
	b.ReportAllocs()
	for b.Loop() {
		p.g.onOutput(p.link, out)
		p.route.host.flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/delivery")
}

func BenchmarkInput(b *testing.B) {
	p := newPath(b, 1)
	move := wire.InputFrame{Handle: p.route.handle, N: 1, Payload: make([]byte, 32)}.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.conns[0].handle(move); err != nil {
			b.Fatal(err)
		}
	}
}
