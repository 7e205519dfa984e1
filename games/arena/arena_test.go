package arena

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

func TestKindIsValid(t *testing.T) {
	k, err := Kind().Checked()
	if err != nil {
		t.Fatal(err)
	}
	if k.TickRate != 20 || k.MaxMembers != 50 || k.Durability.Interval() != time.Second {
		t.Errorf("kind is %d ticks/s, %d seats, saved every %s", k.TickRate, k.MaxMembers, k.Durability.Interval())
	}
}

func join(t *testing.T, s *stage, id rooms.MemberID, name string) *actor {
	t.Helper()
	a, err := s.enter(id, fmt.Sprintf(`{"name":%q,"hue":200}`, name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestJoinTellsEverybody(t *testing.T) {
	s := newStage()
	ann := join(t, s, 1, "Ann")
	bob := join(t, s, 2, "Bob")
	if e := ann.last("join"); e == nil || e["name"] != "Bob" || e["slot"] != 1.0 || e["hue"] != 200.0 {
		t.Errorf("Ann was told %v", e)
	}
	if bob.last("join") != nil {
		t.Error("Bob was told of his own join")
	}
	full := bob.last("full")
	if full["you"] != 2.0 || full["slot"] != 1.0 || len(full["players"].([]any)) != 2 {
		t.Errorf("Bob got %v", full)
	}
	if n := len(full["shells"].([]any)); n != restShells {
		t.Errorf("%d shells lie about, want %d", n, restShells)
	}
	s.leave(ann)
	if e := bob.last("leave"); e == nil || e["slot"] != 0.0 {
		t.Errorf("Bob was told %v", e)
	}
	if kai := join(t, s, 3, "Kai"); kai.player().Slot != 0 {
		t.Errorf("slot is %d, want the free 0", kai.player().Slot)
	}
}

func TestJoinDataIsChecked(t *testing.T) {
	for _, bad := range []string{"{", `"Ann"`, `{"name":5}`, `{"hue":-1}`, "\xff\xfe"} {
		_, err := newStage().enter(1, bad)
		var refusal *rooms.Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("join with %q: %v, want a refusal", bad, err)
		}
	}
	for data, want := range map[string]string{
		"":                              "limpet",
		`{"name":"  Ann   B "}`:         "Ann B",
		`{"name":"\u0000\u202e\n"}`:     "limpet",
		`{"name":"abcdefghijklmnopqr"}`: "abcdefghijklmnop",
		`{"name":"Zoë 🐚"}`:              "Zoë 🐚",
		`{"hue":725}`:                   "limpet",
	} {
		s := newStage()
		a, err := s.enter(1, data)
		if err != nil {
			t.Fatal(err)
		}
		if p := a.player(); p.Name != want || p.Hue >= 360 {
			t.Errorf("join with %s: name %q hue %d, want %q", data, p.Name, p.Hue, want)
		}
	}
}

func TestFullPoolRefuses(t *testing.T) {
	s := newStage()
	for i := range MaxPlayers {
		join(t, s, rooms.MemberID(i+1), "x")
	}
	if _, err := s.enter(99, ""); err == nil {
		t.Error("one more than the seats was let in")
	}
}

func TestGarbageInputsDoNothing(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	before := *a.player()
	for _, in := range [][]byte{nil, {}, {0}, {9, 9}, {opStep}, make([]byte, 16<<10), {opStep, 0, 1, 1, 1}, {opStep, 0, 1, 1, 1, 0, 0}, {opSync, 1}} {
		s.pool.Input(s, a, in)
	}
	if *a.player() != before {
		t.Errorf("player is %+v, was %+v", *a.player(), before)
	}
	stranger := &actor{s: s, id: 77}
	s.pool.Input(s, stranger, stepInput(1, 127, 0, false))
}

func TestSyncIsLimited(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	a.got = nil
	for range 10 {
		s.pool.Input(s, a, []byte{opSync})
	}
	if len(a.got) != 1 {
		t.Errorf("got %d full states, want 1", len(a.got))
	}
	s.ticks(TickRate)
	s.pool.Input(s, a, []byte{opSync})
	if a.last("full") == nil {
		t.Error("no full state a second later")
	}
}

func TestPlayersStayInsideAndWithinSpeed(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	for i := range 2000 {
		s.ticks(1)
		x, y := a.player().X, a.player().Y
		a.steps(1, int8(i*37), int8(i*91), i%5 == 0)
		p := a.player()
		if p.X < playerRadius || p.X > Width-playerRadius || p.Y < playerRadius || p.Y > Height-playerRadius {
			t.Fatalf("step %d: player at %.1f, %.1f", i, p.X, p.Y)
		}
		if d := length(p.X-x, p.Y-y); d > dashSpeed+0.01 {
			t.Fatalf("step %d went %.1f", i, d)
		}
	}
}

// A client can't go faster by sending more steps: only a stored stretch, as
// after a broken connection, is taken at once.
func TestStepsAreBudgeted(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	a.player().X, a.player().Y = 20, 500
	a.steps(1000, 127, 0, false)
	if x := a.player().X; x > 20+stepBudget*topSpeed {
		t.Errorf("went to %.0f with a budget of %d steps", x, stepBudget)
	}
	if a.player().Step != 1000 {
		t.Errorf("answered step %d, want 1000: unused steps are answered too", a.player().Step)
	}
	budget := a.player().Budget
	s.ticks(40)
	if got := a.player().Budget - budget; math.Abs(got-42) > 0.01 {
		t.Errorf("gained %.2f steps in 40 ticks, want 42", got)
	}
}

func TestShellsAreGathered(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	p := a.player()
	s.pool.state.Shells = []Shell{{ID: 500, X: p.X + 20, Y: p.Y}, {ID: 501, X: p.X + 22, Y: p.Y, Pearl: true}, {ID: 502, X: 5, Y: 5}}
	a.steps(4, 127, 0, false)
	s.ticks(1)
	if p.Score != 1+pearl || p.String != 2 || len(s.pool.state.Shells) != 1 {
		t.Errorf("score %d, string %d, %d shells left", p.Score, p.String, len(s.pool.state.Shells))
	}
	taken := a.last("shells")["taken"].([]any)
	if len(taken) != 2 || fmt.Sprint(taken[1]) != fmt.Sprint([]any{501.0, 0.0, float64(1 + pearl)}) {
		t.Errorf("told %v", taken)
	}
	a.got = nil
	s.ticks(3)
	if e := a.last("shells"); e == nil || e["taken"] != nil || e["new"] == nil {
		t.Errorf("told %v, want new shells only", e)
	}
}

func TestShellsComeBackAndStayBounded(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	a.player().X, a.player().Y = Rocks[0].X, Rocks[0].Y
	s.pool.state.Shells = nil
	s.ticks(3*restShells + 10)
	if n := len(s.pool.state.Shells); n != restShells {
		t.Errorf("%d shells, want %d", n, restShells)
	}
	a.player().String = maxString
	for range 10 {
		a.player().String = maxString
		s.pool.scatter(s, a.player(), maxString)
	}
	if n := len(s.pool.state.Shells); n != maxShells {
		t.Errorf("%d shells, want the bound of %d", n, maxShells)
	}
}

func TestRamKnocksShellsLoose(t *testing.T) {
	s := newStage()
	ann, bob := join(t, s, 1, "Ann"), join(t, s, 2, "Bob")
	s.pool.state.Shells = nil
	meet := func() {
		a, b := ann.player(), bob.player()
		a.X, a.Y, a.VX, a.VY, a.Cool = 500, 380, 0, 0, 0
		b.X, b.Y, b.VX, b.VY, b.String = 560, 380, 0, 0, 9
	}
	meet()
	score := bob.player().Score
	ann.steps(1, 127, 0, true)
	if e := bob.last("ram"); e == nil || e["by"] != 0.0 || e["on"] != 1.0 || e["lost"] != 3.0 {
		t.Fatalf("Bob was told %v", e)
	}
	if b := bob.player(); b.String != 6 || b.Score != score || b.X <= 560 {
		t.Errorf("Bob has string %d, score %d, x %.0f", b.String, b.Score, b.X)
	}
	if len(s.pool.state.Shells) != 3 {
		t.Errorf("%d shells lie about, want the 3 knocked loose", len(s.pool.state.Shells))
	}
	meet()
	bob.player().Grip = gripAfter
	ann.steps(1, 127, 0, true)
	if b := bob.player(); b.String != 9 || b.X != 560 {
		t.Errorf("Bob held on, but has string %d, x %.0f", b.String, b.X)
	}
}

func TestTideBanksAndTakes(t *testing.T) {
	s := newStage()
	ann, bob := join(t, s, 1, "Ann"), join(t, s, 2, "Bob")
	s.pool.state.Clock = tideOut - 20
	ann.player().X, ann.player().Y, ann.player().String = Rocks[0].X, Rocks[0].Y, 5
	bob.player().X, bob.player().Y, bob.player().String = 1050, 300, 5
	s.pool.state.Shells = nil
	annScore, x, y := ann.player().Score, bob.player().X, bob.player().Y
	s.ticks(20 + tideRise + tideHigh)
	if a := ann.player(); a.String != 0 || a.Score != annScore+5*bankWorth || a.X != Rocks[0].X {
		t.Errorf("who held on has string %d, score %d, x %.1f", a.String, a.Score, a.X)
	}
	if b := bob.player(); b.String != 0 || length(b.X-x, b.Y-y) < 100 {
		t.Errorf("who didn't has string %d and was swept by %.0f", b.String, length(b.X-x, b.Y-y))
	}
}

func TestDroppedPlayersStayAsGhosts(t *testing.T) {
	s := newStage()
	ann, bob := join(t, s, 1, "Ann"), join(t, s, 2, "Bob")
	bob.player().X, bob.player().Y, bob.player().String = 1050, 300, 5
	bob.away = true
	s.pool.state.Clock = tideOut + tideRise - 5
	s.ticks(tideHigh)
	b := bob.player()
	if b.X != 1050 || b.Y != 300 || b.String != 5 {
		t.Errorf("the ghost has string %d at %.0f, %.0f", b.String, b.X, b.Y)
	}
	if flags := s.latest[8+18+1]; flags&isAway == 0 {
		t.Error("the snapshot does not show it as a ghost")
	}
	ann.got = nil
	s.pool.Sync(s, ann)
	if players := ann.last("full")["players"].([]any); players[1].(map[string]any)["away"] != true {
		t.Errorf("full state shows %v", players[1])
	}
	bob.away = false
	s.ticks(1)
	if s.latest[8+18+1]&isAway != 0 {
		t.Error("back, and still shown as a ghost")
	}
}

func TestLimpetsPart(t *testing.T) {
	s := newStage()
	ann, bob := join(t, s, 1, "Ann"), join(t, s, 2, "Bob")
	ann.player().X, ann.player().Y = 1050, 380
	bob.player().X, bob.player().Y = 1050, 380
	s.ticks(40)
	if d := length(ann.player().X-bob.player().X, ann.player().Y-bob.player().Y); d < 2*playerRadius-2 {
		t.Errorf("still %.1f apart", d)
	}
}

// A checkpoint holds everything: a pool that goes on from one plays the same.
func TestStateSurvivesEncoding(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	a.steps(30, 100, 40, true)
	s.ticks(50)
	b, err := json.Marshal(s.pool.State())
	if err != nil {
		t.Fatal(err)
	}
	back := newPool()
	if err := json.Unmarshal(b, back.State()); err != nil {
		t.Fatal(err)
	}
	restored := &stage{pool: back, rnd: s.rnd, members: []*actor{{id: 1}}}
	restored.members[0].s = restored
	a.player().Budget = 3
	back.Start(restored, rooms.Start{Why: rooms.Restored, Age: time.Second})
	got, want := *restored.members[0].player(), *a.player()
	if got.Budget != stepBudget {
		t.Errorf("budget is %.1f: steps made while the room was down must fit", got.Budget)
	}
	got.Budget = want.Budget
	if got != want || len(back.state.Shells) != len(s.pool.state.Shells) || back.state.NextShell != s.pool.state.NextShell {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	if restored.labels["players"] != "1" || restored.labels["leader"] != "Ann" {
		t.Errorf("labels are %v", restored.labels)
	}
}

// Steps that are sent again after a restore lead to the same place.
func TestReplayLeadsToTheSamePlace(t *testing.T) {
	s := newStage()
	a := join(t, s, 1, "Ann")
	s.pool.state.Shells = nil
	saved := *a.player()
	walk := func() {
		for i := range 40 {
			a.steps(1, int8(i*5), int8(127-i*3), i == 10)
		}
	}
	walk()
	want := *a.player()
	*a.player() = saved
	walk()
	if got := *a.player(); got != want {
		t.Errorf("replayed to %+v, want %+v", got, want)
	}
}

func TestLabelsOnlyWhenTheyChange(t *testing.T) {
	s := newStage()
	join(t, s, 1, "Ann")
	n := s.labeled
	s.ticks(20 * TickRate)
	if s.labeled != n {
		t.Errorf("labels were set %d times while nothing changed", s.labeled-n)
	}
	s.pool.state.Players[0].Score = 12
	s.ticks(TickRate)
	if s.labeled != n+1 || s.labels["score"] != "12" {
		t.Errorf("labels %v, set %d times", s.labels, s.labeled-n)
	}
	for k, v := range s.labels {
		if len(k)+len(v) > rooms.MaxLabelBytes {
			t.Errorf("label %s is too long", k)
		}
	}
	long := newStage()
	join(t, long, 1, strings.Repeat("🐚", 40))
	if v := long.labels["leader"]; len(v) > rooms.MaxLabelBytes {
		t.Errorf("leader's label has %d bytes", len(v))
	}
}

func TestLateTicksAreCaughtUp(t *testing.T) {
	s := newStage()
	s.pool.Tick(s, 7*time.Second/TickRate)
	if s.pool.state.Clock != 7 {
		t.Errorf("clock is %d, want 7", s.pool.state.Clock)
	}
}

func TestSnapshotFitsItsFields(t *testing.T) {
	if Width*placeScale > math.MaxUint16 || Height*placeScale > math.MaxUint16 || dashSpeed*speedScale > math.MaxInt16 {
		t.Error("a place or a speed does not fit a snapshot")
	}
	s := newStage()
	for i := range MaxPlayers {
		join(t, s, rooms.MemberID(i+1), "x")
	}
	s.ticks(1)
	if want := 8 + 18*MaxPlayers; len(s.latest) != want || s.latest[7] != MaxPlayers {
		t.Errorf("snapshot of %d bytes with %d players, want %d", len(s.latest), s.latest[7], want)
	}
	if tick := binary.BigEndian.Uint32(s.latest[1:]); tick != 1 {
		t.Errorf("tick %d, want 1", tick)
	}
}

func TestTickAllocatesNothing(t *testing.T) {
	s := newStage()
	for i := range MaxPlayers {
		join(t, s, rooms.MemberID(i+1), "x")
	}
	s.quiet = true
	s.ticks(tideAll)
	s.pool.state.Clock = 1
	if n := testing.AllocsPerRun(1, func() { s.ticks(150) }); n > 0 {
		t.Errorf("150 ticks allocate %.0f times", n)
	}
}

func TestTideRunsItsCourse(t *testing.T) {
	for at, want := range map[uint64]float64{0: 0, tideOut - 1: 0, tideOut + tideRise: 1, tideOut + tideRise + tideHigh - 1: 1, tideAll: 0} {
		if got := tide(at); got != want {
			t.Errorf("tide(%d) = %v, want %v", at, got, want)
		}
	}
	if dx, dy := current(100); dx != 0 || dy != 0 {
		t.Error("a current at low tide")
	}
	if !sweeping(tideOut + tideRise + 5) {
		t.Error("no current at high tide")
	}
}

func FuzzInput(f *testing.F) {
	f.Add(stepInput(1, 127, -127, true))
	f.Add([]byte{opSync})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newStage()
		a := &actor{s: s, id: 1}
		s.members = append(s.members, a)
		if err := s.pool.Join(s, a, nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.pool.Input(s, a, in)
			s.ticks(1)
		}
		if p := a.player(); math.IsNaN(p.X) || math.IsNaN(p.Y) || p.X < 0 || p.X > Width || p.Y < 0 || p.Y > Height {
			t.Fatalf("player at %v, %v", p.X, p.Y)
		}
	})
}

func BenchmarkTick(b *testing.B) {
	s := newStage()
	for i := range MaxPlayers {
		if _, err := s.enter(rooms.MemberID(i+1), ""); err != nil {
			b.Fatal(err)
		}
	}
	s.quiet = true
	b.ReportAllocs()
	for b.Loop() {
		s.pool.Tick(s, time.Second/TickRate)
	}
}
