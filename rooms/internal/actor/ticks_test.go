package actor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func tickingRoom(t *testing.T, s *script, name string) *stage {
	return open(t, s, func(c *Config) {
		c.Kind.New = func() rooms.Handler { return ticking{s} }
		c.Kind.TickRate = 10
		c.Room = wire.RoomID("k/" + name)
	})
}

func TestTicksKeepAnAbsoluteSchedule(t *testing.T) {
	s := &script{}
	st := tickingRoom(t, s, "x")
	first := st.Next()
	if d := first.Sub(start); d <= 0 || d > 100*time.Millisecond {
		t.Fatalf("the first tick is after %s", d)
	}
	late := 30 * time.Millisecond
	for i := range 50 {
		due := first.Add(time.Duration(i) * 100 * time.Millisecond)
		if got := st.Next(); !got.Equal(due) {
			t.Fatalf("tick %d is due at %s, want %s", i, got, due)
		}
		st.Tick(due.Add(late))
		st.called("tick:100ms")
	}
}

func TestMissedTicks(t *testing.T) {
	for _, tc := range []struct {
		missed  int
		calls   string
		skipped uint64
		after   string
	}{
		{0, "tick:100ms", 0, "tick:100ms"},
		{4, strings.Repeat("tick:100ms ", 4) + "tick:100ms", 0, "tick:100ms"},
		{5, strings.Repeat("tick:100ms ", 4) + "tick:100ms", 1, "tick:200ms"},
		{24, strings.Repeat("tick:100ms ", 4) + "tick:100ms", 20, "tick:2.1s"},
	} {
		t.Run(fmt.Sprint(tc.missed), func(t *testing.T) {
			s := &script{}
			st := tickingRoom(t, s, "x")
			now := st.Next().Add(time.Duration(tc.missed)*100*time.Millisecond + 50*time.Millisecond)
			st.Tick(now)
			st.called(tc.calls)
			if st.TicksSkipped() != tc.skipped {
				t.Errorf("%d skipped, want %d", st.TicksSkipped(), tc.skipped)
			}
			if next := st.Next(); next.Sub(now) != 50*time.Millisecond {
				t.Errorf("the next tick is %s away", next.Sub(now))
			}
			st.Tick(st.Next())
			st.called(tc.after)
		})
	}
}

func TestRoomsTickSpreadInTime(t *testing.T) {
	slots := map[time.Duration]int{}
	for i := range 400 {
		st := tickingRoom(t, &script{}, fmt.Sprint(i))
		slots[st.Next().Sub(start)/(10*time.Millisecond)]++
	}
	for slot := range time.Duration(10) {
		if n := slots[slot]; n < 15 || n > 70 {
			t.Errorf("%d of 400 rooms tick in slot %d of 10", n, slot)
		}
	}
}

func TestTimers(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	st.SetTimer("b", 2*time.Second)
	st.SetTimer("a", 2*time.Second)
	st.SetTimer("moved", time.Second)
	st.SetTimer("moved", 3*time.Second)
	st.SetTimer("stopped", time.Second)
	st.StopTimer("stopped")
	st.SetTimer("stops c", 4*time.Second)
	st.SetTimer("then c", 4*time.Second)
	s.timer = func(r rooms.Room, name string) {
		switch name {
		case "stops c":
			r.StopTimer("then c")
			r.SetTimer("again", -time.Second)
		case "again":
			r.Close("done")
			r.SetTimer("never", 0)
		}
	}
	st.sleep(1999 * time.Millisecond)
	st.called("")
	st.sleep(time.Millisecond)
	st.called("timer:a timer:b")
	st.sleep(time.Second)
	st.called("timer:moved")
	st.sleep(time.Second)
	st.called("timer:stops c timer:again")
	st.sleep(time.Hour)
	st.called("")
}

// In a room with ticks, timers run with them.
func TestTimersRunAtTicks(t *testing.T) {
	s := &script{}
	st := tickingRoom(t, s, "x")
	st.SetTimer("now", 0)
	tick := st.Next()
	st.Tick(tick.Add(-1))
	st.called("")
	st.Tick(tick)
	st.called("timer:now tick:100ms")
}

func TestTimerBound(t *testing.T) {
	s := &script{}
	st := open(t, s, nil)
	st.joins(st.a, 1)
	s.input = func(r rooms.Room, _ rooms.Member, _ []byte) {
		for i := range rooms.MaxTimers + 1 {
			r.SetTimer(fmt.Sprint(i), time.Second)
		}
	}
	st.input(st.a, 1, 1, 1, "x")
	if err := st.Failure(); err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("failure is %v", err)
	}
}

func TestTimersOutliveTheRoom(t *testing.T) {
	st := open(t, &script{}, nil)
	st.SetTimer("missed", time.Second)
	st.SetTimer("to come", time.Minute)
	body := st.saves()
	st.now = st.now.Add(10 * time.Second)
	s := &script{}
	cfg := st.cfg
	cfg.Kind.New = func() rooms.Handler { return s }
	cfg.Saved, cfg.Age = body, 10*time.Second
	r, err := New(cfg, st.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.took(); got != "start:1:10s timer:missed" {
		t.Errorf("calls %s", got)
	}
	r.Tick(start.Add(time.Minute))
	if got := s.took(); got != "timer:to come" {
		t.Errorf("calls %s", got)
	}
}

func TestGrace(t *testing.T) {
	s := &script{}
	st := open(t, s, func(c *Config) { c.Kind.Grace = 10 * time.Second })
	st.joins(st.a, 1, 2, 3)
	for id := wire.MemberID(1); id <= 3; id++ {
		st.Detach(st.now, st.a, peer.Who{Member: id, Generation: 1})
		st.now = st.now.Add(time.Second)
	}
	st.attach(st.b, 2, 1, peer.WhyResume, wire.Position{Epoch: 5})
	st.called("dropped:1 dropped:2 dropped:3 back:2")
	st.sleep(7*time.Second - 1)
	st.called("")
	st.sleep(time.Minute)
	st.called("leave:1:1 leave:3:1")
	if st.Len() != 1 || st.Connected() != 1 {
		t.Errorf("%d members, %d connected", st.Len(), st.Connected())
	}
}

// Rooms tick in slots that they share, spread over the length of a tick.
func TestTicksAreSpreadInSlots(t *testing.T) {
	began := time.Unix(1_000_000, 123_456)
	used := map[time.Duration]int{}
	const rooms = 200
	for i := range rooms {
		var tk ticks
		r := &Room{now: began}
		r.cfg.Kind.TickRate, r.cfg.Room = 20, wire.RoomID(fmt.Sprint("chat/", i))
		tk.open(r)
		after := tk.due.Sub(began)
		if after <= 0 || after > 50*time.Millisecond+slot || tk.due.UnixNano()%int64(slot) != 0 {
			t.Fatalf("room %d first ticks after %s", i, after)
		}
		used[time.Duration(tk.due.UnixNano())%(50*time.Millisecond)]++
	}
	if len(used) != 20 {
		t.Errorf("%d slots of 20 are used", len(used))
	}
	for at, n := range used {
		if n > rooms/20*3 {
			t.Errorf("%d of %d rooms tick at %s", n, rooms, at)
		}
	}
}
