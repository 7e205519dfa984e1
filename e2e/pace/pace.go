// Package pace is a room kind that tells how late its ticks came, for measuring
// what checkpoints cost the room loop.
package pace

import (
	"encoding/json"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// Inputs that a room knows.
const (
	Begin = "begin" // forget what was measured
	End   = "end"   // tell it, as a Report, and close
)

// Report is how late each tick came, against the most punctual one.
type Report struct {
	Late []time.Duration `json:"late"`
}

// TickRate is that of a fast game.
const TickRate = 20

// Kind makes rooms with a hundred moving things.
func Kind(name string, d rooms.Durability) rooms.Kind {
	return rooms.Kind{Name: name, New: func() rooms.Handler { return &pace{} }, TickRate: TickRate, Durability: d}
}

type thing struct {
	X, Y, DX, DY float64
	Name         string
	Health       int
}

type pace struct {
	state struct{ Things []thing }
	ticks int             // since Begin, those left out counted in
	at    []time.Duration // when each came, less when an even clock would have had it
	began time.Time
}

func (p *pace) State() any { return &p.state }

func (p *pace) Start(r rooms.Room, _ rooms.Start) {
	for len(p.state.Things) < 100 {
		p.state.Things = append(p.state.Things, thing{
			X: r.Rand().Float64(), Y: r.Rand().Float64(), DX: r.Rand().Float64(), DY: r.Rand().Float64(), Name: "thing", Health: 100,
		})
	}
}

func (p *pace) Join(rooms.Room, rooms.Member, []byte) error { return nil }

func (p *pace) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

func (p *pace) Tick(_ rooms.Room, dt time.Duration) {
	now := time.Now() // not the room's: when the tick really came is what is asked
	for i := range p.state.Things {
		t := &p.state.Things[i]
		t.X, t.Y = t.X+t.DX, t.Y+t.DY
	}
	const every = time.Second / TickRate
	p.ticks += int(dt / every)
	if !p.began.IsZero() {
		p.at = append(p.at, now.Sub(p.began)-time.Duration(p.ticks)*every)
	}
}

func (p *pace) Input(r rooms.Room, m rooms.Member, data []byte) {
	switch string(data) {
	case Begin:
		p.began, p.ticks, p.at = time.Now(), 0, nil
	case End:
		if b, err := json.Marshal(p.report()); err == nil {
			m.Send(b)
		}
		r.Close("measured")
	}
}

func (p *pace) report() Report {
	if len(p.at) == 0 {
		return Report{}
	}
	first := p.at[0]
	for _, d := range p.at {
		first = min(first, d)
	}
	var late []time.Duration
	for _, d := range p.at {
		late = append(late, d-first)
	}
	return Report{late}
}
