package actor

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// player is a client with its gateway's knowledge of it.
type player struct {
	w        *world
	i        int
	id       wire.MemberID
	gate     *gate // that it is connected to, nil: none
	asking   bool  // an attach is under way
	gen      wire.Generation
	token    wire.Generation
	joined   bool // has been told so
	over     bool
	instance wire.Instance
	next     wire.Input // number of its next input
	durable  wire.Input
	kept     map[wire.Input][]byte
	gaveUp   map[wire.Input]bool
	pos      wire.Position
	written  wire.Position
	count    uint64
	inbox    []func()
	leaving  bool
}

func (p *player) deliver(frame []byte) {
	frame = slices.Clone(frame)
	if wire.TypeOf(frame) == wire.TypeMessage {
		f, err := wire.DecodeMessage(frame)
		p.w.must(err)
		if f.Handle != p.gate.handle {
			p.w.t.Fatalf("message with handle %d on %d", f.Handle, p.gate.handle)
		}
		p.written = wire.Position{Epoch: p.w.epoch, Seq: f.Seq}
		epoch := p.w.epoch
		p.inbox = append(p.inbox, func() { p.onMessage(epoch, f) })
		return
	}
	if wire.TypeOf(frame) == wire.TypeExpect {
		f, err := wire.DecodeExpect(frame)
		p.w.must(err)
		p.inbox = append(p.inbox, func() { p.resend(f.Next) })
	}
}

func (p *player) onMessage(epoch wire.Epoch, f wire.Message) {
	w := p.w
	if epoch != p.pos.Epoch {
		w.t.Fatalf("player %d at %v got a message of epoch %d", p.i, p.pos, epoch)
	}
	list, epoch := w.sent[rooms.MemberID(p.id)], w.heir(epoch)
	at := sort.Search(len(list), func(i int) bool {
		return list[i].epoch > epoch || list[i].epoch == epoch && list[i].seq > p.pos.Seq
	})
	if at == len(list) || list[at].seq != f.Seq || list[at].epoch != epoch {
		w.t.Fatalf("player %d (member %d) at %v got message %d: a duplicate, a gap, or not for it; next is %v of %v", p.i, p.id, p.pos, f.Seq, at, list)
	}
	if said := binary.BigEndian.Uint64(f.Payload); said != list[at].said {
		w.t.Fatalf("message %d says %d, want %d", f.Seq, said, list[at].said)
	}
	p.pos.Seq = f.Seq
	p.count++
}

func (p *player) onAttached(a wire.Attach, gen wire.Generation) {
	w := p.w
	if a.Epoch < p.pos.Epoch {
		w.t.Fatalf("player %d moved from epoch %d to %d", p.i, p.pos.Epoch, a.Epoch)
	}
	switch a.How {
	case wire.HowJoined:
		if p.joined {
			w.t.Fatalf("player %d joined twice", p.i)
		}
	case wire.HowResumed:
		if w.heir(a.Epoch) != w.heir(p.pos.Epoch) || a.Count != p.count {
			w.t.Fatalf("player %d resumed at %v with count %d, but stands at %v with %d", p.i, a.Seq, a.Count, p.pos, p.count)
		}
		if a.Seq > p.pos.Seq {
			w.t.Fatalf("player %d at %v resumed beyond, at %d", p.i, p.pos, a.Seq)
		}
		a.Seq = p.pos.Seq
	case wire.HowGap:
		if a.From != p.pos.Seq+1 || a.To != a.Seq {
			w.t.Fatalf("gap of %d..%d announced to a player at %v", a.From, a.To, p.pos)
		}
		w.gaps++
	case wire.HowRewound:
		w.rewinds++
		if w.heir(a.Epoch) == w.heir(p.pos.Epoch) && p.joined {
			w.t.Fatalf("player %d rewound within an epoch", p.i)
		}
	}
	p.joined = true
	p.token = gen
	p.pos = wire.Position{Epoch: a.Epoch, Seq: a.Seq}
	p.count = a.Count
	p.forget(a.Durable)
	if a.Durable > a.Applied {
		w.t.Fatalf("durable %d above applied %d", a.Durable, a.Applied)
	}
	p.resend(a.Applied + 1)
}

func (p *player) onAck(a peer.MemberAck) {
	if a.Durable > a.Applied || a.Applied >= p.next {
		p.w.t.Fatalf("ack %+v to a player that has sent up to %d", a, p.next-1)
	}
	if a.Count != p.count {
		p.w.t.Fatalf("player %d was addressed %d times and got %d", p.i, a.Count, p.count)
	}
	p.forget(a.Durable)
}

func (p *player) forget(durable wire.Input) {
	p.durable = max(p.durable, durable)
	for n := range p.kept {
		if n <= durable {
			delete(p.kept, n)
		}
	}
}

func (p *player) onLeft(code wire.Code) {
	if code == wire.CodeReplaced {
		return // by itself: the resume that it knows of
	}
	p.end()
}

func (p *player) onRefused(code wire.Code) {
	p.gate = nil
	switch code {
	case wire.CodeBusy, wire.CodeRoomFull, wire.CodeNone:
	case wire.CodeReplaced:
		p.w.t.Fatalf("player %d with token %d was refused as replaced, record %+v", p.i, p.token, p.w.room.members[p.id])
	case wire.CodeKicked, wire.CodeGraceOver, wire.CodeLeft:
		p.end()
	default:
		p.w.t.Fatalf("player %d refused: %s", p.i, code)
	}
}

func (p *player) end() {
	p.over = true
	p.gate = nil
	p.inbox = nil
}

func (p *player) who() peer.Who {
	return peer.Who{Handle: p.gate.handle, Member: p.id, Generation: p.gen}
}

func (p *player) up() bool { return p.gate != nil && !p.asking && p.gate.attached[p.id] == p }

// resend sends what it keeps from n on, in order.
func (p *player) resend(n wire.Input) {
	for ; p.up() && n < p.next; n++ {
		if b, ok := p.kept[n]; ok {
			p.transmit(n, b)
		} else if p.gaveUp[n] {
			p.skip(n)
		}
	}
}

func (p *player) transmit(n wire.Input, b []byte) {
	if !p.up() || p.token != p.gen {
		return
	}
	if len(b) == 0 {
		p.w.room.Leave(p.w.now, p.gate, p.who(), n)
		return
	}
	p.w.room.Input(p.w.now, p.gate, p.who(), n, b)
}

func (p *player) skip(n wire.Input) {
	if p.up() && p.token == p.gen {
		p.w.room.Skip(p.w.now, p.gate, p.who(), n, n)
	}
}

// skipped is how many inputs it gave up that were not applied.
func (p *player) skipped(applied []uint64) (n int) {
	for g := range p.gaveUp {
		if !slices.Contains(applied, uint64(g)) {
			n++
		}
	}
	return n
}

func (p *player) attach(g *gate, why peer.Why) {
	p.gate, p.asking = g, true
	a := peer.Attach{
		Handle: g.handle, Member: p.id, Generation: p.token, Instance: p.instance, Why: why,
		Incarnation: 7, At: p.pos, Room: "scribe/x", Data: []byte("hi"),
	}
	switch why {
	case peer.WhyJoin:
		a.Incarnation, a.Generation = 0, 1
	case peer.WhyReattach:
		a.Generation, a.At = p.gen, p.written
	}
	p.w.room.Attach(p.w.now, g, a)
}
