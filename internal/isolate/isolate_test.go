package isolate

import (
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func box(t *testing.T, slots int) *Box {
	t.Helper()
	f, b, err := createBox("", slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(); f.Close() })
	return b
}

// What one process writes into a box, another reads.
func TestBoxIsShared(t *testing.T) {
	f, theirs, err := createBox("", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer theirs.close()
	mine, err := openBox(f)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.close()
	s := mine.Take("chat/one")
	s.RunsHere()
	in := Input{Member: 7, Instance: [16]byte{1}, N: 3}
	s.Begin(1, in, true)
	want := place{at: s.index(), room: "chat/one", call: 1, goroutine: goroutine(), input: &in, blamed: true}
	if got := theirs.places(); !reflect.DeepEqual(got, []place{want}) {
		t.Errorf("places %+v, want %+v", got, want)
	}
	s.End()
	s.Begin(2, Input{}, false) // a tick: the last input stays known
	want.call, want.blamed = 2, false
	if got := theirs.places(); !reflect.DeepEqual(got, []place{want}) {
		t.Errorf("places %+v, want %+v", got, want)
	}
	s.Release()
	if got := theirs.places(); got != nil {
		t.Errorf("places %+v after the room's end", got)
	}
	again, err := openBox(f)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if s := again.Take("chat/two"); s == nil || len(theirs.places()) != 1 {
		t.Error("a program that follows in place does not find the box empty")
	}
}

func (s *Slot) index() int {
	for i := range s.box.slots {
		if &s.box.slots[i] == &s.at[0] {
			return i
		}
	}
	return -1
}

func TestBoxIsBounded(t *testing.T) {
	b := box(t, 2)
	one, two := b.Take("chat/one"), b.Take("chat/two")
	if one == nil || two == nil || b.Take("chat/three") != nil {
		t.Error("want two places")
	}
	one.Release()
	if b.Take(strings.Repeat("x", 200)) != nil || b.Take("chat/three") == nil {
		t.Error("a place that was given back is to be had, and not for a name that is no room's")
	}
	var none *Box
	s := none.Take("chat/one")
	s.RunsHere()
	s.Begin(1, Input{}, true)
	s.End()
	s.Release()
}

const panicked = `panic: a goroutine of the room's own

goroutine 199 [running]:
example.com/game.(*room).Input.func1()
	example.com/game/room.go:50 +0x25
created by example.com/game.(*room).Input in goroutine 198
	example.com/game/room.go:50 +0x12

goroutine 1 [select]:
created by nobody in goroutine 12
`

const overflowed = `runtime stack:
runtime.throw({0xe48a21?, 0x7f1c6f7fdc78?})
	runtime/panic.go:1094 +0x48
runtime.newstack()
	runtime/stack.go:1159 +0x5bd
runtime.morestack()
	runtime/asm_amd64.s:621 +0x7a

goroutine 230 gp=0x3d0a18f5fa40 m=7 mp=0x3d0a18b04808 [running]:
example.com/game.overflow(0x2)
created by sync.(*WaitGroup).Go in goroutine 219
`

func TestReadCrash(t *testing.T) {
	for report, want := range map[string]crash{
		panicked:      {"panic: a goroutine of the room's own", 199, 198},
		overflowed:    {"fatal error: stack overflow", 230, 219},
		"panic: \xff": {"panic: ?", 0, 0},
		"goroutine 99999999999999999999999 [running]:\n": {"", 0, 0},
	} {
		if got, ok := readCrash([]byte(report)); !ok || got != want {
			t.Errorf("%q: %+v, %v, want %+v", report, got, ok, want)
		}
	}
	if _, ok := readCrash(nil); ok {
		t.Error("a crash was read from nothing")
	}
}

func FuzzReadCrash(f *testing.F) {
	f.Add([]byte(panicked))
	f.Add([]byte(overflowed))
	f.Fuzz(func(t *testing.T, report []byte) {
		if c, _ := readCrash(report); len(c.reason) > 2*maxReason {
			t.Errorf("reason of %d bytes", len(c.reason))
		}
	})
}

func TestBlame(t *testing.T) {
	in, last := Input{Member: 1, N: 2}, Input{Member: 3, N: 4}
	places := []place{
		{at: 0, room: "k/calm", goroutine: 10, input: &last},
		{at: 1, room: "k/input", goroutine: 11, call: 5, input: &in, blamed: true},
		{at: 2, room: "k/tick", goroutine: 12, call: 6, input: &last},
	}
	for name, c := range map[string]struct {
		crash   *crash
		lasting map[int]uint64
		want    []Guilty
	}{
		"in an input":                   {&crash{goroutine: 11}, nil, []Guilty{{"k/input", &in}}},
		"in a tick":                     {&crash{goroutine: 12, creator: 99}, nil, []Guilty{{"k/tick", nil}}},
		"between calls":                 {&crash{goroutine: 10}, nil, nil},
		"in a goroutine of a room's":    {&crash{goroutine: 77, creator: 10}, nil, []Guilty{{"k/calm", &last}}},
		"in nobody's goroutine":         {&crash{goroutine: 77, creator: 78}, nil, nil},
		"where the goroutine is absent": {&crash{}, nil, nil},
		"in calls that lasted":          {nil, map[int]uint64{1: 5, 2: 5}, []Guilty{{"k/input", &in}}},
		"in no call that lasted":        {nil, nil, nil},
	} {
		of, crashed := crash{}, c.crash != nil
		if crashed {
			of = *c.crash
		}
		if got := blame(places, of, crashed, c.lasting); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestGoroutineNumbers(t *testing.T) {
	var wg sync.WaitGroup
	var other uint64
	wg.Go(func() { other = goroutine() })
	wg.Wait()
	if mine := goroutine(); mine == 0 || other == 0 || mine == other {
		t.Errorf("goroutines %d and %d on %s", mine, other, runtime.Version())
	}
}

func TestStrikes(t *testing.T) {
	var s strikes
	now := time.Now()
	died := func(lived time.Duration, v verdict) (time.Duration, bool) {
		until, quarantined := s.died(now, lived, v)
		return until.Sub(now), quarantined
	}
	for _, want := range []time.Duration{firstWait, 2 * firstWait, 4 * firstWait} {
		if got, _ := died(time.Second, unknown); got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
	}
	if got, _ := died(time.Second, blamed); got != firstWait {
		t.Errorf("waits %s where the rooms at fault are known", got)
	}
	for range 20 {
		died(time.Second, unknown)
	}
	if got, q := died(time.Second, unknown); got != longestWait || q {
		t.Errorf("waits %s, quarantined: %v", got, q)
	}
	if got, _ := died(time.Minute, unknown); got != 0 {
		t.Errorf("waits %s after a long life", got)
	}
	for i := range strikesMost {
		now = now.Add(time.Minute)
		got, q := died(time.Minute, blameless)
		if last := i == strikesMost-1; q != last || last && got != strikesWithin-(strikesMost-1)*time.Minute {
			t.Errorf("death %d with nobody at fault: waits %s, quarantined: %v", i+1, got, q)
		}
	}
	now = now.Add(strikesWithin)
	if _, q := died(time.Minute, blameless); q {
		t.Error("quarantined for deaths long ago")
	}
}

// One look may have come a moment before a death that nobody here caused: a call
// lasts when two looks in a row have seen it.
func TestCallsThatLast(t *testing.T) {
	p := &process{box: box(t, 4)}
	p.last, _ = os.Open(os.DevNull)
	defer p.last.Close()
	long, short := p.box.Take("kind/long"), p.box.Take("kind/short")
	guilty := func() []string { return rooms(p.death("silence").Guilty) }
	now := time.Now()
	look := func(later time.Duration) { now = now.Add(later); p.look(now) }
	long.Begin(1, Input{}, true)
	look(beatEvery)
	look(time.Millisecond)
	if got := guilty(); len(got) > 0 {
		t.Errorf("%v at fault after one look", got)
	}
	short.Begin(1, Input{}, true)
	look(beatEvery)
	if got := guilty(); !slices.Equal(got, []string{"kind/long"}) {
		t.Errorf("%v at fault, want kind/long", got)
	}
	short.End()
	short.Begin(2, Input{}, true)
	look(beatEvery)
	long.End()
	if got := guilty(); len(got) > 0 {
		t.Errorf("%v at fault: one has ended its call, the other is in another one", got)
	}
}
