// Package chat is a sample kind: a chat room with names, a bounded history,
// and a bound on how fast one member talks.
//
// Members join with {"name":"ann"} and send plain text. They get JSON: the
// history in pages, then lines and comings and goings (see Event).
package chat

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/limpet-games/limpet/rooms"
)

// Bounds of a chat room.
const (
	MaxLines = 200 // kept for those who join
	MaxText  = 500 // bytes of a line
	MaxName  = 24  // bytes of a name
	PageSize = 20  // lines in one message of history

	// A member may say Burst lines at once, and one more every Pace.
	Burst = 10
	Pace  = 500 * time.Millisecond
)

// Kind is the chat as a kind of room.
func Kind() rooms.Kind {
	return rooms.Kind{
		Name:       "chat",
		New:        func() rooms.Handler { return &chat{State{Members: map[rooms.MemberID]*Talker{}}} },
		MaxMembers: 200,
		Durability: rooms.Checkpoint(time.Second),
	}
}

// State is what a chat room keeps. The talkers' budgets are part of it: after
// a crash clients send what was undone again all at once, and must find the
// budget that they had.
type State struct {
	Lines   []Line
	Said    uint64 // lines in all
	Members map[rooms.MemberID]*Talker
}

// Line is something said.
type Line struct {
	N    uint64    `json:"n"` // counts the room's lines
	Name string    `json:"name"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Talker is a member's name and budget.
type Talker struct {
	Name  string
	Left  float64 // lines that it may say now
	Since time.Time
}

// Event is what members get.
type Event struct {
	Type  string `json:"type"` // "history", "line", "joined", "left", "error"
	Lines []Line `json:"lines,omitempty"`
	Name  string `json:"name,omitempty"`
	Text  string `json:"text,omitempty"`
	More  bool   `json:"more,omitempty"` // further pages of history follow
}

type chat struct{ state State }

func (c *chat) State() any { return &c.state }

// Measure gives operators the lines said in all.
func (c *chat) Measure(_ rooms.Room, set func(string, float64)) { set("lines", float64(c.state.Said)) }

func (c *chat) Join(r rooms.Room, m rooms.Member, data []byte) error {
	var in struct{ Name string }
	if len(data) > 0 && json.Unmarshal(data, &in) != nil {
		return rooms.Refuse("join data must be a JSON object with name")
	}
	name := clean(in.Name, MaxName)
	if name == "" {
		name = clean(m.User(), MaxName)
	}
	if name == "" {
		name = "guest"
	}
	name = c.unused(name)
	c.state.Members[m.ID()] = &Talker{Name: name, Left: Burst, Since: r.Now()}
	send(r.AllBut(m), Event{Type: "joined", Name: name})
	return nil
}

// unused is the name with a number behind it, if it needs one.
func (c *chat) unused(name string) string {
	taken := map[string]bool{}
	for _, t := range c.state.Members {
		taken[t.Name] = true
	}
	try := name
	for n := 2; taken[try]; n++ {
		try = name + " " + strconv.Itoa(n)
	}
	return try
}

// Sync sends the history in pages, so that none is above a message's limit.
func (c *chat) Sync(_ rooms.Room, m rooms.Member) {
	for lines := c.state.Lines; ; {
		page := lines[:min(PageSize, len(lines))]
		lines = lines[len(page):]
		send(m, Event{Type: "history", Lines: page, More: len(lines) > 0})
		if len(lines) == 0 {
			return
		}
	}
}

func (c *chat) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {
	send(r.All(), Event{Type: "left", Name: c.state.Members[m.ID()].Name})
	delete(c.state.Members, m.ID())
}

func (c *chat) Input(r rooms.Room, m rooms.Member, data []byte) {
	text := clean(string(data), MaxText)
	talker := c.state.Members[m.ID()]
	switch {
	case text == "":
		send(m, Event{Type: "error", Text: "nothing was said"})
	case !talker.may(r.Now()):
		send(m, Event{Type: "error", Text: "slow down: that was not said"})
	default:
		c.say(r, talker.Name, text)
	}
}

func (c *chat) say(r rooms.Room, name, text string) {
	s := &c.state
	s.Said++
	line := Line{N: s.Said, Name: name, Text: text, At: r.Now().UTC()}
	if len(s.Lines) == MaxLines {
		s.Lines = append(s.Lines[:0], s.Lines[1:]...)
	}
	s.Lines = append(s.Lines, line)
	send(r.All(), Event{Type: "line", Lines: []Line{line}})
}

// may takes one line from the talker's budget.
func (t *Talker) may(now time.Time) bool {
	t.Left = min(Burst, t.Left+float64(now.Sub(t.Since))/float64(Pace))
	t.Since = now
	if t.Left < 1 {
		return false
	}
	t.Left--
	return true
}

// clean makes one line of at most limit bytes, without control characters.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

func send(to rooms.Audience, e Event) {
	if b, err := json.Marshal(e); err == nil { // an Event always marshals
		to.Send(b)
	}
}
