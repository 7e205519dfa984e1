package actor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// scribe writes down each instance's inputs in its state, and tells an
// audience that the input names. What it sent to whom goes to the world.
type scribe struct {
	w    *world
	book struct {
		Applied map[string][]uint64
		Said    uint64
	}
}

func (s *scribe) State() any { return &s.book }

func (s *scribe) Join(r rooms.Room, m rooms.Member, _ []byte) error {
	s.say(r, r.All(), all(r))
	return nil
}

func (s *scribe) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {
	s.say(r, r.All(), all(r))
}

func (s *scribe) Sync(r rooms.Room, m rooms.Member)    { s.say(r, m, []rooms.MemberID{m.ID()}) }
func (s *scribe) Dropped(r rooms.Room, m rooms.Member) { s.say(r, r.AllBut(m), but(r, m)) }
func (s *scribe) Back(r rooms.Room, m rooms.Member)    { s.say(r, r.AllBut(m), but(r, m)) }

// Input is the instance, the number, and a word that says what to do.
func (s *scribe) Input(r rooms.Room, m rooms.Member, data []byte) {
	key, n, word := string(data[:16]), binary.BigEndian.Uint64(data[16:]), data[24]
	list := s.book.Applied[key]
	if len(list) > 0 && list[len(list)-1] >= n {
		s.w.t.Fatalf("input %d after %d: twice or out of order", n, list[len(list)-1])
	}
	s.book.Applied[key] = append(list, n)
	var ms []rooms.Member
	var ids []rooms.MemberID
	i := 0
	for o := range r.Members {
		if word>>(i%8)&1 == 1 {
			ms, ids = append(ms, o, o), append(ids, o.ID())
		}
		i++
	}
	switch word % 5 {
	case 0:
		s.say(r, r.All(), all(r))
	case 1:
		s.say(r, r.AllBut(m), but(r, m))
	case 2:
		s.say(r, r.Only(ms...), ids)
	case 3:
		s.say(r, m, []rooms.MemberID{m.ID()})
	case 4:
		if word > 200 && len(ms) > 0 {
			r.Kick(ms[0], "out")
		}
	}
}

func (s *scribe) say(r rooms.Room, a rooms.Audience, to []rooms.MemberID) {
	before := s.w.room.seqNow(r)
	s.book.Said++
	a.Send(binary.BigEndian.AppendUint64(nil, s.book.Said))
	seq := s.w.room.seqNow(r)
	if len(to) == 0 {
		return // Only nobody takes no number; All of nobody is checked by none
	}
	if seq != before+1 {
		s.w.t.Fatalf("a reliable message went from %d to %d", before, seq)
	}
	for _, id := range to {
		s.w.sent[id] = append(s.w.sent[id], sentMark{s.w.epoch, seq, s.book.Said})
	}
}

func (w *worldRoom) seqNow(r rooms.Room) wire.Seq { return r.(*Room).seq }

func all(r rooms.Room) (ids []rooms.MemberID) {
	for m := range r.Members {
		ids = append(ids, m.ID())
	}
	return ids
}

func but(r rooms.Room, not rooms.Member) []rooms.MemberID {
	return slices.DeleteFunc(all(r), func(id rooms.MemberID) bool { return id == not.ID() })
}

type sentMark struct {
	epoch wire.Epoch
	seq   wire.Seq
	said  uint64
}

type worldRoom struct{ *Room }

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
	list := w.sent[rooms.MemberID(p.id)]
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
		if a.Epoch != p.pos.Epoch || a.Count != p.count {
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
		if a.Epoch == p.pos.Epoch && p.joined {
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

// world is one room with its players, gateways and store.
type world struct {
	t        *rapid.T
	kind     rooms.Kind
	room     *worldRoom
	now      time.Time
	epoch    wire.Epoch
	gates    []*gate
	players  []*player
	byMember map[wire.MemberID]*player
	sent     map[rooms.MemberID][]sentMark
	stored   []byte
	cuts     []storing
	ids      uint64
	gaps     int
	rewinds  int
	kicks    int
	stale    []staleInput
}

type storing struct {
	body []byte
	cut  Cut
}

type staleInput struct {
	g *gate
	w peer.Who
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Fatalf("decode: %v", err)
	}
}

func (w *world) config(saved []byte) Config {
	return Config{Kind: w.kind, Room: "scribe/x", Incarnation: 7, Epoch: w.epoch, Host: "h", Seed: 1, Saved: saved}
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: time.Unix(1000, 0), byMember: map[wire.MemberID]*player{},
		sent: map[rooms.MemberID][]sentMark{},
	}
	kind, err := rooms.Kind{
		Name: "scribe", New: func() rooms.Handler {
			s := &scribe{w: w}
			s.book.Applied = map[string][]uint64{}
			return s
		},
		MaxMembers: 5, Grace: 5 * time.Second, ResumeMessages: 12, ResumeBytes: 1 << 10,
	}.Checked()
	w.must(err)
	w.kind = kind
	w.boot()
	for i := range 3 {
		w.gates = append(w.gates, &gate{w: w, handle: wire.Handle(100 + i), attached: map[wire.MemberID]*player{}})
	}
	for i := range 6 {
		w.players = append(w.players, &player{w: w, i: i})
		w.renew(w.players[i])
	}
	return w
}

// boot starts the room from what is stored.
func (w *world) boot() {
	w.epoch += 10
	w.cuts = nil
	room, err := New(w.config(w.stored), w.now)
	w.must(err)
	w.room = &worldRoom{room}
}

// renew makes a player a newcomer.
func (w *world) renew(p *player) {
	delete(w.byMember, p.id)
	w.ids++
	*p = player{w: w, i: p.i, id: wire.MemberID(w.ids), next: 1, kept: map[wire.Input][]byte{}, gaveUp: map[wire.Input]bool{}}
	w.newInstance(p)
	w.byMember[p.id] = p
}

func (w *world) newInstance(p *player) {
	w.ids++
	binary.BigEndian.PutUint64(p.instance[:], w.ids)
	p.next, p.durable, p.leaving = 1, 0, false
	clear(p.kept)
	clear(p.gaveUp)
}

func (w *world) step(word uint32) {
	p := w.players[word>>8%uint32(len(w.players))]
	g := w.gates[word>>12%uint32(len(w.gates))]
	arg := word >> 16
	switch op := word % 32; op {
	case 0, 1, 2:
		w.now = w.now.Add(time.Duration(arg%200) * time.Millisecond)
		w.room.Tick(w.now)
	case 3, 4, 5, 6:
		w.connect(p, g, arg)
	case 7, 8, 9, 10, 11, 12, 13:
		w.play(p, arg)
	case 14, 15:
		p.resend(p.durable + 1)
	case 16:
		w.disconnect(p, arg)
	case 17:
		w.portDown(g, arg)
	case 18, 19, 20:
		w.save(arg)
	case 21:
		w.answerSave(arg)
	case 22:
		w.crash(arg)
	case 23:
		w.staleInput(arg)
	case 24:
		w.skip(p, arg)
	case 25:
		if arg%4 == 0 {
			w.leave(p)
		}
	case 26:
		w.roundTrip()
	case 27:
		if arg%8 == 0 {
			w.now = w.now.Add(6 * time.Second)
			w.room.Tick(w.now)
		}
	default:
		w.read(p, int(arg%16))
	}
	w.room.Flush(w.now)
	if err := w.room.Failure(); err != nil {
		w.t.Fatalf("%v\n%s", err, err.(*Panic).Stack)
	}
	if n := w.room.Connected(); n < 0 || n > w.room.Len() {
		w.t.Fatalf("%d of %d connected", n, w.room.Len())
	}
}

// read has a player handle up to n of what came for it.
func (w *world) read(p *player, n int) {
	for ; n > 0 && len(p.inbox) > 0; n-- {
		do := p.inbox[0]
		p.inbox = p.inbox[1:]
		do()
	}
	if p.over {
		w.renew(p)
	}
}

func (w *world) connect(p *player, g *gate, arg uint32) {
	if p.asking {
		return
	}
	if p.over {
		w.renew(p)
	}
	if p.gate != nil {
		if arg%8 != 0 || !p.joined {
			return
		}
		// Another connection of the same client; the old one is still up.
		w.stale = append(w.stale, staleInput{p.gate, p.who()})
		delete(p.gate.attached, p.id)
		p.gate.silent = true
	}
	switch {
	case !p.joined:
		p.inbox = nil
		p.attach(g, peer.WhyJoin)
	default:
		p.inbox = nil
		if arg%16 == 1 {
			w.newInstance(p)
		}
		p.attach(g, peer.WhyResume)
	}
}

func (w *world) play(p *player, arg uint32) {
	if !p.joined || p.leaving || len(p.kept) > 30 {
		return
	}
	n := p.next
	p.next++
	b := binary.BigEndian.AppendUint64(slices.Clone(p.instance[:]), uint64(n))
	p.kept[n] = append(b, byte(arg))
	switch arg >> 8 % 8 {
	case 0: // lost on the way
	case 1:
		p.transmit(n, p.kept[n])
		p.transmit(n, p.kept[n])
	case 2: // overtakes
		p.transmit(n+1, p.kept[n])
		p.transmit(n, p.kept[n])
	default:
		p.transmit(n, p.kept[n])
	}
}

func (w *world) leave(p *player) {
	if !p.joined || p.leaving {
		return
	}
	p.leaving = true
	p.kept[p.next] = nil
	p.next++
	p.resend(p.durable + 1)
}

func (w *world) skip(p *player, arg uint32) {
	if arg%4 != 0 || !p.up() || len(p.kept) < 3 || p.leaving {
		return
	}
	to := p.durable + 2
	if to >= p.next {
		return
	}
	for n := p.durable + 1; n <= to; n++ {
		delete(p.kept, n)
		p.gaveUp[n] = true
	}
	p.resend(p.durable + 1)
}

func (w *world) disconnect(p *player, arg uint32) {
	if !p.up() {
		return
	}
	w.stale = append(w.stale, staleInput{p.gate, p.who()})
	if arg%3 > 0 {
		who, g := p.who(), p.gate
		delete(g.attached, p.id)
		w.room.Detach(w.now, g, who)
	} else {
		delete(p.gate.attached, p.id)
		p.gate.silent = true
	}
	p.gate, p.inbox = nil, nil
}

// portDown breaks a gateway's link: it reattaches its members over a new one.
func (w *world) portDown(g *gate, arg uint32) {
	if arg%3 != 0 {
		return
	}
	late := arg>>4%4 == 0
	if !late {
		w.room.PortDown(w.now, g)
	}
	w.rebind(g, arg)
	if late {
		w.room.PortDown(w.now, g)
	}
}

func (w *world) rebind(g *gate, arg uint32) {
	g.down = true
	fresh := &gate{w: w, handle: g.handle + 10, attached: map[wire.MemberID]*player{}}
	w.gates[slices.Index(w.gates, g)] = fresh
	for _, p := range w.players {
		if p.gate != g {
			continue
		}
		switch {
		case p.asking:
			p.gate, p.asking = nil, false
			if arg>>6%2 == 0 && !p.joined {
				p.attach(fresh, peer.WhyJoin)
			}
		case g.attached[p.id] == p:
			p.attach(fresh, peer.WhyReattach)
		}
	}
}

func (w *world) save(arg uint32) {
	body, cut, err := w.room.Encode()
	w.must(err)
	if w.room.Dirty() || w.room.Urgent() {
		w.t.Fatalf("dirty right after Encode")
	}
	w.cuts = append(w.cuts, storing{body, cut})
	if arg%4 > 0 {
		w.answerSave(0)
	}
}

// answerSave has the store answer for one of the cuts under way.
func (w *world) answerSave(arg uint32) {
	if len(w.cuts) == 0 {
		return
	}
	at := int(arg) % len(w.cuts)
	w.stored = w.cuts[at].body
	cut := w.cuts[at].cut
	w.cuts = w.cuts[at+1:]
	w.room.Saved(w.now, cut)
}

// crash restores the room from the store; gateways find it by and by.
func (w *world) crash(arg uint32) {
	if arg%4 != 0 {
		return
	}
	w.boot()
	for _, g := range slices.Clone(w.gates) {
		w.rebind(g, arg)
	}
}

// staleInput has an old connection's frames come late: nothing may change.
func (w *world) staleInput(arg uint32) {
	if len(w.stale) == 0 {
		return
	}
	s := w.stale[int(arg)%len(w.stale)]
	m := w.room.members[s.w.Member]
	if m == nil || m.gen == s.w.Generation {
		return
	}
	before := fmt.Sprintf("%+v", *w.room.record())
	port := m.port
	payload := make([]byte, 25)
	for n := m.applied; n < m.applied+3; n++ {
		w.room.Input(w.now, s.g, s.w, n, payload)
		w.room.Leave(w.now, s.g, s.w, n)
		w.room.Skip(w.now, s.g, s.w, n+1, n+1)
	}
	w.room.Detach(w.now, s.g, s.w)
	if after := fmt.Sprintf("%+v", *w.room.record()); after != before || m.port != port {
		w.t.Fatalf("a stale connection changed the room from\n%s to\n%s", before, after)
	}
}

// roundTrip checks that what Encode gives decodes to the same.
func (w *world) roundTrip() {
	a, _, err := w.room.Encode()
	w.must(err)
	again, err := New(w.config(a), w.now)
	w.must(err)
	b, _, err := again.Encode()
	w.must(err)
	if !bytes.Equal(a, b) {
		w.t.Fatalf("decoded state differs:\n%x\n%x", a, b)
	}
}

// checkKick checks that nobody hears of a kick that a crash could undo.
func (w *world) checkKick(id wire.MemberID, code wire.Code) {
	if code != wire.CodeKicked {
		return
	}
	w.kicks++
	var s saved
	w.must(decMode.Unmarshal(w.stored, &s))
	if !slices.ContainsFunc(s.Kicked, func(k savedKick) bool { return k.ID == id }) {
		w.t.Fatalf("member %d hears that it was kicked, and the store does not know", id)
	}
}

// settle lets everybody connect, resend and read, and checks the end.
func (w *world) settle() {
	for range 15 {
		w.now = w.now.Add(300 * time.Millisecond)
		for i, p := range w.players {
			w.read(p, 1000)
			if p.joined && p.gate == nil {
				w.connect(p, w.gates[i%len(w.gates)], 2)
			}
			w.read(p, 1000)
			p.resend(p.durable + 1)
			w.read(p, 1000)
		}
		w.save(1)
		for len(w.cuts) > 0 {
			w.answerSave(0)
		}
		w.room.Flush(w.now)
	}
	book := w.room.handler.(*scribe).book
	for _, p := range w.players {
		m := w.room.members[p.id]
		if !p.joined || p.leaving || m == nil || !p.up() {
			continue
		}
		if m.applied != p.next-1 || len(p.kept) > 0 {
			w.t.Fatalf("player %d sent up to %d; applied %d, durable %d, kept %d", p.i, p.next-1, m.applied, m.durable, len(p.kept))
		}
		if p.count != m.count() {
			w.t.Fatalf("player %d got %d messages of %d", p.i, p.count, m.count())
		}
		checkBook(w.t, p, book.Applied[string(p.instance[:])])
	}
}

// checkBook checks that the inputs in the state are the player's, less what it
// skipped.
func checkBook(t *rapid.T, p *player, applied []uint64) {
	for i, n := range applied {
		if n >= uint64(p.next) || i > 0 && applied[i-1] >= n {
			t.Fatalf("player %d sent up to %d, applied are %v", p.i, p.next-1, applied)
		}
	}
	if missing := int(p.next-1) - len(applied) - p.skipped(applied); missing != 0 {
		t.Fatalf("player %d: %d inputs of %d are missing from %v", p.i, missing, p.next-1, applied)
	}
}

func TestRoomKeepsItsPromisesUnderRandomEvents(t *testing.T) {
	steps, gaps, rewinds, kicks := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.Uint32(), 2100, 2300).Draw(t, "steps")
		w := newWorld(t)
		for _, word := range words {
			w.step(word)
		}
		w.settle()
		steps, gaps, rewinds, kicks = steps+len(words), gaps+w.gaps, rewinds+w.rewinds, kicks+w.kicks
	})
	t.Logf("%d steps, %d gaps, %d rewinds and %d kicks announced", steps, gaps, rewinds, kicks)
	if gaps == 0 || rewinds == 0 || kicks == 0 {
		t.Errorf("%d gaps, %d rewinds and %d kicks announced: the events don't reach what they are to test", gaps, rewinds, kicks)
	}
}
