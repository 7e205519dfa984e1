package actor

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// trader does all that a handler can, as its inputs say, and tells everyone
// what happened with the time, its random source and what it has seen.
type trader struct {
	book struct {
		Count uint64
		Safe  uint64
		Log   []string
	}
	rebuilt int // not in the state
	wild    func() string
}

func (h *trader) State() any { return &h.book }

func (h *trader) say(r rooms.Room, a rooms.Audience, what string) {
	h.book.Count++
	h.book.Log = append(h.book.Log[max(0, len(h.book.Log)-5):], what)
	if h.wild != nil {
		what += h.wild()
	}
	a.Send(fmt.Appendf(nil, "%d %s %d %d %d/%d", h.book.Count, what, r.Now().UnixNano(), r.Rand().Uint32(), r.Len(), h.book.Safe))
}

func (h *trader) Start(r rooms.Room, why rooms.Start) {
	h.rebuilt++
	if why.Why == rooms.Replayed { // none of this may be seen
		h.book.Count += 1000
		r.All().Send([]byte("replayed"))
		r.SetTimer("replayed", 0)
		r.SetLocked(true)
		r.Rand().Uint64()
		return
	}
	h.say(r, r.All(), "start "+why.Age.String())
}

func (h *trader) Join(r rooms.Room, m rooms.Member, data []byte) error {
	h.say(r, r.All(), "join "+string(data))
	if string(data) == "no" {
		return rooms.Refuse("no")
	}
	return nil
}

func (h *trader) Leave(r rooms.Room, m rooms.Member, why rooms.Reason) {
	h.say(r, r.All(), fmt.Sprint("leave ", m.ID(), why))
}
func (h *trader) Dropped(r rooms.Room, m rooms.Member) {
	h.say(r, r.All(), fmt.Sprint("drop ", m.ID(), m.Connected()))
}
func (h *trader) Back(r rooms.Room, m rooms.Member) {
	h.say(r, r.AllBut(m), fmt.Sprint("back ", m.ID()))
}
func (h *trader) Sync(r rooms.Room, m rooms.Member) { h.say(r, m, fmt.Sprint("sync ", m.ID())) }
func (h *trader) Timer(r rooms.Room, name string)   { h.say(r, r.All(), "timer "+name) }

func (h *trader) Input(r rooms.Room, m rooms.Member, data []byte) {
	switch data[0] % 8 {
	case 0:
		r.SetTimer(fmt.Sprint(data[1]%3), time.Duration(data[1])*time.Millisecond)
	case 1:
		r.Durable(func() {
			h.book.Safe++
			h.say(r, r.All(), fmt.Sprint("safe ", m.ID(), r.Member(m.ID()) != nil))
		})
	case 2:
		if data[1] > 200 {
			r.Kick(m, "out")
			return
		}
	case 3:
		r.SetLabels(map[string]string{"n": fmt.Sprint(data[1])})
	}
	h.say(r, r.All(), fmt.Sprint("input ", m.ID(), data))
}

// beating is a trader with ticks.
type beating struct{ *trader }

func (h beating) Tick(r rooms.Room, dt time.Duration) { h.say(r, r.All(), "tick "+dt.String()) }

// store is what a journaled room's store holds.
type vault struct {
	body    []byte
	base    uint64
	entries [][]byte
	held    []told // said, but not to be heard yet
	heard   map[wire.Seq]string
	top     wire.Seq
}

type told struct {
	after uint64
	seq   wire.Seq
	text  string
	to    *mate
	how   *wire.Attach
	left  bool
	acked wire.Input
}

// mate is a client with its gateway.
type mate struct {
	id      wire.MemberID
	gen     wire.Generation
	sent    wire.Input
	durable wire.Input
	in      bool // it was told that it has joined
	asks    bool
	over    bool
	at      wire.Position
}

func (v *vault) last() uint64 { return v.base + uint64(len(v.entries)) }

type journalWorld struct {
	t     dice
	kind  rooms.Kind
	room  *Room
	epoch wire.Epoch
	now   time.Time
	v     vault
	pend  [][]byte // recorded, on their way to the store
	first uint64
	cut   *Cut
	body  []byte
	mates map[wire.MemberID]*mate
	crash int
	moves int
}

func (w *journalWorld) Handle() wire.Handle { return 1 }

// Send holds back what the room says until its entry is stored.
func (w *journalWorld) Send(kind peer.Kind, head, tail []byte) {
	b := append(slices.Clone(head), tail...)
	x := told{after: w.room.Depends()}
	switch kind {
	case peer.KindAttached:
		who, a, _ := peer.DecodeAttached(b)
		x.to, x.how = w.mates[who.Member], &a
		x.to.gen = who.Generation
	case peer.KindRefused, peer.KindLeft:
		x.to, x.left = w.mates[wire.MemberID(binary.BigEndian.Uint64(b[4:]))], true
	case peer.KindAcks:
		_ = peer.DecodeAcks(b, func(_ wire.Handle, _ wire.Epoch, a peer.MemberAck) {
			w.v.held = append(w.v.held, told{after: x.after, to: w.mates[a.Member], acked: a.Durable})
		})
		return
	case peer.KindOutput:
		o, _ := peer.DecodeOutput(b)
		m, err := wire.DecodeMessage(o.Frame)
		if err != nil {
			w.t.Fatal(err)
		}
		x.seq, x.text = m.Seq, string(m.Payload)
	case peer.KindTell:
		if m, err := wire.DecodeMessage(b[16:]); err == nil && m.Type == wire.TypeMessage {
			x.seq, x.text = m.Seq, string(m.Payload)
		}
	}
	w.v.held = append(w.v.held, x)
}

// hear releases what may be heard.
func (w *journalWorld) hear() {
	n := 0
	for _, x := range w.v.held {
		if x.after > w.v.last() {
			break
		}
		n++
		switch {
		case x.how != nil:
			w.attached(x.to, *x.how)
		case x.left:
			x.to.over = true
		case x.acked > 0:
			x.to.durable = max(x.to.durable, x.acked)
		case x.seq > 0:
			if old, ok := w.v.heard[x.seq]; ok && old != x.text {
				w.t.Fatalf("message %d was %q and is %q", x.seq, old, x.text)
			}
			w.v.heard[x.seq] = x.text
			w.v.top = max(w.v.top, x.seq)
			for _, m := range w.mates {
				if m.in && x.seq > m.at.Seq {
					m.at = wire.Position{Epoch: w.epoch, Seq: x.seq}
				}
			}
		}
	}
	w.v.held = slices.Delete(w.v.held, 0, n)
}

func (w *journalWorld) attached(m *mate, a wire.Attach) {
	if m.in && a.How != wire.HowResumed {
		w.t.Fatalf("member %d at %v was attached as %d at %d", m.id, m.at, a.How, a.Seq)
	}
	if a.Applied < m.durable {
		w.t.Fatalf("member %d was told that %d is durable, the room has %d", m.id, m.durable, a.Applied)
	}
	m.in, m.asks, m.sent = true, false, a.Applied
	m.at = wire.Position{Epoch: a.Epoch, Seq: max(m.at.Seq, a.Seq)}
}

func (w *journalWorld) take() {
	first, entries := w.room.Entries()
	if len(entries) > 0 && len(w.pend) == 0 {
		w.first = first
	}
	w.pend = append(w.pend, entries...)
}

// store stores n of the entries that are on their way.
func (w *journalWorld) store(n int) {
	n = min(n, len(w.pend))
	for i, e := range w.pend[:n] {
		if w.first+uint64(i) == w.v.last()+1 {
			w.v.entries = append(w.v.entries, e)
		}
	}
	w.pend, w.first = w.pend[n:], w.first+uint64(n)
	w.room.Appended(w.now, w.v.last())
	w.take()
	w.hear()
}

func (w *journalWorld) saved() {
	if w.cut == nil {
		return
	}
	if n := w.cut.Journal(); n > w.v.base {
		w.v.entries = w.v.entries[min(int(n-w.v.base), len(w.v.entries)):]
		w.v.base = n
	}
	w.v.body = w.body
	w.room.Saved(w.now, *w.cut)
	w.cut = nil
	w.take()
	w.hear()
}

// boot starts a copy from what the store holds.
func (w *journalWorld) boot() {
	w.epoch++
	for _, m := range w.mates {
		m.asks = false
	}
	w.pend, w.cut, w.v.held = nil, nil, nil
	r, err := New(Config{
		Kind: w.kind, Room: "k/x", Incarnation: 1, Epoch: w.epoch, Seed: uint64(w.epoch),
		Saved: w.v.body, Journal: w.v.entries, JournalBase: w.v.base,
	}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.room = r
	if why := r.Diverged(); why != "" {
		w.t.Fatal(why)
	}
	if r.seq < w.v.top {
		w.t.Fatalf("message %d was heard, the room is at %d", w.v.top, r.seq)
	}
	for seq := r.kept.floor + 1; seq <= r.kept.last(); seq++ {
		_, payload := r.kept.get(seq)
		if old, ok := w.v.heard[seq]; ok && old != string(payload) {
			w.t.Fatalf("message %d was heard as %q and is %q", seq, old, payload)
		}
		if strings.Contains(string(payload), "replayed") {
			w.t.Fatalf("a start that nobody may see said %q", payload)
		}
	}
	w.take()
}

func (w *journalWorld) who(m *mate) peer.Who {
	return peer.Who{Handle: 1, Member: m.id, Generation: m.gen}
}

func (w *journalWorld) mate() *mate {
	id := wire.MemberID(w.t.between(1, 5, "member"))
	m := w.mates[id]
	if m == nil || m.over {
		m = &mate{id: id + wire.MemberID(10*len(w.mates)+10*w.crash), gen: 1}
		m.id = id
		if w.mates[id] != nil { // memberships are never used again
			m.id = wire.MemberID(100 + len(w.mates))
		}
		w.mates[m.id] = m
	}
	return m
}

func (w *journalWorld) step() {
	m := w.mate()
	r := w.room
	switch w.t.between(0, 12, "what") {
	case 0, 1, 2:
		if m.asks || m.over {
			return
		}
		a := peer.Attach{Handle: 1, Member: m.id, Generation: m.gen, Data: []byte("d"), Incarnation: 1, Why: peer.WhyReattach, At: m.at}
		a.Instance[0] = byte(m.id)
		if !m.in {
			a.Why, a.Incarnation = peer.WhyJoin, 0
			if w.t.between(0, 5, "refused") == 0 {
				a.Data = []byte("no")
			}
		}
		m.asks = true
		r.Attach(w.now, w, a)
	case 3, 4, 5, 6:
		if m.in && !m.over {
			m.sent++
			data := make([]byte, w.t.between(2, 4, "data"))
			for i := range data {
				data[i] = byte(w.t.between(0, 255, "byte"))
			}
			r.Input(w.now, w, w.who(m), m.sent, data)
		}
	case 7:
		if m.in {
			m.sent += 2
			r.Skip(w.now, w, w.who(m), m.sent-1, m.sent)
		}
	case 8:
		r.Detach(w.now, w, w.who(m))
	case 9:
		if m.in && w.t.between(0, 3, "leave") == 0 {
			m.sent++
			r.Leave(w.now, w, w.who(m), m.sent)
		}
	case 10:
		if w.t.between(0, 3, "port") == 0 {
			r.PortDown(w.now, w)
		}
	}
	w.end()
}

func (w *journalWorld) end() {
	if err := w.room.Failure(); err != nil {
		w.t.Fatalf("%v\n%s", err, err.(*Panic).Stack)
	}
	w.take()
	w.hear()
}

func (w *journalWorld) sleep() {
	w.now = w.now.Add(time.Duration(w.t.between(0, 400, "ms")) * time.Millisecond)
	w.room.Tick(w.now)
	w.room.Flush(w.now)
	w.end()
}

func (w *journalWorld) encode() {
	if w.cut != nil || w.room.Waiting() > 0 {
		return
	}
	body, cut, err := w.room.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.body, w.cut = body, &cut
}

func (w *journalWorld) die() {
	if w.t.between(0, 1, "die") == 0 {
		return
	}
	w.crash++
	w.now = w.now.Add(time.Duration(w.t.between(-50, 900, "outage ms")) * time.Millisecond)
	w.boot()
}

// park stops the room as planned and starts it again.
func (w *journalWorld) park() {
	if w.t.between(0, 3, "park") > 0 {
		return
	}
	w.room.Stop(w.now)
	body, cut, err := w.room.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.take()
	w.body, w.cut = body, &cut
	w.saved()
	w.boot()
}

// move takes the room live to another copy, as it is.
func (w *journalWorld) move() {
	if w.t.between(0, 1, "move") > 0 {
		return
	}
	w.saved()
	for len(w.pend) > 0 || w.room.Waiting() > 0 { // the host waits for the store first
		w.store(len(w.pend))
	}
	body, cut, err := w.room.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	baggage, err := w.room.Pack(w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.body, w.cut = body, &cut
	w.saved()
	seq, here := w.room.seq, w.room.Connected()
	w.now = w.now.Add(time.Duration(w.t.between(-50, 300, "pause ms")) * time.Millisecond)
	w.epoch++
	r, err := New(Config{
		Kind: w.kind, Room: "k/x", Incarnation: 1, Epoch: w.epoch, Seed: uint64(w.epoch),
		Saved: body, Baggage: baggage, JournalBase: cut.Journal(),
	}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range w.mates {
		m.asks = false
	}
	w.room, w.pend = r, nil
	if r.seq != seq || r.Connected() != here {
		w.t.Fatalf("a move went from message %d with %d connected to %d with %d", seq, here, r.seq, r.Connected())
	}
	w.end()
	w.moves++
}

// acts are what can happen.
func (w *journalWorld) acts() map[string]func() {
	return map[string]func(){
		"step": w.step, "step more": w.step, "step again": w.step, "step on": w.step,
		"store some": func() { w.store(w.t.between(0, 5, "n")) },
		"store all":  func() { w.store(len(w.pend)) },
		"sleep":      w.sleep, "encode": w.encode, "saved": w.saved,
		"die": w.die, "park": w.park, "move": w.move,
	}
}

func newJournalWorld(t dice, ticks bool) *journalWorld {
	w := &journalWorld{t: t, now: start, epoch: 1, mates: map[wire.MemberID]*mate{}}
	w.v.heard = map[wire.Seq]string{}
	var err error
	w.kind, err = rooms.Kind{
		Name: "k", Durability: rooms.Journal(), Grace: 700 * time.Millisecond, TickRate: 10,
		ResumeMessages: 1 << 16, ResumeBytes: 1 << 24,
		New: func() rooms.Handler {
			if ticks {
				return beating{&trader{}}
			}
			return &trader{}
		},
	}.Checked()
	if err != nil {
		t.Fatal(err)
	}
	w.boot()
	return w
}

// TestJournalReplaysEverythingThatWasHeard crashes a journaled room at any
// point of random lives, and moves it: whatever anyone heard is what the next
// owner says under the same number, no member that joined is rewound, and no
// input that was told to be durable is lost.
func TestJournalReplaysEverythingThatWasHeard(t *testing.T) {
	for name, ticks := range map[string]bool{"ticks": true, "no ticks": false} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := newJournalWorld(drawn{rt}, ticks)
				acts := map[string]func(*rapid.T){}
				for name, f := range w.acts() {
					acts[name] = func(*rapid.T) { f() }
				}
				rt.Repeat(acts)
			})
		})
	}
}
