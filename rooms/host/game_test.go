package host

import (
	"strings"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// tally is a room that keeps every input in its state and tells it to all.
type tally struct {
	state tallyState
	hold  chan struct{} // inputs "hold" wait for it
}

type tallyState struct {
	Got   []string // MEMBERLESS inputs in the order of the room
	Ticks int
	Pad   []byte
}

func (g *tally) State() any { return &g.state }

func (g *tally) Join(_ rooms.Room, _ rooms.Member, data []byte) error {
	if string(data) == "no" {
		return rooms.Refuse("not you")
	}
	return nil
}

func (g *tally) Input(r rooms.Room, m rooms.Member, data []byte) {
	switch what, _, _ := strings.Cut(string(data), " "); what {
	case "panic":
		panic("asked for")
	case "close":
		r.Close("asked for")
		return
	case "kick":
		r.Kick(m, "asked for")
		return
	case "hold":
		<-g.hold
	case "grow":
		g.state.Pad = make([]byte, 2<<20)
		for i := range g.state.Pad { // must not compress
			g.state.Pad[i] = byte(r.Rand().Uint32())
		}
	}
	g.state.Got = append(g.state.Got, string(data))
	r.All().Send(data)
}

func (g *tally) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

// ticking counts its ticks, too.
type ticking struct{ tally }

func (g *ticking) Tick(r rooms.Room, _ time.Duration) {
	g.state.Ticks++
	r.All().Ephemeral([]byte("tick"))
}

func tallyKind() rooms.Kind {
	return rooms.Kind{Name: "tally", New: func() rooms.Handler { return &tally{} },
		Durability: rooms.Checkpoint(100 * time.Millisecond)}
}

func tickingKind() rooms.Kind {
	return rooms.Kind{Name: "ticking", New: func() rooms.Handler { return &ticking{} },
		Durability: rooms.Checkpoint(100 * time.Millisecond)}
}

func fleetingKind() rooms.Kind {
	return rooms.Kind{Name: "fleeting", New: func() rooms.Handler { return &tally{} }, Durability: rooms.None()}
}
