package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// heard is one thing that a gateway was told by a host.
type heard struct {
	kind   peer.Kind
	handle wire.Handle
	who    peer.Who
	epoch  wire.Epoch
	at     wire.Attach
	code   wire.Code
	text   string
	frame  []byte // output, tell
	ack    peer.MemberAck
	moved  peer.Moved
}

func (h heard) String() string {
	return fmt.Sprintf("%#x handle %d member %d epoch %d %v %q frame %q ack %v", h.kind, h.handle, h.who.Member, h.epoch, h.code, h.text, h.frame, h.ack)
}

// ear decodes and keeps what a host says.
type ear struct {
	mu      sync.Mutex
	all     []heard
	changed chan struct{}
}

func newEar() *ear { return &ear{changed: make(chan struct{})} }

func (e *ear) hear(kind peer.Kind, body []byte) {
	var hs []heard
	h := heard{kind: kind}
	var err error
	switch kind {
	case peer.KindAttached:
		h.who, h.at, err = peer.DecodeAttached(body)
		h.handle, h.epoch = h.who.Handle, h.at.Epoch
	case peer.KindRefused:
		var refused *wire.Error
		h.who, refused, err = peer.DecodeRefused(body)
		h.handle, h.code, h.text = h.who.Handle, refused.Code, refused.Text
	case peer.KindOutput:
		var o peer.Output
		o, err = peer.DecodeOutput(body)
		h.handle, h.epoch, h.frame = o.Handle, o.Epoch, slices.Clone(o.Frame)
	case peer.KindAcks:
		err = peer.DecodeAcks(body, func(handle wire.Handle, epoch wire.Epoch, a peer.MemberAck) {
			hs = append(hs, heard{kind: kind, handle: handle, epoch: epoch, ack: a})
		})
	case peer.KindTell:
		h.who, h.frame, err = peer.DecodeTell(slices.Clone(body))
		h.handle = h.who.Handle
	case peer.KindLeft:
		h.who, h.code, h.text, err = peer.DecodeLeft(body)
		h.handle = h.who.Handle
	case peer.KindMoved:
		h.moved, err = peer.DecodeMoved(body)
		h.handle, h.epoch = h.moved.Handle, h.moved.Epoch
	case peer.KindGone:
		var g peer.Gone
		g, err = peer.DecodeGone(body)
		h.handle, h.epoch, h.code, h.text = g.Handle, g.Epoch, g.Code, g.Text
	}
	if err != nil {
		panic(err)
	}
	if hs == nil {
		hs = []heard{h}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, hs...)
	close(e.changed)
	e.changed = make(chan struct{})
}

// list is what was heard so far.
func (e *ear) list() []heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// wait returns the first thing heard that is so.
func (e *ear) wait(t *testing.T, what string, is func(heard) bool) heard {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		e.mu.Lock()
		all, changed := e.all, e.changed
		e.mu.Unlock()
		for _, h := range all {
			if is(h) {
				return h
			}
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("never heard %s; heard %v", what, all)
		}
	}
}

// forget empties the list.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = nil
}

// messages are the payloads of reliable messages heard on a handle, in order.
func (e *ear) messages(handle wire.Handle) []string {
	var out []string
	for _, h := range e.list() {
		if h.handle != handle || (h.kind != peer.KindOutput && h.kind != peer.KindTell) {
			continue
		}
		if m, err := wire.DecodeMessage(h.frame); err == nil && m.Type == wire.TypeMessage {
			out = append(out, string(m.Payload))
		}
	}
	return out
}

// pipe is a link without a network: it hands what gateways send to a host.
type pipe struct {
	*ear
	host *Host

	mu     sync.Mutex
	closed error
	full   error // what Send answers
	watch  func(peer.Kind)
}

func newPipe(h *Host) *pipe { return &pipe{ear: newEar(), host: h} }

func (p *pipe) Peer() string { return "gateway#1" }

func (p *pipe) Send(kind uint8, head, tail []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return link.ErrClosed
	}
	if p.full != nil {
		return p.full
	}
	if p.watch != nil {
		p.watch(kind)
	}
	p.hear(kind, append(slices.Clone(head), tail...))
	return nil
}

func (p *pipe) Close(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed == nil {
		p.closed = cause
	}
}

func (p *pipe) cause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pipe) send(kind peer.Kind, body []byte) {
	p.host.receive(p, kind, body)
	p.host.received(p)
}

// sender is a gateway's end of a link, real or not.
type sender interface {
	send(kind peer.Kind, body []byte)
}

// player is one member behind a gateway.
type player struct {
	sender
	*ear
	who  peer.Who
	room wire.RoomID
	inst wire.Instance
}

func newPlayer(s sender, e *ear, room wire.RoomID, handle wire.Handle, id wire.MemberID) *player {
	return &player{sender: s, ear: e, room: room, inst: wire.Instance{byte(id)},
		who: peer.Who{Handle: handle, Member: id, Generation: 1}}
}

// attach sends an attach and waits for its answer.
func (p *player) attach(t *testing.T, why peer.Why, at wire.Attach) heard {
	t.Helper()
	a := peer.Attach{Handle: p.who.Handle, Member: p.who.Member, Generation: p.who.Generation, Instance: p.inst,
		Why: why, Incarnation: at.Incarnation, At: wire.Position{Epoch: at.Epoch, Seq: at.Seq}, Room: p.room}
	n := len(p.list())
	p.send(peer.KindAttach, a.Append(nil))
	late := time.After(10 * time.Second)
	for {
		p.mu.Lock()
		all, changed := p.all, p.changed
		p.mu.Unlock()
		for _, h := range all[min(n, len(all)):] {
			if h.who.Member == p.who.Member && (h.kind == peer.KindAttached || h.kind == peer.KindRefused) {
				if h.kind == peer.KindAttached {
					p.who.Generation = h.who.Generation
				}
				return h
			}
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("attach was not answered; heard %v", all)
		}
	}
}

func (p *player) input(n wire.Input, payload string) {
	p.send(peer.KindInput, peer.AppendInput(nil, p.who, n, []byte(payload)))
}

// waitAck waits until the member has heard that its inputs are this far.
func (p *player) waitAck(t *testing.T, applied, durable wire.Input) {
	t.Helper()
	p.wait(t, fmt.Sprintf("ack %d/%d of member %d", applied, durable, p.who.Member), func(h heard) bool {
		return h.kind == peer.KindAcks && h.ack.Member == p.who.Member && h.ack.Applied >= applied && h.ack.Durable >= durable
	})
}

// isGone is the room's end on a handle.
func isGone(handle wire.Handle, code wire.Code) func(heard) bool {
	return func(h heard) bool { return h.kind == peer.KindGone && h.handle == handle && h.code == code }
}

// isTold is a client frame of a type for one member.
func isTold(t wire.Type) func(heard) bool {
	return func(h heard) bool { return h.kind == peer.KindTell && wire.TypeOf(h.frame) == t }
}

// realGateway dials hosts over loopback.
type realGateway struct {
	*ear
	mesh *link.Mesh
	link *link.Link
	addr string // where link leads to
}

func dialGateway(t *testing.T, name, node, addr string) *realGateway {
	t.Helper()
	g := &realGateway{ear: newEar(), mesh: link.New(link.Config{Self: name, Cluster: "test"})}
	for kind := peer.KindAttached; kind <= peer.KindMoved; kind++ {
		g.mesh.OnMessage(kind, func(_ *link.Link, body []byte) { g.hear(kind, body) })
	}
	runMesh(t, g.mesh)
	g.dial(t, node, addr)
	return g
}

// dial links the gateway with a node. What was sent on the link of a process that
// had its name before would be lost: that one's end is waited for.
func (g *realGateway) dial(t *testing.T, node, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if g.link != nil && g.link.Peer() == node && g.addr != addr {
		select {
		case <-g.link.Done():
		case <-ctx.Done():
			t.Fatalf("the link to the process before, at %s, is still there", g.addr)
		}
	}
	l, err := g.mesh.Link(ctx, node, addr)
	if err != nil {
		t.Fatal(err)
	}
	g.link, g.addr = l, addr
}

func (g *realGateway) send(kind peer.Kind, body []byte) {
	if err := g.link.Send(kind, body, nil); err != nil {
		panic(err)
	}
}
