package arena

import (
	"encoding/binary"
	"math"
)

// Inputs, by their first byte.
const (
	opStep = 1 // u8 op | u16 number | i8 x | i8 y | u8 flags
	opSync = 2 // u8 op: send me the full state
)

const flagDash = 1

// stepLen is the length of a step's input in bytes.
const stepLen = 6

const (
	topSpeed   = 11.0 // units a step in open water
	rockSpeed  = 7.0
	easing     = 0.3 // share of the way to the wanted speed, a step
	dashSpeed  = 42.0
	dashEvery  = 30   // steps
	ramSpeed   = 17.0 // faster than this, touching somebody is a hit
	restSpeed  = 0.4  // slower than this without a wish to move is standing
	stepBudget = 100  // steps a client may send at once, after a time without a connection
	stepAccrue = 1.05 // steps a tick that it gains: clocks differ a little
)

// wish is one decoded step: a direction of length 0 to 1, and a dash.
type wish struct {
	number uint16
	dx, dy float64
	dash   bool
}

// decodeStep reads a step; anything malformed is not ok.
func decodeStep(p []byte) (w wish, ok bool) {
	if len(p) != stepLen || p[0] != opStep {
		return w, false
	}
	w.number = binary.BigEndian.Uint16(p[1:])
	w.dx, w.dy = float64(int8(p[3]))/127, float64(int8(p[4]))/127
	if n := length(w.dx, w.dy); n > 1 {
		w.dx, w.dy = w.dx/n, w.dy/n
	}
	w.dash = p[5]&flagDash != 0
	return w, true
}

// move advances a player by one step of its own clock. The conversions keep
// compilers from fusing operations: browsers compute the same bits.
func (p *Player) move(w wish) {
	top := topSpeed
	if rockAt(p.X, p.Y) >= 0 {
		top = rockSpeed
	}
	p.VX += float64((float64(w.dx*top) - p.VX) * easing)
	p.VY += float64((float64(w.dy*top) - p.VY) * easing)
	if p.Cool > 0 {
		p.Cool--
	}
	still := w.dx == 0 && w.dy == 0
	if w.dash && p.Cool == 0 && !still {
		n := length(w.dx, w.dy)
		p.VX, p.VY = float64(w.dx/n*dashSpeed), float64(w.dy/n*dashSpeed)
		p.Cool = dashEvery
	}
	if still && p.speed() < restSpeed {
		p.VX, p.VY = 0, 0
	}
	p.place(p.X+p.VX, p.Y+p.VY)
}

// place puts a player somewhere inside the pool; walls stop it.
func (p *Player) place(x, y float64) {
	p.X = clamp(x, playerRadius, Width-playerRadius)
	p.Y = clamp(y, playerRadius, Height-playerRadius)
	if p.X != x {
		p.VX = 0
	}
	if p.Y != y {
		p.VY = 0
	}
}

func (p *Player) speed() float64 { return length(p.VX, p.VY) }

func length(x, y float64) float64 { return math.Sqrt(float64(x*x) + float64(y*y)) }
