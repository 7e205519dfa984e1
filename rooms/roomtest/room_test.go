package roomtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/roomtest"
)

func texts(ms []roomtest.Message) string {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "%s/%s ", m.Class, m)
	}
	return strings.TrimSpace(b.String())
}

func TestKickAndCloseReachPlayers(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	ann.Input("kick")
	if code, reason := ann.Ended(); code != "kicked" || reason != "asked for it" {
		t.Errorf("ann: %s %q", code, reason)
	}
	if rt.Len() != 1 {
		t.Errorf("%d members", rt.Len())
	}
	bob.Input("close")
	if code, reason := bob.Ended(); code != "room_closed" || reason != "all done" {
		t.Errorf("bob: %s %q", code, reason)
	}
	if reason, closed := rt.Closed(); !closed || reason != "all done" {
		t.Errorf("closed %v %q", closed, reason)
	}
	if _, err := rt.TryJoin("cyd", nil); err == nil || err.Error() != "room_closed: all done" {
		t.Errorf("join of a closed room: %v", err)
	}
}

func TestLatestReplacesUnread(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	ann.Messages()
	bob.Messages()
	ann.Input("spot")
	ann.Input("1")
	ann.Input("spot")
	if got := texts(bob.Messages()); got != "reliable/1 latest/ann" {
		t.Errorf("bob got %s", got)
	}
	if got := texts(ann.Messages()); got != "reliable/1" {
		t.Errorf("ann got %s", got)
	}
}

func TestSeatsAndLock(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	for _, name := range []string{"ann", "bob", "cyd"} {
		rt.Join(name, nil)
	}
	if rt.Open() {
		t.Errorf("a full room is open")
	}
	if _, err := rt.TryJoin("dan", nil); err == nil || !strings.HasPrefix(err.Error(), "room_full") {
		t.Errorf("join of a full room: %v", err)
	}
	rt = roomtest.New(t, tallyKind())
	rt.Join("ann", nil).Input("lock")
	if _, err := rt.TryJoin("bob", nil); err == nil || !strings.HasPrefix(err.Error(), "room_locked") {
		t.Errorf("join of a locked room: %v", err)
	}
}

func TestCrashWithoutCheckpointKeepsInputs(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	ann.Input("5")
	bob.Drop()
	bob.Input("6")
	rt.Crash()
	bob.Back()
	if sum := rt.Handler().(*tally).Book.Sum; sum != 11 || rt.Len() != 2 {
		t.Errorf("sum %d with %d members, want 11 with 2", sum, rt.Len())
	}
}

func TestRestartUndoesNothing(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	ann := rt.Join("ann", nil)
	ann.Input("5")
	ann.Input("in 5s")
	rt.Advance(time.Second)
	rt.Restart()
	rt.Advance(5 * time.Second)
	if got := texts(ann.Messages()); got != "reliable/5 reliable/remind" {
		t.Errorf("ann got %s", got)
	}
}

func TestCrashOfUnsavedKindEndsMemberships(t *testing.T) {
	kind := tallyKind()
	kind.Durability = rooms.None()
	rt := roomtest.New(t, kind)
	ann := rt.Join("ann", nil)
	ann.Input("5")
	rt.Crash()
	if code, _ := ann.Ended(); code != "ended" || rt.Len() != 0 {
		t.Errorf("ann: %q, %d members", code, rt.Len())
	}
	if got := texts(rt.Join("bob", nil).Messages()); got != "reliable/0" {
		t.Errorf("bob got %s", got)
	}
}

func TestTicksFollowTheClock(t *testing.T) {
	rt := roomtest.New(t, tallyKind())
	start := rt.Now()
	rt.Advance(10 * time.Second)
	if n := rt.Handler().(*tally).ticks; n != 100 {
		t.Errorf("%d ticks in 10 s at 10 Hz", n)
	}
	if d := rt.Now().Sub(start); d != 10*time.Second {
		t.Errorf("time went by %s", d)
	}
}

// fakeT catches what the kit reports.
type fakeT struct{ failed, logged string }

func (f *fakeT) Helper()                   {}
func (f *fakeT) Logf(s string, a ...any)   { f.logged += fmt.Sprintf(s, a...) }
func (f *fakeT) Errorf(s string, a ...any) { f.failed += fmt.Sprintf(s, a...) }
func (f *fakeT) Fatalf(s string, a ...any) { f.Errorf(s, a...); panic(f) }

// lossy has a state that does not come back as it was.
type lossy struct {
	tally
	state struct{ Next any }
}

func (l *lossy) State() any { return &l.state }

func (l *lossy) Join(rooms.Room, rooms.Member, []byte) error { return nil }

func (l *lossy) Input(rooms.Room, rooms.Member, []byte) { l.state.Next = func() {} }

// hidden has a state of which nothing would be saved.
type hidden struct {
	tally
	state struct{ sum int }
}

func (h *hidden) State() any { return &h.state }

// pawns hides a part of its state deep within.
type pawns struct {
	tally
	state struct{ Sides map[string][]pawn }
}

type pawn struct{ at [2]int }

func (p *pawns) State() any { return &p.state }

func (p *pawns) Input(rooms.Room, rooms.Member, []byte) {
	p.state.Sides = map[string][]pawn{"white": {{at: [2]int{1, 2}}}}
}

// keeper keeps members, which are valid during calls only.
type keeper struct {
	tally
	state struct{ Turn struct{ Of rooms.Member } }
}

func (k *keeper) State() any { return &k.state }

// timeless sets timers that would call nothing.
type timeless struct{}

func (timeless) Join(rooms.Room, rooms.Member, []byte) error        { return nil }
func (timeless) Input(r rooms.Room, _ rooms.Member, _ []byte)       { r.SetTimer("turn", time.Second) }
func (timeless) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {}

func TestKitReportsFaultyKinds(t *testing.T) {
	kind := func(h func() rooms.Handler) rooms.Kind { return rooms.Kind{Name: "faulty", New: h} }
	for _, tc := range []struct {
		name, want string
		run        func(t roomtest.T)
	}{
		{"panic", "handler panicked: boom", func(t roomtest.T) {
			roomtest.New(t, tallyKind()).Join("ann", nil).Input("boom")
		}},
		{"big message", "more than 65536 bytes", func(t roomtest.T) {
			roomtest.New(t, tallyKind()).Join("ann", nil).Input("big")
		}},
		{"state that can't be saved", "unsupported type", func(t roomtest.T) {
			rt := roomtest.New(t, kind(func() rooms.Handler { return &lossy{} }))
			rt.Join("ann", nil).Input("")
			rt.Checkpoint()
		}},
		{"state without exported fields", "no exported fields", func(t roomtest.T) {
			roomtest.New(t, kind(func() rooms.Handler { return &hidden{} }))
		}},
		{"state with a part without exported fields", "a roomtest_test.pawn in Sides, which has no exported fields", func(t roomtest.T) {
			roomtest.New(t, kind(func() rooms.Handler { return &pawns{} }))
		}},
		{"state with a member", "a rooms.Member in Turn.Of, which is valid during calls only", func(t roomtest.T) {
			roomtest.New(t, kind(func() rooms.Handler { return &keeper{} }))
		}},
		{"timer that would call nothing", `timer "turn": handler roomtest_test.timeless has no method Timer`, func(t roomtest.T) {
			roomtest.New(t, kind(func() rooms.Handler { return timeless{} })).Join("ann", nil).Input("")
		}},
		{"grace without its unit", "Grace is 30ns, want 1ms or more", func(t roomtest.T) {
			roomtest.New(t, rooms.Kind{Name: "faulty", New: func() rooms.Handler { return timeless{} }, Grace: 30})
		}},
		{"no message", `no message for "ann"`, func(t roomtest.T) {
			p := roomtest.New(t, tallyKind()).Join("ann", nil)
			p.Next()
			p.Next()
		}},
		{"refused join", "refused: too late", func(t roomtest.T) {
			roomtest.New(t, tallyKind()).Join("ann", "late")
		}},
		{"bad kind", "use a-z", func(t roomtest.T) {
			roomtest.New(t, rooms.Kind{Name: "Tally!"})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeT{}
			func() {
				defer func() {
					if v := recover(); v != nil && v != any(f) {
						panic(v)
					}
				}()
				tc.run(f)
			}()
			if !strings.Contains(f.failed, tc.want) {
				t.Errorf("reported %q, want %q in it", f.failed, tc.want)
			}
		})
	}
}

// partly has a state of which some fields are not saved.
type partly struct {
	tally
	state struct {
		Sum   int
		Cards []card
		Shown int `json:"-"`
	}
}

type card struct {
	Rank  int
	marks int
}

func (p *partly) State() any { return &p.state }

func (p *partly) Input(rooms.Room, rooms.Member, []byte) {
	p.state.Cards = append(p.state.Cards, card{Rank: 1, marks: 2})
}

func TestFieldsThatAreNotSavedAreLogged(t *testing.T) {
	f := &fakeT{}
	roomtest.New(f, rooms.Kind{Name: "partly", New: func() rooms.Handler { return &partly{} }})
	for _, field := range []string{"roomtest_test.card.marks within", ".Shown within"} {
		if !strings.Contains(f.logged, field) {
			t.Errorf("logged %q, want %s in it", f.logged, field)
		}
	}
}
