package arena

import "math"

// Width and Height are the size of the pool.
const (
	Width  = 1600.0
	Height = 1000.0
)

const (
	playerRadius = 18.0
	shellRadius  = 9.0
	restShells   = 70  // shells that lie about when nobody has lost any
	maxShells    = 120 // with those that were knocked loose
	maxString    = 40
)

// Rock is a place to cling to.
type Rock struct {
	X, Y float64
	R    float64
}

// Rocks are the same in every pool.
var Rocks = [...]Rock{
	{800, 500, 92}, {340, 260, 70}, {1250, 250, 78}, {300, 760, 74},
	{1290, 770, 68}, {800, 130, 48}, {790, 880, 54}, {560, 520, 40}, {1070, 530, 42},
}

// rockAt is the index of the rock under a place, or -1.
func rockAt(x, y float64) int {
	for i := range Rocks {
		dx, dy := x-Rocks[i].X, y-Rocks[i].Y
		if float64(dx*dx)+float64(dy*dy) <= Rocks[i].R*Rocks[i].R {
			return i
		}
	}
	return -1
}

// The tide's course in ticks: out, coming in, high, going out.
const (
	tideOut  = 460
	tideRise = 160
	tideHigh = 180
	tideFall = 100
	tideAll  = tideOut + tideRise + tideHigh + tideFall
)

// tide is the water's level, 0 to 1.
func tide(clock uint64) float64 {
	switch t := clock % tideAll; {
	case t < tideOut:
		return 0
	case t < tideOut+tideRise:
		return ease(float64(t-tideOut) / tideRise)
	case t < tideOut+tideRise+tideHigh:
		return 1
	default:
		return ease(float64(tideAll-t) / tideFall)
	}
}

// sweeping reports whether the current tears at who isn't holding on.
func sweeping(clock uint64) bool { return tide(clock) > 0.8 }

// currentAngle is where the current of this tide goes, in 256ths of a turn.
func currentAngle(clock uint64) uint8 {
	return uint8((clock/tideAll + 1) * 83)
}

func current(clock uint64) (dx, dy float64) {
	const strongest = 3.2
	a := float64(currentAngle(clock)) * 2 * math.Pi / 256
	push := strongest * math.Max(0, tide(clock)-0.4) / 0.6
	return math.Cos(a) * push, math.Sin(a) * push
}

func ease(t float64) float64 { return t * t * (3 - 2*t) }

func clamp(v, low, high float64) float64 { return math.Min(math.Max(v, low), high) }
