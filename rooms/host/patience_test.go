package host

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// reticent speaks on its ticks, and at once when it is asked to.
type reticent struct {
	mu    sync.Mutex
	taken []time.Time // when each input was
	ticks []time.Time
}

func (g *reticent) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (g *reticent) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

func (g *reticent) Input(r rooms.Room, m rooms.Member, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = append(g.taken, time.Now())
	if string(data) == "answer" {
		m.Ephemeral(data)
	}
}

func (g *reticent) Tick(r rooms.Room, _ time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ticks = append(g.ticks, time.Now())
	r.All().Ephemeral([]byte("tick"))
}

// last is when the last of n inputs was taken, and the last tick before it.
func (g *reticent) last(t *testing.T, n int) (taken, tick time.Time) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.taken) != n {
		t.Fatalf("%d inputs were taken, want %d", len(g.taken), n)
	}
	taken = g.taken[n-1]
	for _, at := range g.ticks {
		if !at.After(taken) {
			tick = at
		}
	}
	return taken, tick
}

// A room that speaks on its ticks takes its inputs on them; one that answers is
// woken for each.
func TestInputsWaitForTicksOfARoomThatSpeaksOnTicksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		game := &reticent{}
		h := start(t, newMemStore(), "a#1", rooms.Kind{Name: "reticent", Durability: rooms.None(),
			New: func() rooms.Handler { return game }})
		_, p, _ := joined(t, h, "reticent/one")
		time.Sleep(time.Second)
		send := func(n wire.Input, what string, wait time.Duration) (taken, tick time.Time, sent time.Time) {
			time.Sleep(13 * time.Millisecond) // not on a tick
			sent = time.Now()
			p.input(n, what)
			time.Sleep(wait)
			synctest.Wait()
			taken, tick = game.last(t, int(n))
			return taken, tick, sent
		}
		if taken, tick, sent := send(1, "move", 50*time.Millisecond); !taken.Equal(tick) || taken.Equal(sent) {
			t.Errorf("sent at %v, taken at %v; the tick was at %v", sent, taken, tick)
		}
		send(2, "answer", 50*time.Millisecond)
		if taken, _, sent := send(3, "move", 0); !taken.Equal(sent) {
			t.Errorf("sent at %v after an answer, taken at %v", sent, taken)
		}
		time.Sleep(speaksOnTicks + time.Second)
		if taken, tick, sent := send(4, "move", 50*time.Millisecond); !taken.Equal(tick) || taken.Equal(sent) {
			t.Errorf("long after the answer: sent at %v, taken at %v; the tick was at %v", sent, taken, tick)
		}
	})
}

// However patient a room is, what is not an input and a mailbox that fills up
// wake it.
func TestPatientMailboxWakesForMoreThanInputs(t *testing.T) {
	p := &port{}
	b := newMailbox(8, 1000, 1)
	b.wait(true)
	put := func(kind eventKind, size int) bool {
		_, wake := b.put(event{kind: kind, port: p}, make([]byte, size))
		return wake
	}
	for i := range 4 {
		if put(evInput, 1) {
			t.Errorf("input %d of 8 wakes", i+1)
		}
	}
	if !put(evInput, 1) || put(evInput, 1) {
		t.Error("not woken once by a mailbox half full")
	}
	b.take(batch{})
	if put(evInput, 10) || !put(evInput, 600) {
		t.Error("not woken by half of the bytes")
	}
	b.take(batch{})
	if put(evInput, 1) || !put(evLeave, 0) || put(evInput, 1) {
		t.Error("not woken once by a leave")
	}
	b.take(batch{})
	put(evInput, 1)
	b.wait(false)
	select {
	case <-b.ready:
	default:
		t.Error("not woken for what waited when patience ended")
	}
	b.take(batch{})
	if !put(evInput, 1) {
		t.Error("not woken without patience")
	}
}
