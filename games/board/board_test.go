package board

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms/roomtest"
)

// last is the last table that a player was shown.
func last(t *testing.T, p *roomtest.Player) Table {
	t.Helper()
	var shown Table
	for _, m := range p.Messages() {
		var v Table
		m.JSON(&v)
		if v.Type == "table" {
			shown = v
		}
	}
	if shown.Type == "" {
		t.Fatalf("no table was shown")
	}
	return shown
}

func drop(p *roomtest.Player, column int) {
	p.Input(map[string]any{"do": "drop", "column": column})
}

// pair seats ann and bob; the one who begins comes first.
func pair(t *testing.T) (rt *roomtest.Room, first, second *roomtest.Player) {
	rt = roomtest.New(t, Kind())
	ann := rt.Join("", `{"name":"ann","seat":"play"}`)
	bob := rt.Join("bob", nil)
	v := last(t, ann)
	if v.Phase != "playing" || v.Players[0].Name != "ann" || v.Players[1].Name != "bob" {
		t.Fatalf("table %+v", v)
	}
	if v.Turn == 0 {
		return rt, ann, bob
	}
	return rt, bob, ann
}

func TestLineWins(t *testing.T) {
	for name, moves := range map[string][]int{
		"upright":  {0, 1, 0, 1, 0, 1, 0},
		"level":    {0, 0, 1, 1, 2, 2, 3},
		"rising":   {0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3},
		"falling":  {6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3},
		"from gap": {0, 0, 1, 1, 3, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, first, second := pair(t)
			for i, column := range moves {
				if i > 0 && last(t, first).Phase != "playing" {
					t.Fatalf("over after %d moves", i)
				}
				drop([]*roomtest.Player{first, second}[i%2], column)
			}
			v := last(t, second)
			if v.Phase != "over" || v.Winner != v.Turn || v.Why != "line" {
				t.Errorf("table %+v\n%s", v, strings.Join(v.Board, "\n"))
			}
		})
	}
}

func TestFullBoardIsADraw(t *testing.T) {
	_, first, second := pair(t)
	players := []*roomtest.Player{first, second}
	n := 0
	for _, column := range []int{0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 2, 3, 2, 3, 3, 2, 3, 2, 2, 3, 2, 3, 4, 5, 4, 5, 5, 4, 5, 4, 4, 5, 4, 5, 6, 6, 6, 6, 6, 6} {
		drop(players[n%2], column)
		n++
	}
	if v := last(t, first); v.Phase != "over" || v.Winner != -1 || v.Why != "full" {
		t.Errorf("table %+v\n%s", v, strings.Join(v.Board, "\n"))
	}
}

func TestRequestsOutOfOrder(t *testing.T) {
	rt, first, second := pair(t)
	eve := rt.Join("eve", `{"seat":"watch"}`)
	for i := range 6 {
		drop([]*roomtest.Player{first, second}[i%2], 0)
	}
	for _, tc := range []struct {
		p          *roomtest.Player
		in, answer string
	}{
		{second, `{"do":"drop","column":1}`, "it is not your turn"},
		{first, `{"do":"drop","column":0}`, "that column is full"},
		{first, `{"do":"drop","column":7}`, "no such column"},
		{first, `{"do":"drop","column":-1}`, "no such column"},
		{first, `{"do":"dance"}`, "do must be drop, resign, rematch or sit"},
		{first, `drop`, "send a JSON object with do"},
		{first, `{"do":"rematch"}`, "no round to play again"},
		{eve, `{"do":"drop","column":1}`, "you are watching"},
		{eve, `{"do":"sit"}`, "no seat to take"},
	} {
		tc.p.Messages()
		tc.p.Input(tc.in)
		var got struct{ Type, Text string }
		tc.p.Next().JSON(&got)
		if got.Type != "error" || got.Text != tc.answer {
			t.Errorf("%s: %+v, want %q", tc.in, got, tc.answer)
		}
	}
}

func TestJoinRefusals(t *testing.T) {
	rt, _, _ := pair(t)
	for data, want := range map[string]string{
		`{"seat":"play"}`: "refused: both seats are taken",
		`{"seat":"king"}`: `refused: seat must be "play" or "watch"`,
		`[`:               "refused: join data must be a JSON object with name and seat",
	} {
		if _, err := rt.TryJoin("cyd", data); err == nil || err.Error() != want {
			t.Errorf("join with %s: %v, want %s", data, err, want)
		}
	}
}

func TestTurnRunsOut(t *testing.T) {
	rt, first, second := pair(t)
	rt.Advance(TurnTime - time.Second)
	drop(first, 3)
	rt.Advance(TurnTime - time.Second)
	v := last(t, first)
	if v.Phase != "playing" || v.LeftMS != TurnTime.Milliseconds() {
		t.Fatalf("table %+v", v)
	}
	rt.Advance(2 * time.Second)
	if v := last(t, second); v.Phase != "over" || v.Why != "time" || v.Winner == v.Turn {
		t.Errorf("table %+v", v)
	}
}

func TestRematchSwapsWhoBegins(t *testing.T) {
	rt, first, second := pair(t)
	begins := last(t, first).Turn
	first.Input(`{"do":"resign"}`)
	first.Input(`{"do":"rematch"}`)
	if v := last(t, second); v.Phase != "over" || v.Winner == begins || !v.Players[begins].Rematch {
		t.Fatalf("table %+v", v)
	}
	second.Input(`{"do":"rematch"}`)
	if v := last(t, second); v.Phase != "playing" || v.Turn == begins || v.Board[Rows-1] != "......." {
		t.Errorf("table %+v", v)
	}
	if got := rt.Labels()["phase"]; got != "playing" {
		t.Errorf("label %q", got)
	}
}

func TestSpectatorTakesOver(t *testing.T) {
	rt, first, second := pair(t)
	eve := rt.Join("eve", `{"seat":"watch"}`)
	first.Drop()
	if v := last(t, eve); v.Players[v.Turn].Here || v.Watching != 1 {
		t.Fatalf("table %+v", v)
	}
	second.Leave()
	if v := last(t, eve); v.Phase != "over" || v.Why != "left" {
		t.Fatalf("table %+v", v)
	}
	eve.Input(`{"do":"sit"}`)
	if v := last(t, eve); v.Phase != "playing" || v.Watching != 0 {
		t.Errorf("table %+v", v)
	}
	first.Back()
	if v := last(t, first); !v.Players[0].Here || !v.Players[1].Here {
		t.Errorf("table %+v", v)
	}
}

func TestRoundOutlivesCrash(t *testing.T) {
	rt, first, second := pair(t)
	drop(first, 3)
	rt.Checkpoint()
	drop(second, 4)
	before := last(t, first)
	rt.Crash()
	if v := last(t, first); v.Board[Rows-1] != before.Board[Rows-1] || v.Turn != before.Turn {
		t.Errorf("bottom row %s turn %d, was %s %d", v.Board[Rows-1], v.Turn, before.Board[Rows-1], before.Turn)
	}
	rt.Advance(TurnTime + time.Second)
	if v := last(t, first); v.Why != "time" {
		t.Errorf("the clock did not run on: %+v", v)
	}
}

func TestNamesAreCut(t *testing.T) {
	rt := roomtest.New(t, Kind())
	long, _ := json.Marshal(map[string]string{"name": strings.Repeat("é", 40)})
	p := rt.Join("", long)
	if got := last(t, p).Players[0].Name; got != strings.Repeat("é", maxName/2) {
		t.Errorf("name %q", got)
	}
	q := rt.Join("", `{"name":"  "}`)
	if got := last(t, q).Players[1].Name; got != "someone" {
		t.Errorf("name %q", got)
	}
}
