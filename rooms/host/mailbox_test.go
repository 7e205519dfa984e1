package host

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.Background())
}

func TestMailboxBounds(t *testing.T) {
	b := newMailbox(4, 100, 1)
	p := &port{}
	in := func(member wire.MemberID, size int) verdict {
		v, _ := b.put(event{kind: evInput, port: p, who: peer.Who{Member: member}}, make([]byte, size))
		return v
	}
	for i := range 4 {
		if v, first := b.put(event{kind: evInput, port: p}, []byte{byte(i)}); v != queued || first != (i == 0) {
			t.Fatalf("input %d: %v, first %v", i, v, first)
		}
	}
	if v := in(7, 1); v != dropped {
		t.Errorf("fifth of four inputs: %v", v)
	}
	if v := in(7, 1); v != dropped {
		t.Errorf("sixth of four inputs: %v", v)
	}
	for i := range b.maxControls {
		if v, _ := b.put(event{kind: evDetach, port: p}, nil); v != queued {
			t.Fatalf("control event %d behind a full mailbox: %v", i, v)
		}
	}
	if v, _ := b.put(event{kind: evAttach, port: p}, nil); v != overrun {
		t.Errorf("attach above the bound: %v", v)
	}
	if v, _ := b.put(event{kind: evSaved}, nil); v != queued {
		t.Errorf("the writer's answer: %v", v)
	}
	got := b.take(batch{})
	if len(got.events) != 4+b.maxControls+1 || len(got.lost) != 1 || len(got.bytes) != 4 {
		t.Errorf("took %d events, %d lost senders, %d bytes", len(got.events), len(got.lost), len(got.bytes))
	}
	for i := range 4 {
		if ev := got.events[i]; got.bytes[ev.at:ev.end][0] != byte(i) {
			t.Errorf("payload %d is %v", i, got.bytes[ev.at:ev.end])
		}
	}
	if v := in(7, 101); v != dropped {
		t.Errorf("input above the bytes: %v", v)
	}
	if v := in(7, 100); v != queued {
		t.Errorf("input within the bytes: %v", v)
	}
	if b.closeIfEmpty() {
		t.Error("closed over an event")
	}
	b.close()
	if v := in(7, 1); v != gone {
		t.Errorf("input into a closed mailbox: %v", v)
	}
}

// A mailbox that overflows loses nothing: what was dropped is asked for again.
func TestOverflowIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		k := tallyKind()
		k.Mailbox = 16
		k.New = func() rooms.Handler { return &tally{hold: hold} }
		h := start(t, newMemStore(), "a#1", k)
		l, p, _ := joined(t, h, "tally/one")
		p.input(1, "hold")
		synctest.Wait()
		want := []string{"hold"}
		for n := wire.Input(2); n <= 50; n++ {
			p.input(n, fmt.Sprint("move ", n))
		}
		for n := 2; n <= 50; n++ {
			want = append(want, fmt.Sprint("move ", n))
		}
		close(hold)
		told := l.wait(t, "expect", isTold(wire.TypeExpect))
		f, err := wire.DecodeExpect(told.frame)
		if err != nil || f.Next != 18 {
			t.Fatalf("asked for %v, %v, want 18", f, err)
		}
		for n := f.Next; n <= 50; {
			for range 10 {
				if n <= 50 {
					p.input(n, fmt.Sprint("move ", n))
					n++
				}
			}
			p.waitAck(t, n-1, 0)
		}
		p.waitAck(t, 50, 50)
		if got := l.messages(7); !slices.Equal(got, want) {
			t.Errorf("messages: %q", got)
		}
	})
}

// discard is a link that takes everything.
type discard struct{}

func (discard) Peer() string                     { return "gateway#1" }
func (discard) Send(uint8, []byte, []byte) error { return nil }
func (discard) Close(error)                      {}

// silent takes inputs and does nothing, so that only the path is measured.
type silent struct{ n int }

func (s *silent) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (s *silent) Input(r rooms.Room, _ rooms.Member, p []byte) { s.n++; r.All().Ephemeral(p) }
func (s *silent) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

// inputPath is a room whose loop the test plays itself: from a link's message
// to the room's output.
type inputPath struct {
	host *Host
	room *room
	body []byte
	n    wire.Input
	ctx  context.Context
}

func newInputPath(tb testing.TB) *inputPath {
	tb.Helper()
	k := rooms.Kind{Name: "silent", New: func() rooms.Handler { return &silent{} }, Durability: rooms.None()}
	h, err := New(testConfig(&view{memStore: newMemStore()}, "a#1", []rooms.Kind{k}))
	if err != nil {
		tb.Fatal(err)
	}
	h.lease.set(1 << 62)
	g := grant{holder: "a#1/1"}
	g.Claim.Room, g.Claim.Epoch, g.Claim.Incarnation = "silent/one", 5, 5
	r, err := h.newRoom(h.kinds["silent"], g, copyOf{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.timer.Stop() })
	h.live[r.id] = r
	who := peer.Who{Handle: 7, Member: 9, Generation: 1}
	h.receive(discard{}, peer.KindAttach, peer.Attach{Handle: 7, Member: 9, Generation: 1, Room: r.id}.Append(nil))
	p := &inputPath{host: h, room: r, ctx: tb.Context(), body: peer.AppendInput(nil, who, 0, make([]byte, 32))}
	p.step(tb)
	return p
}

// batch sends inputs as one link wake-up brings them, and has the room take
// them.
func (p *inputPath) batch(tb testing.TB, n int) {
	for range n {
		p.n++
		binary.BigEndian.PutUint64(p.body[16:], uint64(p.n))
		p.host.receive(discard{}, peer.KindInput, p.body)
	}
	p.host.received(discard{})
	p.step(tb)
}

func (p *inputPath) step(tb testing.TB) {
	select {
	case <-p.room.box.ready:
	default:
	}
	if err := p.room.step(p.ctx); err != nil {
		tb.Fatal(err)
	}
}

func TestInputPathDoesNotAllocate(t *testing.T) {
	p := newInputPath(t)
	for range 50 {
		p.batch(t, 64)
	}
	if n := testing.AllocsPerRun(100, func() { p.batch(t, 64) }); n > 0 {
		t.Errorf("%v allocations for 64 inputs", n)
	}
	if got := p.room.actor.Len(); got != 1 {
		t.Errorf("%d members, want 1", got)
	}
}

func BenchmarkInputPath(b *testing.B) {
	p := newInputPath(b)
	b.ReportAllocs()
	for b.Loop() {
		p.batch(b, 64)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/input")
}
