package client

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/wire"
)

// The queue against a model that keeps everything in a map.
func TestInputsKeepOrderAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newInputs(rapid.IntRange(1, 20).Draw(t, "count"), rapid.IntRange(1, 4000).Draw(t, "bytes"))
		payloads := map[wire.Input]string{}
		first, cursor := wire.Input(1), wire.Input(1)
		push := func(t *rapid.T) {
			p := fmt.Sprintf("%d:%s", q.next, rapid.StringN(0, 500, 500).Draw(t, "payload"))
			n, from, to := q.push([]byte(p))
			payloads[n] = p
			if from != 0 && (from != first || to < from || to >= n) {
				t.Fatalf("gave up %d to %d of %d to %d", from, to, first, n)
			}
			if from != 0 {
				first = to + 1
			}
			if q.count() > q.maxCount || q.bytes() > q.maxBytes && q.count() > 1 {
				t.Fatalf("%d inputs of %d bytes are kept", q.count(), q.bytes())
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": push,
			"pushMany": func(t *rapid.T) {
				for range 30 {
					push(t)
				}
			},
			"forget": func(t *rapid.T) {
				n := wire.Input(rapid.Uint64Range(0, uint64(q.next-1)).Draw(t, "durable"))
				q.applied = max(q.applied, n)
				q.forget(n)
				first = max(first, n+1)
				if cursor <= q.applied {
					cursor = q.applied + 1
					q.rewind(cursor)
				}
			},
			"rewind": func(t *rapid.T) {
				cursor = wire.Input(rapid.Uint64Range(uint64(q.applied+1), uint64(q.next)).Draw(t, "to"))
				q.rewind(cursor)
			},
			"take": func(t *rapid.T) {
				if !q.pending() {
					return
				}
				msg := q.take(5, nil)
				if cursor < first {
					f, err := wire.DecodeSkip(msg)
					if err != nil || f.From != cursor || f.To != first-1 {
						t.Fatalf("skip %+v (%v), want %d to %d", f, err, cursor, first-1)
					}
					cursor = first
					return
				}
				f, err := wire.DecodeInput(msg)
				if err != nil || f.N != cursor || string(f.Payload) != payloads[cursor] {
					t.Fatalf("input %d %q (%v), want %d %q", f.N, f.Payload, err, cursor, payloads[cursor])
				}
				cursor++
			},
			"": func(t *rapid.T) {
				if q.first != first || q.cursor != cursor || q.count() != int(q.next-q.first) {
					t.Fatalf("first %d, cursor %d, %d kept; want first %d, cursor %d", q.first, q.cursor, q.count(), first, cursor)
				}
			},
		})
	})
}

func TestSteadyInputsDoNotAllocate(t *testing.T) {
	q := newInputs(64, 1<<20)
	payload, buf := make([]byte, 32), make([]byte, 0, 128)
	step := func() {
		n, _, _ := q.push(payload)
		buf = q.take(1, buf[:0])
		if n > 8 {
			q.applied = n - 8
			q.forget(n - 8)
		}
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations an input, want none", n)
	}
}
