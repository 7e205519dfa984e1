package roomtest

import (
	"encoding/binary"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Player is a client of the room.
type Player struct {
	rt     *Room
	user   string
	data   []byte
	claims []byte

	id       wire.MemberID
	instance wire.Instance
	conn     *gate // nil: not connected
	asking   bool  // waits to be attached
	gen      wire.Generation
	at       wire.Position
	count    uint64

	sent       wire.Input            // the last input's number
	kept       map[wire.Input][]byte // not durable yet; nil bytes are a leave
	resendFrom wire.Input            // where the room wants them from, 0: nowhere

	unread []Message
	resync int
	code   wire.Code // how the membership ended
	reason string
	err    *wire.Error // of the last attach
}

// Join lets a player join as user, with data for the handler's Join: nil,
// bytes and strings are sent as they are, anything else as JSON. A join that
// is refused fails the test.
func (rt *Room) Join(user string, data any) *Player {
	rt.t.Helper()
	p, err := rt.TryJoin(user, data)
	if err != nil {
		rt.t.Fatalf("join as %q: %v", user, err)
	}
	return p
}

// TryJoin is Join for a player that may be refused. The error's text is the
// code, and the room's reason: "refused: too late", "room_full: no open seat".
func (rt *Room) TryJoin(user string, data any) (*Player, error) {
	rt.t.Helper()
	return rt.TryJoinWith(user, data, nil)
}

// TryJoinWith is TryJoin for a player whose token has claims, which
// Member.Claims gives to the handler: nil, or what data may be.
func (rt *Room) TryJoinWith(user string, data, claims any) (*Player, error) {
	rt.t.Helper()
	n := len(rt.players) + 1
	p := &Player{
		rt: rt, user: user, data: payload(rt.t, data), claims: payload(rt.t, claims),
		id: wire.MemberID(n), gen: 1, kept: map[wire.Input][]byte{},
	}
	binary.BigEndian.PutUint64(p.instance[:], uint64(n))
	rt.players = append(rt.players, p)
	p.conn = p.gate()
	p.attach(peer.WhyJoin)
	rt.settle()
	if p.err != nil {
		return nil, p.err
	}
	return p, nil
}

// gate is the gateway that p uses.
func (p *Player) gate() *gate { return p.rt.gates[int(p.id)%len(p.rt.gates)] }

func (p *Player) attach(why peer.Why) {
	p.conn, p.asking, p.err = p.gate(), true, nil
	a := peer.Attach{
		Handle: p.conn.handle, Member: p.id, Generation: p.gen, Instance: p.instance, Why: why,
		At: p.at, Room: wire.Room(p.rt.kind.Name, "test"), User: p.user, Data: p.data, Claims: p.claims,
	}
	if why != peer.WhyJoin {
		a.Incarnation = p.rt.born
	}
	p.rt.actor.Attach(p.rt.now, p.conn, a)
	p.rt.check()
}

func (p *Player) attached(gen wire.Generation, a wire.Attach) {
	p.asking, p.gen = false, gen
	if a.How == wire.HowResumed {
		if a.Count != p.count || a.Seq > p.at.Seq {
			p.broken("resumed at %d with %d messages, stands at %d with %d", a.Seq, a.Count, p.at.Seq, p.count)
		}
	} else {
		p.at, p.count = wire.Position{Epoch: a.Epoch, Seq: a.Seq}, a.Count
		p.unread = nil
		if a.How != wire.HowJoined {
			p.resync++
		}
	}
	p.forget(a.Durable)
	p.resendFrom = a.Applied + 1
}

func (p *Player) refused(e *wire.Error) {
	p.err = e
	p.end(e.Code, e.Text)
}

// told takes a client frame.
func (p *Player) told(frame []byte) {
	switch wire.TypeOf(frame) {
	case wire.TypeMessage, wire.TypeLatest, wire.TypeEphemeral:
		m, err := wire.DecodeMessage(frame)
		if err != nil {
			p.broken("%v", err)
		}
		if m.Type == wire.TypeMessage {
			if m.Seq <= p.at.Seq {
				p.broken("message %d came after %d", m.Seq, p.at.Seq)
			}
			p.at.Seq = m.Seq
			p.count++
		}
		p.put(m)
	case wire.TypeExpect:
		f, err := wire.DecodeExpect(frame)
		if err != nil {
			p.broken("%v", err)
		}
		p.resendFrom = f.Next
	}
}

func (p *Player) acked(a peer.MemberAck) {
	if a.Count != p.count {
		p.broken("got %d reliable messages of %d", p.count, a.Count)
	}
	p.forget(a.Durable)
}

func (p *Player) forget(durable wire.Input) {
	for n := range p.kept {
		if n <= durable {
			delete(p.kept, n)
		}
	}
}

// broken reports what a room must never do.
func (p *Player) broken(format string, args ...any) {
	p.rt.t.Helper()
	p.rt.t.Fatalf("the room broke its promises to %q: "+format, append([]any{p.user}, args...)...)
}

func (p *Player) end(code wire.Code, text string) {
	p.conn, p.asking, p.resendFrom = nil, false, 0
	p.code, p.reason = code, text
	clear(p.kept)
}

// resend sends what the room does not have.
func (p *Player) resend() {
	p.rt.t.Helper()
	n := p.resendFrom
	p.resendFrom = 0
	for ; n <= p.sent && p.conn != nil; n++ {
		if b, ok := p.kept[n]; ok {
			p.transmit(n, b)
		}
	}
}

func (p *Player) transmit(n wire.Input, b []byte) {
	p.rt.t.Helper()
	w := peer.Who{Handle: p.conn.handle, Member: p.id, Generation: p.gen}
	if b == nil {
		p.rt.actor.Leave(p.rt.now, p.conn, w, n)
	} else {
		p.rt.actor.Input(p.rt.now, p.conn, w, n, b)
	}
	p.rt.check()
}

// Input sends an input: bytes and strings as they are, anything else as JSON.
// While the player is dropped it is kept, and sent when it is back.
func (p *Player) Input(data any) {
	p.rt.t.Helper()
	b := payload(p.rt.t, data)
	if b == nil {
		b = []byte{}
	}
	p.enter(b)
}

// Leave leaves the room.
func (p *Player) Leave() {
	p.rt.t.Helper()
	p.enter(nil)
}

func (p *Player) enter(b []byte) {
	p.rt.t.Helper()
	if code, _ := p.Ended(); code != "" {
		p.rt.t.Fatalf("%q is no member any more: %s", p.user, code)
	}
	if len(b) > wire.MaxInput {
		p.rt.t.Fatalf("input of %d bytes: a client can send at most %d", len(b), wire.MaxInput)
	}
	p.sent++
	p.kept[p.sent] = b
	if p.conn != nil {
		p.transmit(p.sent, b)
	}
	p.rt.settle()
}

// Drop loses the player's connection. Within the kind's grace it can be Back.
func (p *Player) Drop() {
	p.rt.t.Helper()
	if p.conn == nil {
		p.rt.t.Fatalf("%q is not connected", p.user)
	}
	g := p.conn
	p.conn = nil
	p.rt.actor.Detach(p.rt.now, g, peer.Who{Handle: g.handle, Member: p.id, Generation: p.gen})
	p.rt.settle()
}

// Back connects the player again, if it is still a member: see Ended.
func (p *Player) Back() {
	p.rt.t.Helper()
	if p.conn != nil {
		p.rt.t.Fatalf("%q is connected", p.user)
	}
	p.attach(peer.WhyResume)
	p.rt.settle()
}

// BackAfter is Advance and then Back.
func (p *Player) BackAfter(d time.Duration) {
	p.rt.t.Helper()
	p.rt.Advance(d)
	p.Back()
}

// Messages returns what came since the last call, in order.
func (p *Player) Messages() []Message {
	ms := p.unread
	p.unread = nil
	return ms
}

// Next returns the next message. It fails the test where there is none.
func (p *Player) Next() Message {
	p.rt.t.Helper()
	if len(p.unread) == 0 {
		p.rt.t.Fatalf("no message for %q", p.user)
	}
	m := p.unread[0]
	p.unread = p.unread[1:]
	return m
}

// Resyncs is how often the player was told that it missed something (a gap or
// a rewind) and got the full state again.
func (p *Player) Resyncs() int { return p.resync }

// Connected says whether the player is connected.
func (p *Player) Connected() bool { return p.conn != nil }

// ID is the player's membership.
func (p *Player) ID() rooms.MemberID { return rooms.MemberID(p.id) }

// Member is the room's view of the player, nil where it is no member.
func (p *Player) Member() rooms.Member { return p.rt.actor.Member(p.ID()) }

// Ended says how the membership ended: "left", "kicked", "grace_over",
// "room_closed", "ended", with the room's reason; "" while it lasts. A dropped
// player learns of it when it is Back.
func (p *Player) Ended() (code, reason string) {
	if p.code == wire.CodeNone {
		return "", ""
	}
	return p.code.String(), p.reason
}
