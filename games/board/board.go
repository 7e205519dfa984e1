// Package board is a turn-based sample game: four in a row, with two seats,
// spectators, a clock for each turn, and rematches.
//
// Members join with {"name":"ann","seat":"play"}; seat may be "play", "watch",
// or left out for whatever is free. Players send {"do":"drop","column":3},
// {"do":"resign"} and {"do":"rematch"}, spectators {"do":"sit"}. After every
// change everybody gets the whole table (see Table): it is small, and a client
// that only ever draws the last one can't be wrong.
package board

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/limpet-games/limpet/rooms"
)

// The board's size, and what wins.
const (
	Rows    = 6
	Columns = 7
	inARow  = 4
)

// TurnTime is how long a player has for a turn before the round is lost.
const TurnTime = 30 * time.Second

const (
	maxName   = 24 // bytes
	turnTimer = "turn"
)

// Kind is the game as a kind of room.
func Kind() rooms.Kind {
	return rooms.Kind{
		Name:       "board",
		New:        func() rooms.Handler { return &table{state: State{Names: map[rooms.MemberID]string{}}} },
		MaxMembers: 32,
		Grace:      time.Minute,
		Durability: rooms.Checkpoint(time.Second),
	}
}

// State is what a table's room keeps.
type State struct {
	Names   map[rooms.MemberID]string
	Seats   [2]rooms.MemberID // 0: free
	Cells   [Rows][Columns]uint8
	Phase   string    // "waiting" for players, "playing", "over"
	Turn    int       // the seat whose turn it is
	First   int       // the seat that began this round
	Drops   int       // discs on the board
	Winner  int       // the seat that won when over, -1 for a draw
	Why     string    // how the round ended: "line", "full", "time", "resigned", "left"
	Ends    time.Time // of the turn
	Rematch [2]bool
}

// Table is the state as clients see it.
type Table struct {
	Type     string    `json:"type"` // "table"
	Board    []string  `json:"board"`
	Phase    string    `json:"phase"`
	Turn     int       `json:"turn"`
	Winner   int       `json:"winner"`
	Why      string    `json:"why,omitempty"`
	Players  [2]Player `json:"players"`
	Watching int       `json:"watching"`
	LeftMS   int64     `json:"left_ms,omitempty"` // of the turn, when this was sent
}

// Player is who sits on a seat.
type Player struct {
	Name    string `json:"name"` // "" for a free seat
	Here    bool   `json:"here"`
	Rematch bool   `json:"rematch,omitempty"`
}

type table struct{ state State }

func (t *table) State() any { return &t.state }

// Measure gives operators how far the round is.
func (t *table) Measure(_ rooms.Room, set func(string, float64)) {
	set("drops", float64(t.state.Drops))
}

func (t *table) Start(r rooms.Room, why rooms.Start) {
	if why.Why == rooms.Created {
		t.state.Phase = "waiting"
	}
	t.label(r)
}

func (t *table) Join(r rooms.Room, m rooms.Member, data []byte) error {
	var in struct{ Name, Seat string }
	if len(data) > 0 && json.Unmarshal(data, &in) != nil {
		return rooms.Refuse("join data must be a JSON object with name and seat")
	}
	seat := t.freeSeat()
	switch {
	case in.Seat == "watch":
		seat = -1
	case in.Seat == "play" && seat < 0:
		return rooms.Refuse("both seats are taken")
	case in.Seat != "" && in.Seat != "play":
		return rooms.Refuse(`seat must be "play" or "watch"`)
	}
	t.state.Names[m.ID()] = name(in.Name, m.User())
	t.sit(r, m, seat)
	t.show(r, r.AllBut(m)) // m gets it by Sync
	return nil
}

// name is what a member is called.
func name(names ...string) string {
	for _, s := range names {
		s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
		for len(s) > maxName {
			_, n := utf8.DecodeLastRuneInString(s)
			s = s[:len(s)-n]
		}
		if s != "" {
			return s
		}
	}
	return "someone"
}

// Sync tells a member which seat it has, and the table.
func (t *table) Sync(r rooms.Room, m rooms.Member) {
	t.tellSeat(m)
	t.show(r, m)
}

func (t *table) tellSeat(m rooms.Member) {
	send(m, struct {
		Type string `json:"type"`
		Seat int    `json:"seat"`
	}{"seat", t.seatOf(m)})
}

func (t *table) Dropped(r rooms.Room, _ rooms.Member) { t.show(r, r.All()) }
func (t *table) Back(r rooms.Room, _ rooms.Member)    { t.show(r, r.All()) }

func (t *table) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {
	delete(t.state.Names, m.ID())
	if seat := t.seatOf(m); seat >= 0 {
		if t.state.Phase == "playing" {
			t.end(r, 1-seat, "left")
		}
		t.state.Seats[seat] = 0
		t.state.Rematch = [2]bool{}
	}
	t.show(r, r.All())
}

func (t *table) Timer(r rooms.Room, _ string) {
	t.end(r, 1-t.state.Turn, "time")
	t.show(r, r.All())
}

// Input does what a member asks for, or tells it why not.
func (t *table) Input(r rooms.Room, m rooms.Member, data []byte) {
	var in struct {
		Do     string
		Column int
	}
	problem := "send a JSON object with do"
	if json.Unmarshal(data, &in) == nil {
		problem = t.act(r, m, in.Do, in.Column)
	}
	if problem == "" {
		t.show(r, r.All())
		return
	}
	send(m, struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"error", problem})
}

// act returns what is wrong with the request, "" where it was done.
func (t *table) act(r rooms.Room, m rooms.Member, do string, column int) string {
	seat := t.seatOf(m)
	switch {
	case do == "sit" && seat < 0 && t.freeSeat() >= 0:
		t.sit(r, m, t.freeSeat())
		t.tellSeat(m)
		return ""
	case do == "sit":
		return "no seat to take"
	case seat < 0:
		return "you are watching"
	case do == "rematch":
		return t.rematch(r, seat)
	case t.state.Phase != "playing":
		return "no round is being played"
	case do == "resign":
		t.end(r, 1-seat, "resigned")
		return ""
	case do != "drop":
		return "do must be drop, resign, rematch or sit"
	case seat != t.state.Turn:
		return "it is not your turn"
	}
	return t.drop(r, seat, column)
}

func (t *table) seatOf(m rooms.Member) int {
	for i, id := range t.state.Seats {
		if id == m.ID() {
			return i
		}
	}
	return -1
}

func (t *table) freeSeat() int {
	for i, id := range t.state.Seats {
		if id == 0 {
			return i
		}
	}
	return -1
}

// sit puts m on a seat; two players start a round.
func (t *table) sit(r rooms.Room, m rooms.Member, seat int) {
	if seat < 0 {
		return
	}
	t.state.Seats[seat] = m.ID()
	if t.freeSeat() < 0 {
		t.deal(r)
	} else {
		t.state.Phase = "waiting"
		t.label(r)
	}
}

// deal starts a round; who did not begin the last one begins.
func (t *table) deal(r rooms.Room) {
	s := &t.state
	s.Cells, s.Drops, s.Rematch, s.Why = [Rows][Columns]uint8{}, 0, [2]bool{}, ""
	s.First = 1 - s.First
	s.Turn, s.Phase, s.Winner = s.First, "playing", -1
	t.startTurn(r)
	t.label(r)
}

func (t *table) startTurn(r rooms.Room) {
	t.state.Ends = r.Now().Add(TurnTime)
	r.SetTimer(turnTimer, TurnTime)
}

func (t *table) rematch(r rooms.Room, seat int) string {
	if t.state.Phase != "over" || t.freeSeat() >= 0 {
		return "no round to play again"
	}
	t.state.Rematch[seat] = true
	if t.state.Rematch == [2]bool{true, true} {
		t.deal(r)
	}
	return ""
}

// drop lets a disc fall into a column.
func (t *table) drop(r rooms.Room, seat, column int) string {
	s := &t.state
	if column < 0 || column >= Columns {
		return "no such column"
	}
	row := Rows - 1
	for row >= 0 && s.Cells[row][column] != 0 {
		row--
	}
	if row < 0 {
		return "that column is full"
	}
	s.Cells[row][column] = uint8(seat + 1)
	s.Drops++
	switch {
	case wins(&s.Cells, row, column):
		t.end(r, seat, "line")
	case s.Drops == Rows*Columns:
		t.end(r, -1, "full")
	default:
		s.Turn = 1 - seat
		t.startTurn(r)
	}
	return ""
}

// wins says whether the disc at row, column stands in a line of four.
func wins(cells *[Rows][Columns]uint8, row, column int) bool {
	disc := cells[row][column]
	for _, d := range [][2]int{{0, 1}, {1, 0}, {1, 1}, {1, -1}} {
		n := 1
		for _, sign := range []int{1, -1} {
			y, x := row+sign*d[0], column+sign*d[1]
			for y >= 0 && y < Rows && x >= 0 && x < Columns && cells[y][x] == disc {
				n, y, x = n+1, y+sign*d[0], x+sign*d[1]
			}
		}
		if n >= inARow {
			return true
		}
	}
	return false
}

func (t *table) end(r rooms.Room, winner int, why string) {
	t.state.Phase, t.state.Winner, t.state.Why = "over", winner, why
	r.StopTimer(turnTimer)
	t.label(r)
}

// label lets lobbies show what goes on.
func (t *table) label(r rooms.Room) { r.SetLabels(map[string]string{"phase": t.state.Phase}) }

// show sends the table.
func (t *table) show(r rooms.Room, to rooms.Audience) {
	s := &t.state
	v := Table{Type: "table", Phase: s.Phase, Turn: s.Turn, Winner: s.Winner, Why: s.Why}
	for _, row := range s.Cells {
		line := make([]byte, Columns)
		for x, disc := range row {
			line[x] = ".01"[disc]
		}
		v.Board = append(v.Board, string(line))
	}
	seated := 0
	for i, id := range s.Seats {
		if m := r.Member(id); m != nil {
			seated++
			v.Players[i] = Player{s.Names[id], m.Connected(), s.Rematch[i]}
		}
	}
	v.Watching = r.Len() - seated
	if s.Phase == "playing" {
		v.LeftMS = s.Ends.Sub(r.Now()).Milliseconds()
	}
	send(to, v)
}

func send(to rooms.Audience, v any) {
	if b, err := json.Marshal(v); err == nil { // these types always marshal
		to.Send(b)
	}
}
