// Package faulty is a room kind that does, on request, what Go can't contain.
package faulty

import (
	"strconv"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// Inputs that break something. All others are counted, and the count is told.
const (
	Loop      = "loop"      // never returns, and keeps a processor
	Goroutine = "goroutine" // a goroutine of the room's own panics
	Overflow  = "overflow"  // recursion without an end
	Maps      = "maps"      // two goroutines write one map
	Eat       = "eat"       // memory, as fast as it can be had
)

// Kind makes rooms that break.
func Kind(name string) rooms.Kind {
	return rooms.Kind{Name: name, New: func() rooms.Handler { return &faulty{} }, Durability: rooms.Checkpoint(100 * time.Millisecond)}
}

type faulty struct {
	state struct{ Count int }
	kept  [][]byte
}

func (f *faulty) State() any { return &f.state }

func (f *faulty) Join(rooms.Room, rooms.Member, []byte) error { return nil }

func (f *faulty) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

func (f *faulty) Sync(_ rooms.Room, m rooms.Member) { m.Send(f.count()) }

func (f *faulty) Input(r rooms.Room, _ rooms.Member, data []byte) {
	switch string(data) {
	case Loop:
		for n := 0; ; n++ {
			_ = n
		}
	case Goroutine:
		go panic("a goroutine of the room's own")
		time.Sleep(50 * time.Millisecond)
	case Overflow:
		f.state.Count = overflow(1)
	case Maps:
		m := map[int]int{}
		go write(m)
		write(m)
	case Eat:
		for {
			f.kept = append(f.kept, filled(16<<20))
		}
	default:
		f.state.Count++
		r.All().Send(f.count())
	}
}

func (f *faulty) count() []byte { return []byte(strconv.Itoa(f.state.Count)) }

func overflow(n int) int {
	if n == 0 {
		return 0
	}
	return n + overflow(n+1)
}

func write(m map[int]int) {
	for n := 0; ; n++ {
		m[n%1000] = n
	}
}

func filled(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}
