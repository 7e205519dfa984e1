package actor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

var start = time.Unix(5000, 0)

// script is a handler whose calls are functions, and which notes them down.
type script struct {
	book struct {
		Text string
		Map  map[string]int
	}
	calls  []string
	join   func(r rooms.Room, m rooms.Member, data []byte) error
	input  func(r rooms.Room, m rooms.Member, data []byte)
	leave  func(r rooms.Room, m rooms.Member, why rooms.Reason)
	sync   func(r rooms.Room, m rooms.Member)
	timer  func(r rooms.Room, name string)
	tick   func(r rooms.Room, dt time.Duration)
	starts func(r rooms.Room, why rooms.Start)
	back   func(r rooms.Room, m rooms.Member)
}

func (s *script) note(format string, args ...any) {
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

// took returns the calls since the last time.
func (s *script) took() string {
	out := strings.Join(s.calls, " ")
	s.calls = nil
	return out
}

func (s *script) State() any { return &s.book }

func (s *script) Start(r rooms.Room, why rooms.Start) {
	s.note("start:%d:%s", why.Why, why.Age)
	if s.starts != nil {
		s.starts(r, why)
	}
}

func (s *script) Join(r rooms.Room, m rooms.Member, data []byte) error {
	s.note("join:%d:%s", m.ID(), data)
	if s.join != nil {
		return s.join(r, m, data)
	}
	return nil
}

func (s *script) Input(r rooms.Room, m rooms.Member, data []byte) {
	s.note("input:%d:%s", m.ID(), data)
	if s.input != nil {
		s.input(r, m, data)
	}
}

func (s *script) Leave(r rooms.Room, m rooms.Member, why rooms.Reason) {
	s.note("leave:%d:%d", m.ID(), why)
	if s.leave != nil {
		s.leave(r, m, why)
	}
}

func (s *script) Sync(r rooms.Room, m rooms.Member) {
	s.note("sync:%d", m.ID())
	if s.sync != nil {
		s.sync(r, m)
	}
}

func (s *script) Dropped(_ rooms.Room, m rooms.Member) { s.note("dropped:%d", m.ID()) }

func (s *script) Back(r rooms.Room, m rooms.Member) {
	s.note("back:%d", m.ID())
	if s.back != nil {
		s.back(r, m)
	}
}

func (s *script) Timer(r rooms.Room, name string) {
	s.note("timer:%s", name)
	if s.timer != nil {
		s.timer(r, name)
	}
}

func (s *script) Stop(rooms.Room) { s.note("stop") }

// ticking is a script with ticks.
type ticking struct{ *script }

func (t ticking) Tick(r rooms.Room, dt time.Duration) {
	t.note("tick:%s", dt)
	if t.tick != nil {
		t.tick(r, dt)
	}
}

// fakePort notes down what it is sent, as text.
type fakePort struct {
	handle wire.Handle
	got    []string
}

func (p *fakePort) Handle() wire.Handle { return p.handle }

func (p *fakePort) took() string {
	out := strings.Join(p.got, " ")
	p.got = nil
	return out
}

func (p *fakePort) Send(kind peer.Kind, head, tail []byte) {
	p.got = append(p.got, frameText(p.handle, kind, append(slices.Clone(head), tail...)))
}

func frameText(h wire.Handle, kind peer.Kind, b []byte) string {
	switch kind {
	case peer.KindAttached:
		w, a, _ := peer.DecodeAttached(b)
		how := []string{"joined", "resumed", "gap", "rewound"}[a.How]
		return fmt.Sprintf("%s:%d.%d@%d#%d(%d,%d)[%d..%d]", how, w.Member, w.Generation, a.Seq, a.Count, a.Applied, a.Durable, a.From, a.To)
	case peer.KindRefused:
		w, e, _ := peer.DecodeRefused(b)
		return fmt.Sprintf("refused:%d.%d:%s:%s", w.Member, w.Generation, e.Code, e.Text)
	case peer.KindOutput:
		o, _ := peer.DecodeOutput(b)
		to := []string{"all", "only", "but"}[o.Audience]
		for i := range o.Listed() {
			to += fmt.Sprintf("+%d", o.Member(i))
		}
		return to + "=" + clientText(h, o.Frame)
	case peer.KindAcks:
		out := "acks"
		_ = peer.DecodeAcks(b, func(_ wire.Handle, _ wire.Epoch, a peer.MemberAck) {
			out += fmt.Sprintf(":%d(%d,%d)#%d", a.Member, a.Applied, a.Durable, a.Count)
		})
		return out
	case peer.KindTell:
		w, f, _ := peer.DecodeTell(b)
		return fmt.Sprintf("tell:%d.%d=%s", w.Member, w.Generation, clientText(h, f))
	case peer.KindLeft:
		w, code, text, _ := peer.DecodeLeft(b)
		return fmt.Sprintf("left:%d.%d:%s:%s", w.Member, w.Generation, code, text)
	case peer.KindGone:
		g, _ := peer.DecodeGone(b)
		return fmt.Sprintf("gone:%s:%s", g.Code, g.Text)
	}
	return fmt.Sprintf("kind %#x", kind)
}

func clientText(h wire.Handle, f []byte) string {
	if got := wire.Handle(be32(f[1:])); got != h {
		return fmt.Sprintf("HANDLE %d, NOT %d", got, h)
	}
	switch wire.TypeOf(f) {
	case wire.TypeMessage:
		m, _ := wire.DecodeMessage(f)
		return fmt.Sprintf("%d:%s", m.Seq, m.Payload)
	case wire.TypeLatest:
		m, _ := wire.DecodeMessage(f)
		return fmt.Sprintf("key%d:%s", m.Key, m.Payload)
	case wire.TypeEphemeral:
		m, _ := wire.DecodeMessage(f)
		return fmt.Sprintf("~%s", m.Payload)
	case wire.TypeExpect:
		e, _ := wire.DecodeExpect(f)
		return fmt.Sprintf("expect%d", e.Next)
	case wire.TypeFailed:
		e, _ := wire.DecodeFailed(f)
		return fmt.Sprintf("failed%d:%s", e.N, e.Code)
	case wire.TypeSkipped:
		s, _ := wire.DecodeSkipped(f)
		return fmt.Sprintf("skipped%d-%d", s.From, s.To)
	case wire.TypeStore:
		s, _ := wire.DecodeStore(f)
		return fmt.Sprintf("store:%v", s.Running)
	}
	return fmt.Sprintf("frame %#x", f[0])
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// stage is a room with its script and two ports.
type stage struct {
	*Room
	t    testing.TB
	s    *script
	cfg  Config
	now  time.Time
	a, b *fakePort
}

func open(t testing.TB, s *script, change func(*Config)) *stage {
	t.Helper()
	cfg := Config{
		Kind: rooms.Kind{Name: "k", New: func() rooms.Handler { return s }},
		Room: "k/x", Incarnation: 3, Epoch: 5, Host: "h", Seed: 1,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if cfg.Kind, err = cfg.Kind.Checked(); err != nil {
		t.Fatal(err)
	}
	st := &stage{t: t, s: s, cfg: cfg, now: start, a: &fakePort{handle: 1}, b: &fakePort{handle: 2}}
	if st.Room, err = New(cfg, st.now); err != nil {
		t.Fatal(err)
	}
	s.calls = nil
	return st
}

// joins attaches new members through a port, and forgets what that sent.
func (st *stage) joins(p *fakePort, ids ...wire.MemberID) {
	st.t.Helper()
	for _, id := range ids {
		st.attach(p, id, 1, peer.WhyJoin, wire.Position{})
		if m := st.members[id]; m == nil || m.port == nil {
			st.t.Fatalf("member %d did not join: %s", id, p.took())
		}
	}
	p.took()
	st.s.took()
}

func (st *stage) attach(p *fakePort, id wire.MemberID, gen wire.Generation, why peer.Why, at wire.Position) {
	a := peer.Attach{Handle: p.handle, Member: id, Generation: gen, Why: why, At: at, Data: []byte("d")}
	a.Instance[0] = byte(id)
	if why != peer.WhyJoin {
		a.Incarnation = st.cfg.Incarnation
	}
	st.Attach(st.now, p, a)
}

func (st *stage) input(p *fakePort, id wire.MemberID, gen wire.Generation, n wire.Input, text string) {
	st.Input(st.now, p, peer.Who{Handle: p.handle, Member: id, Generation: gen}, n, []byte(text))
}

// sleep lets time pass, with every tick and flush on the way.
func (st *stage) sleep(d time.Duration) {
	end := st.now.Add(d)
	for {
		next := st.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(st.now) {
			st.now = next
		}
		st.Tick(st.now)
		st.Flush(st.now)
	}
	st.now = end
}

// saves stores a checkpoint and returns it.
func (st *stage) saves() []byte {
	st.t.Helper()
	body, cut, err := st.Encode()
	if err != nil {
		st.t.Fatal(err)
	}
	st.Saved(st.now, cut)
	return body
}

// again restores a room of the next epoch from body.
func (st *stage) again(body []byte, s *script, change func(*Config)) *stage {
	st.t.Helper()
	next := open(st.t, s, func(c *Config) {
		*c = st.cfg
		c.Kind.New = func() rooms.Handler { return s }
		c.Epoch, c.Saved = st.cfg.Epoch+10, body
		if change != nil {
			change(c)
		}
	})
	next.now = st.now
	return next
}

func (st *stage) want(p *fakePort, want string) {
	st.t.Helper()
	if got := p.took(); got != want {
		st.t.Errorf("port %d got\n%s\nwant\n%s", p.handle, got, want)
	}
}

func (st *stage) called(want string) {
	st.t.Helper()
	if got := st.s.took(); got != want {
		st.t.Errorf("calls %s, want %s", got, want)
	}
}
