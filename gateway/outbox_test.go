package gateway

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func numbered(h wire.Handle, t wire.Type, n uint32, size int) *frame {
	p := make([]byte, max(size, 4))
	binary.BigEndian.PutUint32(p, n)
	m := wire.Message{Type: t, Handle: h, Seq: wire.Seq(n), Key: n % 3, Payload: p}
	return frameOf(m.Append(nil))
}

// still is an outbox whose socket is full, so that everything waits.
func still(l Limits) *outbox {
	l.setDefaults()
	return &outbox{c: &conn{g: &Gateway{limits: l, metrics: newMetrics(nil)}}, draining: true}
}

func (o *outbox) numbers() (out []string) {
	for _, f := range o.pend {
		if f == nil {
			continue
		}
		msg := f.b[2:]
		if f.b[1] == 126 { // the length follows
			msg = f.b[4:]
		}
		m, err := wire.DecodeMessage(msg)
		if err != nil || wire.TypeOf(msg) == wire.TypeAck {
			out = append(out, "ack")
			continue
		}
		out = append(out, fmt.Sprintf("%d:%d", m.Handle, binary.BigEndian.Uint32(m.Payload)))
	}
	return out
}

func (o *outbox) add(t *testing.T, f *frame) {
	t.Helper()
	if _, over := o.put(f); over {
		t.Fatal("outbox is over its bound")
	}
	f.release()
}

func TestLatestTakesTheOlderOnesPlace(t *testing.T) {
	o := still(Limits{})
	o.add(t, numbered(1, wire.TypeLatest, 3, 8)) // key 0
	o.add(t, numbered(1, wire.TypeLatest, 4, 8)) // key 1
	o.add(t, numbered(2, wire.TypeMessage, 1, 8))
	o.add(t, numbered(1, wire.TypeLatest, 6, 8)) // key 0: another room's message is no hindrance
	if got := fmt.Sprint(o.numbers()); got != "[1:6 1:4 2:1]" {
		t.Errorf("queue %s", got)
	}
	o.add(t, numbered(1, wire.TypeMessage, 100, 8))
	o.add(t, numbered(1, wire.TypeLatest, 9, 8)) // key 0: may not pass message 100
	if got := fmt.Sprint(o.numbers()); got != "[1:4 2:1 1:100 1:9]" {
		t.Errorf("queue %s", got)
	}
	o.trim()
	o.off = 5 // half of the first is out
	o.add(t, numbered(1, wire.TypeLatest, 7, 8))
	if got := fmt.Sprint(o.numbers()); got != "[1:4 2:1 1:100 1:9 1:7]" {
		t.Errorf("queue %s", got)
	}
}

func TestAckNeverPassesWhatItCounts(t *testing.T) {
	o := still(Limits{})
	ack := func(n uint64) *frame { return ackFrame(wire.Ack{Handle: 1, Count: n}) }
	o.add(t, ack(0))
	o.add(t, ack(0))
	o.add(t, numbered(1, wire.TypeMessage, 1, 8))
	o.add(t, ack(1))
	if got := fmt.Sprint(o.numbers()); got != "[1:1 ack]" {
		t.Errorf("queue %s", got)
	}
}

func TestOutboxBounds(t *testing.T) {
	o := still(Limits{OutboxFrames: 8, OutboxBytes: 1000})
	for i := range 4 {
		o.add(t, numbered(1, wire.TypeEphemeral, uint32(i), 4))
	}
	o.add(t, numbered(1, wire.TypeEphemeral, 99, 4)) // above half: dropped
	for i := range 4 {
		o.add(t, numbered(1, wire.TypeMessage, uint32(i), 4))
	}
	if _, frames := o.depth(); frames != 8 {
		t.Errorf("%d frames wait, want 8", frames)
	}
	if _, over := o.put(numbered(1, wire.TypeMessage, 9, 4)); !over {
		t.Error("a ninth frame was taken")
	}
	long := still(Limits{OutboxBytes: 1000})
	long.add(t, numbered(1, wire.TypeMessage, 1, 5000)) // alone, it may
	if _, over := long.put(numbered(1, wire.TypeMessage, 2, 4)); !over {
		t.Error("more was taken behind a long frame")
	}
}

// What a room says leaves a part free, also where it is the newest of what waits
// already. What is not queued leaves the older one waiting.
func TestOfferLeavesAPartFree(t *testing.T) {
	o := still(Limits{OutboxBytes: 800, OutboxFrames: 80})
	offer := func(f *frame) bool {
		defer f.release()
		_, over := o.offer(f)
		return over
	}
	o.add(t, numbered(1, wire.TypeMessage, 1, 500))
	if offer(numbered(1, wire.TypeLatest, 3, 100)) {
		t.Fatal("no room at three quarters")
	}
	before, _ := o.depth()
	if !offer(numbered(1, wire.TypeLatest, 6, 200)) {
		t.Error("the newest was taken into what is to stay free")
	}
	if got, frames := o.depth(); got != before || frames != 2 || fmt.Sprint(o.numbers()) != "[1:1 1:3]" {
		t.Errorf("%d bytes, %d frames wait: %v", got, frames, o.numbers())
	}
	if offer(numbered(1, wire.TypeLatest, 9, 90)) || fmt.Sprint(o.numbers()) != "[1:1 1:9]" {
		t.Errorf("a shorter one was not taken: %v", o.numbers())
	}
	o.add(t, numbered(1, wire.TypeLatest, 12, 200)) // it is the client's own
	if before, _ = o.depth(); before <= 700 || fmt.Sprint(o.numbers()) != "[1:1 1:12]" {
		t.Errorf("%d bytes wait: %v", before, o.numbers())
	}
}

// Whatever is queued, and however much of it the socket takes now and then:
// frames that must be kept come out in order and whole, a newer latest never
// comes before an older one of its key, and none passes a kept frame of its room
// that was queued before it.
func TestOutboxOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := still(Limits{})
		var stream []byte
		var n uint32
		take := func(most int) {
			for o.frames > 0 && most > 0 {
				p, s := o.gather()
				k := min(most, len(p))
				stream = append(stream, p[:k]...)
				s.drop()
				o.sent(k)
				most -= k
			}
		}
		types := []wire.Type{wire.TypeMessage, wire.TypeLatest, wire.TypeEphemeral}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				take(rapid.IntRange(1, 100).Draw(t, "bytes"))
				continue
			}
			n++
			f := numbered(wire.Handle(rapid.IntRange(1, 2).Draw(t, "room")), rapid.SampledFrom(types).Draw(t, "type"), n, rapid.IntRange(4, 90).Draw(t, "size"))
			o.put(f)
			f.release()
		}
		take(1 << 30)
		if o.bytes != 0 || o.frames != 0 || o.off != 0 || len(o.pend) != 0 {
			t.Fatalf("left: %d bytes, %d frames, offset %d, %d slots", o.bytes, o.frames, o.off, len(o.pend))
		}
		checkOrder(t, stream, n)
	})
}

func checkOrder(t *rapid.T, b []byte, n uint32) {
	kept := map[wire.Handle]uint32{}
	newest := map[slot]uint32{}
	for len(b) > 0 {
		size := int(b[1])
		msg := b[2 : 2+size]
		b = b[2+size:]
		m, err := wire.DecodeMessage(msg)
		if err != nil {
			t.Fatalf("torn frame: %v", err)
		}
		i := binary.BigEndian.Uint32(m.Payload)
		switch m.Type {
		case wire.TypeMessage:
			if i <= kept[m.Handle] {
				t.Fatalf("message %d of room %d after %d", i, m.Handle, kept[m.Handle])
			}
			for s, l := range newest {
				if s.handle == m.Handle && l > i {
					t.Fatalf("latest %d came before message %d", l, i)
				}
			}
			kept[m.Handle] = i
		case wire.TypeLatest:
			s := slot{handle: m.Handle, key: m.Key}
			if i <= newest[s] {
				t.Fatalf("latest %d after %d", i, newest[s])
			}
			newest[s] = i
		}
	}
}

// A socket that takes nothing is given up although little waits for it.
func TestStalledSocketIsCut(t *testing.T) {
	n, h := start(t, limits(func(l *Limits) {
		l.SendBuffer, l.WriteStall, l.Linger = 4<<10, 50*time.Millisecond, 50*time.Millisecond
	})), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	_, a := p.join(h, 10)
	p.ws.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	until(t, "the stalled socket is cut", func() bool {
		a.output(10, peer.ToAll, nil, wire.Message{Type: wire.TypeEphemeral, Payload: make([]byte, 32<<10)})
		return n.Connections() == 0
	})
}

// A socket that is full for a while loses nothing and reorders nothing.
func TestFullSocketGoesOn(t *testing.T) {
	n, h := start(t, limits(func(l *Limits) { l.OutboxBytes, l.OutboxFrames, l.SendBuffer = 64<<20, 1<<20, 4<<10 })), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p := n.connect()
	_, a := p.join(h, 10)
	p.ws.NetConn().(*net.TCPConn).SetReadBuffer(256 << 10) // the kernel would take all of it, at its most
	const count = 2000
	for seq := wire.Seq(1); seq <= count; seq++ {
		a.output(10, peer.ToAll, nil, wire.Message{Type: wire.TypeMessage, Seq: seq, Payload: make([]byte, 5000)})
	}
	until(t, "the socket is full", func() bool { return pending(n.Gateway) > 0 })
	for seq := wire.Seq(1); seq <= count; seq++ {
		p.nextMessage(seq)
	}
	until(t, "nothing waits", func() bool { return pending(n.Gateway) == 0 })
	a.say(10, count+1, "by the straight way again")
	p.nextMessage(count + 1)
}

func pending(g *Gateway) (all int) {
	for _, c := range g.connections() {
		b, _ := c.out.depth()
		all += b
	}
	return all
}
