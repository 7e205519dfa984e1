package actor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// world is one room with its players, gateways and store.
type world struct {
	t        fataler
	kind     rooms.Kind
	room     *Room
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
	moves    int
	races    int
	lineage  map[wire.Epoch]wire.Epoch // of live moves
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

func newWorld(t fataler) *world {
	w := &world{
		t: t, now: time.Unix(1000, 0), byMember: map[wire.MemberID]*player{},
		sent: map[rooms.MemberID][]sentMark{}, lineage: map[wire.Epoch]wire.Epoch{},
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
	w.room = room
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
	case 28:
		if arg%4 == 0 {
			w.move(arg)
		}
	case 27:
		if arg%8 == 0 {
			w.now = w.now.Add(6 * time.Second)
			w.room.Tick(w.now)
		}
	case 29:
		w.race(p, g, arg)
	case 30:
		w.otherIncarnation(p, arg)
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

// move takes the room live to another copy; gateways follow it by and by.
func (w *world) move(arg uint32) {
	body, cut, err := w.room.Encode()
	w.must(err)
	baggage, err := w.room.Pack(w.now)
	w.must(err)
	w.stored, w.cuts = body, nil // the hand-off stores it
	w.room.Saved(w.now, cut)
	old := w.epoch
	w.epoch += 10
	w.lineage[old] = w.epoch
	cfg := w.config(body)
	cfg.Baggage = baggage
	for _, list := range w.sent { // what was sent is the new epoch's too
		for i := range list {
			if list[i].epoch == old {
				list[i].epoch = w.epoch
			}
		}
	}
	next, err := New(cfg, w.now)
	w.must(err)
	w.room = next
	w.moves++
	for _, g := range slices.Clone(w.gates) {
		w.rebind(g, arg)
	}
}

// heir is the epoch of the copy that goes on, by live moves, from that of e.
func (w *world) heir(e wire.Epoch) wire.Epoch {
	for w.lineage[e] != 0 {
		e = w.lineage[e]
	}
	return e
}

// race has another connection resume with the token that the player's own has just
// used: the room has one holder, and it is the later one.
func (w *world) race(p *player, g *gate, arg uint32) {
	if arg%8 != 0 || p.gate != nil || !p.joined || p.asking || p.over {
		return
	}
	p.inbox = nil
	p.attach(g, peer.WhyResume)
	m := w.room.members[p.id]
	if p.asking || m == nil || m.port == nil || !p.up() {
		return
	}
	rival := &gate{w: w, handle: g.handle + 5, attached: map[wire.MemberID]*player{}, silent: true}
	first := m.gen
	w.room.Attach(w.now, rival, peer.Attach{
		Handle: rival.handle, Member: p.id, Generation: p.token, Instance: p.instance, Why: peer.WhyResume,
		Incarnation: 7, At: p.pos, Room: "scribe/x", Data: []byte("hi"),
	})
	if m = w.room.members[p.id]; m == nil {
		return // its kick, by what was said on its return
	}
	if m.port == nil || m.port.out != Port(rival) || m.gen <= first || p.up() {
		w.t.Fatalf("two connections raced with token %d of member %d: held by %v in generation %d after %d", p.token, p.id, m.port, m.gen, first)
	}
	w.races++
	w.room.PortDown(w.now, rival)
}

// otherIncarnation has what was kept for a room that is over come to this one.
func (w *world) otherIncarnation(p *player, arg uint32) {
	before := fmt.Sprintf("%+v", *w.room.contents())
	var got wire.Code
	w.room.Attach(w.now, hearing(func(code wire.Code) { got = code }), peer.Attach{
		Handle: 1, Member: p.id, Generation: p.token, Instance: p.instance, Why: []peer.Why{peer.WhyResume, peer.WhyReattach}[arg%2],
		Incarnation: 6, At: p.pos, Room: "scribe/x",
	})
	if after := fmt.Sprintf("%+v", *w.room.contents()); got != wire.CodeEnded || after != before {
		w.t.Fatalf("a member of another incarnation was answered %s and changed the room from\n%s to\n%s", got, before, after)
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
	before := fmt.Sprintf("%+v", *w.room.contents())
	port := m.port
	payload := make([]byte, 25)
	for n := m.applied; n < m.applied+3; n++ {
		w.room.Input(w.now, s.g, s.w, n, payload)
		w.room.Leave(w.now, s.g, s.w, n)
		w.room.Skip(w.now, s.g, s.w, n+1, n+1)
	}
	w.room.Detach(w.now, s.g, s.w)
	if after := fmt.Sprintf("%+v", *w.room.contents()); after != before || m.port != port {
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
func checkBook(t fataler, p *player, applied []uint64) {
	for i, n := range applied {
		if n >= uint64(p.next) || i > 0 && applied[i-1] >= n {
			t.Fatalf("player %d sent up to %d, applied are %v", p.i, p.next-1, applied)
		}
	}
	if missing := int(p.next-1) - len(applied) - p.skipped(applied); missing != 0 {
		t.Fatalf("player %d: %d inputs of %d are missing from %v", p.i, missing, p.next-1, applied)
	}
}

// tally of what worlds went through: events that reach nothing test nothing.
type tally struct{ worlds, steps, gaps, rewinds, kicks, moves, races int }

func (n *tally) add(w *world, steps int) {
	n.worlds, n.steps = n.worlds+1, n.steps+steps
	n.gaps, n.rewinds, n.kicks = n.gaps+w.gaps, n.rewinds+w.rewinds, n.kicks+w.kicks
	n.moves, n.races = n.moves+w.moves, n.races+w.races
}

func (n *tally) check(t *testing.T) {
	t.Logf("%+v", *n)
	if n.gaps == 0 || n.rewinds == 0 || n.kicks == 0 || n.moves == 0 || n.races == 0 {
		t.Errorf("%+v: the events don't reach what they are to test", *n)
	}
}

func TestRoomKeepsItsPromisesUnderRandomEvents(t *testing.T) {
	var n tally
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.Uint32(), 500, 700).Draw(t, "steps")
		w := newWorld(t)
		for _, word := range words {
			w.step(word)
		}
		w.settle()
		n.add(w, len(words))
	})
	t.Logf("%+v", n) // whether enough of it happened is looked at over a million steps
}
