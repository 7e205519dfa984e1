package roomtest

import (
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// gate is a gateway: it brings the room's frames to the players behind it.
type gate struct {
	rt     *Room
	handle wire.Handle
}

// Handle is the gateway's name for the room.
func (g *gate) Handle() wire.Handle { return g.handle }

// Send takes a frame from the room.
func (g *gate) Send(kind peer.Kind, head, tail []byte) {
	body := append(append([]byte(nil), head...), tail...)
	if err := g.take(kind, body); err != nil {
		g.rt.t.Fatalf("frame %#x from the room: %v", kind, err)
	}
}

func (g *gate) take(kind peer.Kind, body []byte) error {
	switch kind {
	case peer.KindAttached:
		who, a, err := peer.DecodeAttached(body)
		if p := g.asking(who.Member); p != nil {
			p.attached(who.Generation, a)
		}
		return err
	case peer.KindRefused:
		who, e, err := peer.DecodeRefused(body)
		if p := g.asking(who.Member); p != nil {
			p.refused(e)
		}
		return err
	case peer.KindLeft:
		who, code, text, err := peer.DecodeLeft(body)
		if p := g.player(who.Member); p != nil && p.gen == who.Generation {
			p.end(code, text)
		}
		return err
	case peer.KindTell:
		who, frame, err := peer.DecodeTell(body)
		if p := g.player(who.Member); p != nil && p.gen == who.Generation {
			p.told(frame)
		}
		return err
	case peer.KindOutput:
		return g.output(body)
	case peer.KindAcks:
		return peer.DecodeAcks(body, func(_ wire.Handle, _ wire.Epoch, a peer.MemberAck) {
			if p := g.player(a.Member); p != nil {
				p.acked(a)
			}
		})
	case peer.KindGone:
		f, err := peer.DecodeGone(body)
		for _, p := range g.rt.players {
			if p.conn == g {
				p.end(f.Code, f.Text)
			}
		}
		return err
	}
	return nil
}

func (g *gate) output(body []byte) error {
	o, err := peer.DecodeOutput(body)
	if err != nil {
		return err
	}
	listed := map[wire.MemberID]bool{}
	for i := range o.Listed() {
		listed[o.Member(i)] = true
	}
	for _, p := range g.rt.players {
		if p.conn == g && !p.asking && (o.Audience == peer.ToAll || listed[p.id] == (o.Audience == peer.ToOnly)) {
			p.told(o.Frame)
		}
	}
	return nil
}

// player is the connected player with that membership.
func (g *gate) player(id wire.MemberID) *Player {
	for _, p := range g.rt.players {
		if p.id == id && p.conn == g && !p.asking {
			return p
		}
	}
	return nil
}

// asking is the player that waits to be attached.
func (g *gate) asking(id wire.MemberID) *Player {
	for _, p := range g.rt.players {
		if p.id == id && p.conn == g && p.asking {
			return p
		}
	}
	return nil
}
