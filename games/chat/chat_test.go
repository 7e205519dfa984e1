package chat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms/roomtest"
)

// heard are the lines and news that came, as text.
func heard(p *roomtest.Player) (out []string) {
	for _, m := range p.Messages() {
		var e Event
		m.JSON(&e)
		switch e.Type {
		case "line", "history":
			for _, l := range e.Lines {
				out = append(out, fmt.Sprintf("%d %s: %s", l.N, l.Name, l.Text))
			}
		case "joined", "left":
			out = append(out, e.Name+" "+e.Type)
		default:
			out = append(out, e.Text)
		}
	}
	return out
}

func expect(t *testing.T, p *roomtest.Player, want ...string) {
	t.Helper()
	if got := strings.Join(heard(p), "|"); got != strings.Join(want, "|") {
		t.Errorf("heard %s, want %s", got, strings.Join(want, "|"))
	}
}

func TestTalk(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("ann", nil)
	ann.Input("  hello\n\x07there ")
	bob := rt.Join("", `{"name":"ann"}`)
	bob.Input("hi")
	expect(t, ann, "1 ann: hello there", "ann 2 joined", "2 ann 2: hi")
	expect(t, bob, "1 ann: hello there", "2 ann 2: hi")
	bob.Leave()
	ann.Input("\x00")
	expect(t, ann, "ann 2 left", "nothing was said")
	if n := rt.Numbers(); len(n) != 1 || n["lines"] != 2 {
		t.Errorf("numbers for operators: %v", n)
	}
}

func TestNamelessAreGuests(t *testing.T) {
	rt := roomtest.New(t, Kind())
	if _, err := rt.TryJoin("", `ann`); err == nil || err.Error() != "refused: join data must be a JSON object with name" {
		t.Errorf("join with garbled data: %v", err)
	}
	first, second := rt.Join("", `{"name":" "}`), rt.Join("", nil)
	first.Input("hi")
	second.Input("ho")
	expect(t, second, "1 guest: hi", "2 guest 2: ho")
}

func TestTalkersAreSlowedDown(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	for i := range Burst + 3 {
		ann.Input(fmt.Sprint("line ", i))
	}
	if got := len(heard(bob)); got != Burst {
		t.Errorf("bob heard %d lines, want %d", got, Burst)
	}
	heard(ann)
	rt.Advance(Pace)
	ann.Input("again")
	ann.Input("and again")
	expect(t, ann, fmt.Sprintf("%d ann: again", Burst+1), "slow down: that was not said")
}

func TestHistoryIsBounded(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("ann", nil)
	for range MaxLines + 5 {
		ann.Input(strings.Repeat("<", MaxText+100)) // the longest in JSON
		rt.Advance(Pace)
	}
	bob := rt.Join("bob", nil)
	ms := bob.Messages()
	if len(ms) != MaxLines/PageSize {
		t.Errorf("history came in %d pages, want %d", len(ms), MaxLines/PageSize)
	}
	lines := rt.Handler().(*chat).state.Lines
	if first := lines[0]; len(lines) != MaxLines || first.N != 6 || len(first.Text) != MaxText {
		t.Errorf("%d lines, from %d of %d bytes", len(lines), first.N, len(first.Text))
	}
}

// After a crash everything said since the checkpoint is sent again at once:
// none of it may be lost to the pace.
func TestNothingSaidIsLostInCrash(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("ann", nil)
	for i := range Burst - 1 {
		ann.Input(fmt.Sprint("line ", i))
	}
	rt.Checkpoint()
	for range 4 {
		rt.Advance(Pace)
		ann.Input("more")
	}
	rt.Crash()
	want := make([]string, 0, Burst+3)
	for i := range Burst - 1 {
		want = append(want, fmt.Sprintf("%d ann: line %d", i+1, i))
	}
	for i := range 4 {
		want = append(want, fmt.Sprintf("%d ann: more", Burst+i))
	}
	expect(t, ann, want...)
}

func TestReturningMemberHearsWhatItMissed(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann, bob := rt.Join("ann", nil), rt.Join("bob", nil)
	heard(ann)
	ann.Drop()
	bob.Input("are you there?")
	ann.BackAfter(5 * time.Second)
	expect(t, ann, "1 bob: are you there?")
	if ann.Resyncs() != 0 {
		t.Errorf("ann got the whole history again")
	}
}
