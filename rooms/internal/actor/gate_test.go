package actor

import (
	"slices"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// gate is a gateway's side of a port.
type gate struct {
	w        *world
	handle   wire.Handle
	attached map[wire.MemberID]*player
	silent   bool // did not say that a connection was lost
	down     bool
}

func (g *gate) Handle() wire.Handle { return g.handle }

func (g *gate) Send(kind peer.Kind, head, tail []byte) {
	if g.down {
		return
	}
	body := append(slices.Clone(head), tail...)
	switch kind {
	case peer.KindAttached:
		who, a, err := peer.DecodeAttached(body)
		g.w.must(err)
		if p := g.w.byMember[who.Member]; p != nil && p.gate == g && p.asking {
			p.asking, p.gen = false, who.Generation
			g.attached[who.Member] = p
			p.written = wire.Position{Epoch: a.Epoch, Seq: a.Seq}
			p.inbox = append(p.inbox, func() { p.onAttached(a, who.Generation) })
		}
	case peer.KindRefused:
		who, e, err := peer.DecodeRefused(body)
		g.w.must(err)
		if p := g.w.byMember[who.Member]; p != nil && p.gate == g && p.asking {
			p.asking = false
			g.w.checkKick(who.Member, e.Code)
			p.onRefused(e.Code)
		}
	case peer.KindLeft:
		who, code, _, err := peer.DecodeLeft(body)
		g.w.must(err)
		if p := g.attached[who.Member]; p != nil && p.gen == who.Generation {
			delete(g.attached, who.Member)
			p.gate = nil
			g.w.checkKick(who.Member, code)
			p.inbox = append(p.inbox, func() { p.onLeft(code) })
		}
	case peer.KindTell:
		who, frame, err := peer.DecodeTell(body)
		g.w.must(err)
		if p := g.attached[who.Member]; p != nil && p.gen == who.Generation {
			p.deliver(frame)
		}
	case peer.KindOutput:
		g.output(body)
	case peer.KindAcks:
		g.w.must(peer.DecodeAcks(body, func(h wire.Handle, e wire.Epoch, a peer.MemberAck) {
			if p := g.attached[a.Member]; p != nil {
				p.inbox = append(p.inbox, func() { p.onAck(a) })
			}
		}))
	default:
		g.w.t.Fatalf("frame of kind %#x", kind)
	}
}

func (g *gate) output(body []byte) {
	o, err := peer.DecodeOutput(body)
	g.w.must(err)
	if o.Handle != g.handle || o.Epoch != g.w.epoch {
		g.w.t.Fatalf("output for handle %d epoch %d at handle %d epoch %d", o.Handle, o.Epoch, g.handle, g.w.epoch)
	}
	listed := map[wire.MemberID]bool{}
	for i := range o.Listed() {
		listed[o.Member(i)] = true
	}
	n := 0
	for id, p := range g.attached {
		if o.Audience == peer.ToAll || listed[id] == (o.Audience == peer.ToOnly) {
			n++
			p.deliver(o.Frame)
		}
	}
	if n == 0 && !g.silent {
		g.w.t.Fatalf("output for nobody: audience %d, %d listed, %d attached", o.Audience, o.Listed(), len(g.attached))
	}
}
