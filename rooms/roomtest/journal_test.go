package roomtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/roomtest"
)

// market sells each input to whoever sent it, once that is safe.
type market struct {
	book  struct{ Sold []string }
	stray func() string
}

func (k *market) State() any                                   { return &k.book }
func (k *market) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (k *market) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
func (k *market) Tick(r rooms.Room, dt time.Duration)          { r.All().Send([]byte("tick")) }

func (k *market) Input(r rooms.Room, m rooms.Member, data []byte) {
	sold := fmt.Sprintf("%s at %d for %d", data, r.Now().UnixMilli(), r.Rand().IntN(100))
	if strings.HasPrefix(string(data), "luck") && k.stray != nil {
		sold += k.stray()
	}
	k.book.Sold = append(k.book.Sold, sold)
	if string(data) == "luck alone" { // no event comes of it
		return
	}
	r.Durable(func() { m.Send([]byte("safe: " + sold)) })
}

func marketKind(stray func() string) rooms.Kind {
	return rooms.Kind{Name: "market", TickRate: 4, Durability: rooms.Journal(),
		New: func() rooms.Handler { return &market{stray: stray} }}
}

func TestNobodyNoticesTheCrashOfAJournaledRoom(t *testing.T) {
	rt := roomtest.New(t, marketKind(nil))
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	for i := range 20 {
		ann.Input("apple")
		rt.Advance(300 * time.Millisecond)
		bob.Input("pear")
		switch {
		case i%5 == 4:
			rt.Checkpoint()
		case i%3 == 2:
			rt.Crash()
		case i == 12:
			rt.Restart()
		}
	}
	for _, p := range []*roomtest.Player{ann, bob} {
		if p.Resyncs() > 0 {
			t.Errorf("a player was told of %d rewinds", p.Resyncs())
		}
		safe := 0
		for _, m := range p.Messages() {
			if strings.HasPrefix(m.String(), "safe: ") {
				safe++
			}
		}
		if safe != 20 {
			t.Errorf("%d trades are safe, want 20", safe)
		}
	}
}

// failing is a test that notes how it failed.
type failing struct {
	*testing.T
	why string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.why = fmt.Sprintf(format, args...)
	panic(f)
}

func TestNondeterminismIsNamed(t *testing.T) {
	for name, play := range map[string]func(*roomtest.Room, *roomtest.Player){
		"in the middle": func(rt *roomtest.Room, ann *roomtest.Player) {
			for _, in := range []string{"apple", "apple", "luck", "apple"} {
				ann.Input(in)
				rt.Advance(time.Second)
			}
		},
		"last": func(_ *roomtest.Room, ann *roomtest.Player) {
			for _, in := range []string{"apple", "apple", "luck alone"} {
				ann.Input(in)
			}
		},
		"last, after a crash": func(rt *roomtest.Room, ann *roomtest.Player) {
			ann.Input("apple")
			rt.Crash()
			ann.Input("apple")
			rt.Crash()
			ann.Input("luck alone")
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			f := &failing{T: t}
			defer func() {
				if v := recover(); v != f {
					panic(v)
				}
				if !strings.Contains(f.why, "input 3 of member 1") {
					t.Errorf("failed with %q, want it to name input 3 of member 1", f.why)
				}
			}()
			rt := roomtest.New(f, marketKind(func() string { n++; return strings.Repeat("!", n) }))
			play(rt, rt.Join("ann", nil))
			rt.Crash()
			t.Error("the crash did not find that the kind is not deterministic")
		})
	}
}
