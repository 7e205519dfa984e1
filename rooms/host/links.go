package host

import (
	"fmt"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// gateway is the host's end of one link: which rooms the peer's handles mean.
// Its fields belong to the link's reader, on which all of this file runs.
type gateway struct {
	host    *Host
	link    conn
	ports   map[wire.Handle]*port
	touched []*room // have something new in their mailboxes and are not woken yet
}

// register takes the messages of gateways.
func (h *Host) register() {
	m := h.cfg.Mesh
	if m == nil {
		return
	}
	for kind := peer.KindAttach; kind <= peer.KindRelease; kind++ {
		m.OnMessage(kind, func(from *link.Link, body []byte) { h.receive(from, kind, body) })
	}
	h.registerMoves(m)
	m.OnBatch(func(from *link.Link) { h.received(from) })
	m.OnDown(func(l *link.Link, _ error) { h.linkDown(l) })
}

// receive handles one message. One that does not decode breaks the link: what
// follows it can't be trusted either.
func (h *Host) receive(from conn, kind peer.Kind, body []byte) {
	h.metrics.received(kind, len(body))
	g := h.gateway(from, kind == peer.KindAttach)
	if g == nil {
		h.metrics.strays.Inc()
		return
	}
	if err := g.receive(kind, body); err != nil {
		h.log.Warn().Err(err).Str("peer", from.Peer()).Msg("closing link")
		from.Close(err)
	}
}

// gateway finds a link's table; the first attach makes it.
func (h *Host) gateway(l conn, make_ bool) *gateway {
	h.gatewaysMu.RLock()
	g := h.gateways[l]
	h.gatewaysMu.RUnlock()
	if g == nil && make_ {
		g = &gateway{host: h, link: l, ports: map[wire.Handle]*port{}}
		h.gatewaysMu.Lock()
		h.gateways[l] = g
		h.gatewaysMu.Unlock()
	}
	return g
}

// received wakes the rooms that a batch of messages was for.
func (h *Host) received(from conn) {
	if g := h.gateway(from, false); g != nil {
		g.wake()
	}
}

// linkDown tells all rooms behind a link.
func (h *Host) linkDown(l conn) {
	g := h.gateway(l, false)
	if g == nil {
		return
	}
	h.gatewaysMu.Lock()
	delete(h.gateways, l)
	h.gatewaysMu.Unlock()
	for handle := range g.ports {
		g.release(handle)
	}
	g.wake()
}

func (g *gateway) receive(kind peer.Kind, body []byte) error {
	ev := event{}
	var payload []byte
	var err error
	switch kind {
	case peer.KindAttach:
		return g.attach(body)
	case peer.KindRelease:
		handle, err := peer.DecodeRelease(body)
		if err == nil {
			g.release(handle)
		}
		return err
	case peer.KindInput:
		ev.kind = evInput
		ev.who, ev.n, payload, err = peer.DecodeInput(body)
	case peer.KindSkip:
		ev.kind = evSkip
		ev.matter = &matter{}
		ev.who, ev.n, ev.to, err = peer.DecodeSkip(body)
	case peer.KindLeave:
		ev.kind = evLeave
		ev.who, ev.n, err = peer.DecodeLeave(body)
	case peer.KindDetach:
		ev.kind = evDetach
		ev.who, err = peer.DecodeDetach(body)
	}
	if err != nil {
		return err
	}
	p := g.ports[ev.who.Handle]
	if p == nil { // its room is over; the gateway hears or has heard so
		g.host.metrics.strays.Inc()
		return nil
	}
	ev.port = p
	switch g.put(p, ev, payload) {
	case gone:
		delete(g.ports, p.handle)
		g.host.metrics.strays.Inc()
	case overrun: // its gateway would take for done what was not
		return fmt.Errorf("room %s has no room for another event of this link", p.room.id)
	}
	return nil
}

// attach binds a handle where that is new, and passes the attach on.
func (g *gateway) attach(body []byte) error {
	a, err := peer.DecodeAttach(body)
	if err != nil {
		return err
	}
	p, err := g.bind(a)
	if p == nil {
		return err
	}
	a.Data = append([]byte(nil), a.Data...)
	switch g.put(p, event{kind: evAttach, port: p, matter: &matter{attach: &a}}, nil) {
	case gone:
		delete(g.ports, a.Handle)
		if !g.host.restarting.Load() {
			g.refuse(a, notHere)
		}
	case overrun:
		g.refuse(a, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many joins at once"})
	}
	return nil
}

var notHere = &wire.Error{Code: wire.CodeNone, Text: "the room is not here"}

// bind finds the port of an attach. It has refused the attach where there is
// none; an error breaks the link.
func (g *gateway) bind(a peer.Attach) (*port, error) {
	p := g.ports[a.Handle]
	if p != nil && p.room.id != a.Room {
		return nil, fmt.Errorf("attach message: handle %d is room %s, not %s", a.Handle, p.room.id, a.Room)
	}
	if p != nil && !p.room.over.Load() {
		return p, nil
	}
	r := g.host.find(a.Room)
	if r == nil || r.over.Load() {
		delete(g.ports, a.Handle)
		if g.host.restarting.Load() { // its link is about to break, and it asks the next process
			return nil, nil
		}
		g.tellTrail(a)
		g.refuse(a, notHere)
		return nil, nil
	}
	if p == nil && len(g.ports) >= g.host.cfg.MaxHandles {
		g.refuse(a, &wire.Error{Code: wire.CodeBusy, RetryMS: 1000, Text: "too many rooms on one link"})
		return nil, nil
	}
	p = &port{room: r, link: g.link, handle: a.Handle}
	g.ports[a.Handle] = p
	return p, nil
}

// put puts an event into its room's mailbox; wake follows.
func (g *gateway) put(p *port, ev event, payload []byte) verdict {
	v, wake := p.room.box.put(ev, payload)
	if wake {
		g.touched = append(g.touched, p.room)
	}
	return v
}

func (g *gateway) wake() {
	for i, r := range g.touched {
		r.box.wake()
		g.touched[i] = nil
	}
	g.touched = g.touched[:0]
}

// release frees a handle: its members lose their connections.
func (g *gateway) release(handle wire.Handle) {
	if p := g.ports[handle]; p != nil {
		delete(g.ports, handle)
		g.put(p, event{kind: evPortDown, port: p}, nil)
	}
}

// refuse answers an attach. A link that can't take the answer is broken, so
// that the gateway does not wait for it.
func (g *gateway) refuse(a peer.Attach, e *wire.Error) { refuse(g.link, a, e, g.host.metrics) }

func refuse(l conn, a peer.Attach, e *wire.Error, m *metrics) {
	m.refused.WithLabelValues(e.Code.String()).Inc()
	who := peer.Who{Handle: a.Handle, Member: a.Member, Generation: a.Generation}
	if err := l.Send(peer.KindRefused, peer.AppendRefused(nil, who, e), nil); err != nil {
		l.Close(fmt.Errorf("refuse attach to room %s: %w", a.Room, err))
	}
}
