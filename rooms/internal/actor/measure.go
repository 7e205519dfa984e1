package actor

import (
	"log/slog"
	"math"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// Number is one that the handler gives of the room.
type Number struct {
	Name  string
	Value float64
}

// Measures reports whether the handler gives numbers.
func (r *Room) Measures() bool { _, ok := r.handler.(rooms.Measured); return ok }

// Measure appends the handler's numbers to b. The handler is muted meanwhile,
// and the room stays as clean as it was; a panic is a failure like any other.
func (r *Room) Measure(now time.Time, b []Number) []Number {
	h, ok := r.handler.(rooms.Measured)
	if !ok || !r.begin(now) || !r.runs() {
		return b
	}
	muted, dirty := r.muted, r.dirty
	r.muted = true
	r.enter(nil, 0)
	defer func() { r.muted, r.dirty = muted, dirty }()
	defer r.guard()
	first := len(b)
	h.Measure(r, func(name string, v float64) {
		switch {
		case len(b)-first == rooms.MaxNumbers:
			r.log.Error("number left out: the room gives too many", slog.String("number", name))
		case !numberName(name) || math.IsNaN(v) || math.IsInf(v, 0):
			r.log.Error("number left out: its name or value is not allowed", slog.String("number", name), slog.Float64("value", v))
		default:
			b = append(b, Number{name, v})
		}
	})
	return b
}

func numberName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= rooms.MaxLabelBytes
}
