package actor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestAudienceIsSaidInTheShortestForm(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2, 3)
	st.joins(st.b, 4)
	ms := map[int]rooms.Member{}
	for m := range st.Members {
		ms[int(m.ID())] = m
	}
	for i, tc := range []struct {
		to   rooms.Audience
		a, b string
	}{
		{st.All(), "all", "all"},
		{st.AllBut(ms[2]), "but+2", "all"},
		{st.AllBut(ms[4]), "all", ""},
		{st.AllBut(nil), "all", "all"},
		{ms[1], "only+1", ""},
		{ms[4], "", "all"},
		{st.Only(ms[1]), "only+1", ""},
		{st.Only(ms[1], ms[1], ms[4]), "only+1", "all"},
		{st.Only(ms[3], ms[1]), "but+2", ""},
		{st.Only(ms[1], ms[2], ms[3]), "all", ""},
	} {
		tc.to.Send([]byte("x"))
		for p, want := range map[*fakePort]string{st.a: tc.a, st.b: tc.b} {
			if want != "" {
				want += fmt.Sprintf("=%d:x", i+1)
			}
			st.want(p, want)
		}
	}
	st.Only().Send([]byte("x"))
	st.All().Send([]byte("y"))
	st.want(st.b, "all=11:y")
}

func TestRemovedMembersGetNothingMore(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2, 3)
	one, two, three := st.Member(1), st.Member(2), st.Member(3)
	st.Kick(one, "bye")
	st.All().Send([]byte("a"))
	st.AllBut(two).Send([]byte("b"))
	st.Only(two, three).Send([]byte("c"))
	two.Send([]byte("d"))
	one.Send([]byte("never"))
	st.Only(one, two).Ephemeral([]byte("e"))
	st.want(st.a, "but+1=1:a but+1+2=2:b but+1=3:c only+2=4:d only+2=~e")
	if st.Member(1) != nil || st.Len() != 2 {
		t.Errorf("the kicked one is still a member")
	}
	st.saves()
	st.want(st.a, "left:1.1:kicked:bye")
	st.All().Send([]byte("f"))
	st.want(st.a, "all=5:f")
}

func TestDroppedMembersCount(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1, 2)
	st.PortDown(st.now, st.a)
	st.called("dropped:1 dropped:2")
	st.All().Send([]byte("x"))
	st.Member(1).Send([]byte("y"))
	st.Member(1).Latest(1, []byte("z"))
	st.want(st.a, "")
	st.attach(st.b, 1, 1, peer.WhyReattach, wire.Position{Epoch: 5})
	st.want(st.b, "resumed:1.1@0#0(0,0)[0..0] tell:1.1=1:x tell:1.1=2:y")
	if n := st.members[2].count(); n != 1 {
		t.Errorf("member 2 has a count of %d, want 1", n)
	}
}

func TestOversizeIsDropped(t *testing.T) {
	st := open(t, &script{}, nil)
	st.joins(st.a, 1)
	st.All().Send(make([]byte, wire.MaxPayload+1))
	if st.want(st.a, ""); st.Oversize() != 1 || st.seq != 0 {
		t.Errorf("%d dropped, sequence %d", st.Oversize(), st.seq)
	}
	st.All().Send(make([]byte, wire.MaxPayload))
	if len(st.a.took()) == 0 {
		t.Errorf("a message at the limit was dropped")
	}
}

// nullPort takes frames and forgets them.
type nullPort struct {
	handle        wire.Handle
	frames, bytes int
}

func (p *nullPort) Handle() wire.Handle { return p.handle }
func (p *nullPort) Send(_ peer.Kind, head, tail []byte) {
	p.frames++
	p.bytes += len(head) + len(tail)
}

// crowd is a room with n members behind each of some gateways.
func crowd(t testing.TB, gateways, n int) (*Room, []*nullPort) {
	kind, err := rooms.Kind{Name: "k", New: func() rooms.Handler { return &still{} }, MaxMembers: gateways * n}.Checked()
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Kind: kind, Room: "k/x", Epoch: 5}, start)
	if err != nil {
		t.Fatal(err)
	}
	var ports []*nullPort
	for g := range gateways {
		p := &nullPort{handle: wire.Handle(g)}
		ports = append(ports, p)
		for i := range n {
			r.Attach(start, p, peer.Attach{Member: wire.MemberID(g*n + i + 1), Generation: 1})
		}
		p.frames = 0
	}
	return r, ports
}

// still does nothing.
type still struct{}

func (*still) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (*still) Input(rooms.Room, rooms.Member, []byte)       {}
func (*still) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

func TestHotPathsDoNotAllocate(t *testing.T) {
	r, ports := crowd(t, 2, 50)
	var one, two rooms.Member = r.Member(1), r.Member(2)
	some := r.Only(one, two, r.Member(60))
	payload := make([]byte, 256)
	now, n := start, wire.Input(0)
	w := peer.Who{Member: 1, Generation: 1}
	for name, do := range map[string]func(){
		"send to all":         func() { r.All().Send(payload) },
		"send to all but one": func() { r.AllBut(one).Send(payload) },
		"send to one":         func() { two.Send(payload) },
		"send to some":        func() { some.Send(payload) },
		"latest to all":       func() { r.All().Latest(1, payload) },
		"ephemeral to all":    func() { r.All().Ephemeral(payload) },
		"input and its ack": func() {
			now, n = now.Add(ackEvery), n+1
			r.Input(now, ports[0], w, n, payload)
			r.Flush(now)
		},
		"input out of order": func() { r.Input(now, ports[0], w, n+7, payload) },
		"input and a checkpoint": func() {
			n++
			r.Input(now, ports[0], w, n, payload)
			c, err := r.EncodeFor(func([]byte, Cut) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			r.Saved(now, c)
			now = now.Add(ackEvery)
			r.Flush(now)
		},
	} {
		if underRace && strings.HasSuffix(name, "checkpoint") {
			continue // pools forget at random there
		}
		for range 3000 {
			do() // until buffers have grown
		}
		if allocs := testing.AllocsPerRun(500, do); allocs > 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func TestBroadcastIsSentOncePerPort(t *testing.T) {
	r, ports := crowd(t, 3, 20)
	r.All().Send([]byte("x"))
	for _, p := range ports {
		if p.frames != 1 {
			t.Errorf("port %d got %d frames", p.handle, p.frames)
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, members := range []int{50, 1000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			r, _ := crowd(b, 2, members/2)
			payload := make([]byte, 256)
			b.ReportAllocs()
			for b.Loop() {
				r.All().Send(payload)
			}
		})
	}
}

func BenchmarkSendToEach(b *testing.B) {
	r, _ := crowd(b, 2, 25)
	payload := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		for m := range r.Members {
			m.Latest(1, payload)
		}
	}
}

func BenchmarkInput(b *testing.B) {
	r, ports := crowd(b, 1, 50)
	payload := make([]byte, 32)
	w, n := peer.Who{Member: 1, Generation: 1}, wire.Input(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		r.Input(start, ports[0], w, n, payload)
	}
}

func BenchmarkEncode(b *testing.B) {
	r, _ := crowd(b, 2, 25)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
