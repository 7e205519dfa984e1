package arena

import (
	"encoding/json"
	"math"

	"github.com/limpet-games/limpet/rooms"
)

// Reliable messages are JSON objects; t tells them apart.

type playerEvent struct {
	T    string         `json:"t"` // "join", "leave"
	ID   rooms.MemberID `json:"id"`
	Slot uint8          `json:"slot"`
	Name string         `json:"name"`
	Hue  uint16         `json:"hue"`
}

// shellsEvent gathers what happened to shells within a tick.
type shellsEvent struct {
	T     string     `json:"t"`               // "shells"
	Taken []taken    `json:"taken,omitempty"` // by whom
	New   []newShell `json:"new,omitempty"`
}

type taken [3]uint32    // shell, slot, score after it
type newShell [4]uint32 // shell, x, y, 1 for a pearl

type ramEvent struct {
	T    string `json:"t"` // "ram"
	By   uint8  `json:"by"`
	On   uint8  `json:"on"`
	Lost uint8  `json:"lost"` // shells knocked off
}

type fullEvent struct {
	T       string         `json:"t"` // "full"
	You     rooms.MemberID `json:"you"`
	Slot    uint8          `json:"slot"`
	Rate    int            `json:"rate"` // ticks a second
	Width   int            `json:"width"`
	Height  int            `json:"height"`
	Rocks   [][3]int       `json:"rocks"`
	Tide    [4]int         `json:"tide"` // ticks out, rising, high, falling
	Players []fullPlayer   `json:"players"`
	Shells  []newShell     `json:"shells"`
}

type fullPlayer struct {
	ID    rooms.MemberID `json:"id"`
	Slot  uint8          `json:"slot"`
	Name  string         `json:"name"`
	Hue   uint16         `json:"hue"`
	Score uint32         `json:"score"`
	Away  bool           `json:"away"`
}

func (p *Player) event(t string) playerEvent {
	return playerEvent{T: t, ID: p.ID, Slot: p.Slot, Name: p.Name, Hue: p.Hue}
}

func (sh Shell) event() newShell {
	e := newShell{sh.ID, uint32(math.Round(sh.X)), uint32(math.Round(sh.Y)), 0}
	if sh.Pearl {
		e[3] = 1
	}
	return e
}

// full is the whole pool as one player needs it to start drawing.
func (g *pool) full(r rooms.Room, m rooms.Member) fullEvent {
	e := fullEvent{T: "full", You: m.ID(), Rate: TickRate, Width: Width, Height: Height,
		Tide: [4]int{tideOut, tideRise, tideHigh, tideFall}}
	for _, k := range Rocks {
		e.Rocks = append(e.Rocks, [3]int{int(k.X), int(k.Y), int(k.R)})
	}
	for i := range g.state.Players {
		p := &g.state.Players[i]
		if p.ID == m.ID() {
			e.Slot = p.Slot
		}
		e.Players = append(e.Players, fullPlayer{ID: p.ID, Slot: p.Slot, Name: p.Name,
			Hue: p.Hue, Score: p.Score, Away: away(r, p.ID)})
	}
	for _, sh := range g.state.Shells {
		e.Shells = append(e.Shells, sh.event())
	}
	return e
}

func send(to rooms.Audience, event any) {
	b, err := json.Marshal(event)
	if err != nil {
		panic(err) // events are plain structs: this can't fail
	}
	to.Send(b)
}

func away(r rooms.Room, id rooms.MemberID) bool {
	m := r.Member(id)
	return m == nil || !m.Connected()
}
