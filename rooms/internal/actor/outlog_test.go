package actor

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// logModel keeps everything.
type logModel struct {
	aud     peer.Audience
	listed  []wire.MemberID
	payload []byte
}

func TestOutlogHoldsTheLastMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 40).Draw(t, "entries")
		size := rapid.IntRange(8, 600).Draw(t, "bytes")
		l := newOutlog(most, size)
		l.reset(100)
		var model []logModel
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			m := logModel{
				aud:     peer.Audience(rapid.IntRange(0, 2).Draw(t, "audience")),
				payload: rapid.SliceOfN(rapid.Byte(), 0, 90).Draw(t, "payload"),
			}
			if m.aud != peer.ToAll {
				m.listed = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wire.MemberID {
					return wire.MemberID(rapid.IntRange(1, 5).Draw(t, "member"))
				}), 0, 4).Draw(t, "listed")
			}
			l.add(m.aud, m.listed, m.payload)
			model = append(model, m)
			checkLog(t, &l, model)
		}
	})
}

func checkLog(t *rapid.T, l *outlog, model []logModel) {
	if l.last() != wire.Seq(100+len(model)) || l.n > l.maxEntries || len(l.buf) > l.maxBytes {
		t.Fatalf("%d entries to %d, %d bytes", l.n, l.last(), len(l.buf))
	}
	last := model[len(model)-1]
	if fits := 8*len(last.listed)+len(last.payload) <= l.maxBytes; (l.n > 0) != fits {
		t.Fatalf("%d entries after one that fits: %v", l.n, fits)
	}
	for seq := l.floor + 1; seq <= l.last(); seq++ {
		want := model[seq-101]
		e, payload := l.get(seq)
		if e.aud != want.aud || !bytes.Equal(payload, want.payload) {
			t.Fatalf("message %d is %v %x, want %v %x", seq, e.aud, payload, want.aud, want.payload)
		}
		for id := wire.MemberID(1); id <= 5; id++ {
			if l.addresses(e, id) != want.addresses(id) {
				t.Fatalf("message %d addresses %d: %v", seq, id, !want.addresses(id))
			}
		}
	}
}

func (m logModel) addresses(id wire.MemberID) bool {
	for _, l := range m.listed {
		if l == id {
			return m.aud == peer.ToOnly
		}
	}
	return m.aud != peer.ToOnly
}

// It keeps as much as its bounds promise where messages are of one size.
func TestOutlogUsesItsBounds(t *testing.T) {
	for _, tc := range []struct{ entries, bytes, payload, want int }{
		{10, 1 << 20, 100, 10},
		{1 << 20, 1000, 100, 10},
		{1 << 20, 1000, 300, 3},
		{1 << 20, 64, 0, 64},
	} {
		l := newOutlog(tc.entries, tc.bytes)
		for range 1000 {
			l.add(peer.ToAll, nil, make([]byte, tc.payload))
		}
		if l.n != tc.want {
			t.Errorf("%+v: holds %d", tc, l.n)
		}
	}
}
