package actor

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// full is a room with something of everything in its checkpoint.
func full(t testing.TB) *stage {
	s := &script{}
	s.book.Text, s.book.Map = "text", map[string]int{"a": 1, "b": 2}
	st := open(t, s, nil)
	st.joins(st.a, 1, 2, 3, 4)
	st.input(st.a, 1, 1, 1, "x")
	st.All().Send([]byte("x"))
	st.Member(2).Send([]byte("y"))
	st.Kick(st.Member(3), "bye")
	st.Leave(st.now, st.a, peer.Who{Member: 4, Generation: 1}, 1)
	st.SetTimer("t", time.Hour)
	st.SetLabels(map[string]string{"map": "reef"})
	st.SetLocked(true)
	st.SetPrivate(true)
	st.Rand().Uint64()
	st.addPoison(Poison{1, wire.Instance{1}, 9})
	return st
}

func TestCheckpointHoldsEverything(t *testing.T) {
	st := full(t)
	body := st.saves()
	s := &script{}
	s.book.Map = map[string]int{"deleted": 3}
	next := st.again(body, s, nil)
	if s.book.Text != "text" || len(s.book.Map) != 2 || s.book.Map["b"] != 2 {
		t.Errorf("state is %+v", s.book)
	}
	if a, b := st.Rand().Uint64(), next.Rand().Uint64(); a != b {
		t.Errorf("the random source went from %d to %d", a, b)
	}
	if l := next.Listing(); l.Labels["map"] != "reef" || l.Open || l.Members != 2 || !next.private {
		t.Errorf("listing %+v", l)
	}
	for id, want := range map[wire.MemberID]uint64{1: 1, 2: 2} {
		if got := next.members[id].count(); got != want {
			t.Errorf("member %d has a count of %d, want %d", id, got, want)
		}
	}
	next.cfg.Epoch = st.cfg.Epoch
	next.Room.cfg.Epoch = st.cfg.Epoch
	next.source.UnmarshalBinary(st.contents().Rand)
	again, _, err := next.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if last, _, _ := st.Encode(); !bytes.Equal(again, last) {
		t.Errorf("the second checkpoint differs from the first:\n%x\n%x", last, again)
	}
}

func TestRandomSourceGoesOn(t *testing.T) {
	st := open(t, &script{}, nil)
	want := rand.New(rand.NewPCG(1, 0x6c696d706574))
	if a, b := st.Rand().Uint64(), want.Uint64(); a != b {
		t.Errorf("seed 1 gives %d, want %d", a, b)
	}
	next := st.again(st.saves(), &script{}, func(c *Config) { c.Seed = 99 })
	if a, b := next.Rand().Uint64(), want.Uint64(); a != b {
		t.Errorf("the restored source gives %d, want %d", a, b)
	}
}

func TestDirty(t *testing.T) {
	st := open(t, &script{}, nil)
	who := peer.Who{Member: 1, Generation: 1}
	for name, do := range map[string]func(){
		"start":    func() {},
		"join":     func() { st.attach(st.a, 1, 1, peer.WhyJoin, wire.Position{}) },
		"input":    func() { st.input(st.a, 1, 1, st.members[1].applied+1, "x") },
		"skip":     func() { n := st.members[1].applied + 1; st.Skip(st.now, st.a, who, n, n) },
		"message":  func() { st.All().Send(nil) },
		"timer":    func() { st.SetTimer("t", time.Hour) },
		"no timer": func() { st.StopTimer("t") },
		"labels":   func() { st.SetLabels(map[string]string{"n": time.Now().String()}) },
	} {
		if name != "join" && name != "start" && st.members[1] == nil {
			st.attach(st.a, 1, 1, peer.WhyJoin, wire.Position{})
		}
		if name == "no timer" {
			st.SetTimer("t", time.Hour)
		}
		if name == "timer" {
			st.StopTimer("t")
		}
		if name != "start" && (name != "join" || st.members[1] == nil) {
			st.saves()
			if st.Dirty() {
				t.Errorf("dirty right after a checkpoint")
			}
			do()
		}
		if !st.Dirty() {
			t.Errorf("%s: not dirty", name)
		}
		if name != "start" && !st.Changed() {
			t.Errorf("%s: nothing has changed", name)
		}
	}
	st.saves()
	st.Flush(st.now.Add(time.Second))
	st.Tick(st.now.Add(time.Second))
	if st.Dirty() {
		t.Errorf("dirty after nothing")
	}
}

func TestBadCheckpoints(t *testing.T) {
	change := func(f func(s *saved)) []byte {
		s := full(t).contents()
		f(s)
		b, err := encMode.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"empty":           {[]byte{}, "EOF"},
		"garbage":         {[]byte("not CBOR at all"), "cbor"},
		"format":          {change(func(s *saved) { s.Format = 2 }), "format 2: this build reads 1"},
		"random source":   {change(func(s *saved) { s.Rand = nil }), "invalid PCG"},
		"member twice":    {change(func(s *saved) { s.Members[1].ID = s.Members[0].ID }), "member 1: not one, or twice"},
		"member 0":        {change(func(s *saved) { s.Members[1].ID = 0 }), "member 0"},
		"instance":        {change(func(s *saved) { s.Members[0].Instance = []byte("short") }), "instance of 5 bytes"},
		"counter":         {change(func(s *saved) { s.Members[0].Applied = 1 << 60 }), "out of range"},
		"sequence":        {change(func(s *saved) { s.Seq = 1 << 62 }), "out of range"},
		"user":            {change(func(s *saved) { s.Members[0].User = strings.Repeat("x", 129) }), "name of 129 bytes"},
		"labels":          {change(func(s *saved) { s.Labels["x"] = strings.Repeat("x", 65) }), "at most 64 bytes"},
		"timers":          {change(func(s *saved) { s.Timers = make([]savedTimer, rooms.MaxTimers+1) }), "257 timers"},
		"poison":          {change(func(s *saved) { s.Poison[0].Instance = nil }), "poisoned input of member 1"},
		"handler's state": {change(func(s *saved) { s.State = []byte{0x18, 0x2a} }), "raise StateVersion and write Upgrade: cbor: cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := open(t, &script{}, nil).cfg
			cfg.Saved = tc.body
			if _, err := New(cfg, start); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

// explosive has methods of its own that panic.
type explosive struct{ V int }

func (*explosive) MarshalBinary() ([]byte, error) { panic("boom") }
func (*explosive) UnmarshalBinary([]byte) error   { panic("boom") }

// starter does as start says when its room starts.
type starter struct {
	still
	state struct{ N int }
	start func(rooms.Room)
}

func (s *starter) State() any { return &s.state }

func (*starter) Timer(rooms.Room, string) {}

func (s *starter) Start(r rooms.Room, _ rooms.Start) {
	s.state.N++
	if s.start != nil {
		s.start(r)
	}
}

// A room that has only started is to be saved, but nothing in it has changed that
// another start would not change again.
func TestStartAloneIsNoChange(t *testing.T) {
	begun := func(saved []byte, does func(rooms.Room)) *Room {
		kind, _ := rooms.Kind{Name: "k", New: func() rooms.Handler { return &starter{start: does} }}.Checked()
		r, err := New(Config{Kind: kind, Room: "k/x", Saved: saved}, start)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := begun(nil, nil)
	if !r.Dirty() || r.Changed() {
		t.Errorf("after the start: dirty %v, changed %v", r.Dirty(), r.Changed())
	}
	if r := begun(nil, func(r rooms.Room) { r.SetTimer("t", time.Second) }); !r.Changed() {
		t.Error("a timer that the start set is no change")
	}
	if r := begun(nil, func(r rooms.Room) { r.SetLabels(map[string]string{"a": "b"}) }); !r.Changed() {
		t.Error("labels that the start set are no change")
	}
	body, _, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if r.Dirty() || r.Changed() {
		t.Errorf("after a checkpoint: dirty %v, changed %v", r.Dirty(), r.Changed())
	}
	if r := begun(body, nil); !r.Dirty() || r.Changed() {
		t.Errorf("restored from it: dirty %v, changed %v", r.Dirty(), r.Changed())
	}
}

type bomb struct {
	still
	state explosive
}

func (b *bomb) State() any { return &b.state }

func TestPanicsOfStateAreErrors(t *testing.T) {
	kind, _ := rooms.Kind{Name: "k", New: func() rooms.Handler { return &bomb{} }}.Checked()
	cfg := Config{Kind: kind, Room: "k/x"}
	r, err := New(cfg, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("encode: %v", err)
	}
	if r.Failure() != nil || !r.Dirty() {
		t.Errorf("the room did not go on")
	}
	s := r.contents()
	s.State = []byte{0x41, 0}
	if cfg.Saved, err = encMode.Marshal(s); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, start); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("restore: %v", err)
	}
}

// Whatever the checkpoint, a room comes of it that can be saved and used, or
// an error.
func FuzzRestore(f *testing.F) {
	st := full(f)
	body, _, err := st.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &script{}
		kind, err := rooms.Kind{Name: "k", New: func() rooms.Handler { return s }}.Checked()
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Kind: kind, Room: "k/x", Incarnation: 3, Epoch: 50, Saved: append([]byte{}, body...)}
		r, err := New(cfg, start)
		if err != nil {
			return
		}
		a, _, err := r.Encode()
		if err != nil {
			t.Fatalf("a restored room can't be saved: %v", err)
		}
		cfg.Saved, cfg.Kind.New = a, func() rooms.Handler { return &script{} }
		again, err := New(cfg, start)
		if err != nil {
			t.Fatalf("a checkpoint of a restored room does not load: %v", err)
		}
		if b, _, _ := again.Encode(); !bytes.Equal(a, b) {
			t.Fatalf("checkpoints differ:\n%x\n%x", a, b)
		}
		p := &fakePort{handle: 1}
		for m := range r.Members {
			at := peer.Attach{Member: wire.MemberID(m.ID()), Generation: r.members[wire.MemberID(m.ID())].gen, Why: peer.WhyResume, Incarnation: 3}
			r.Attach(start, p, at)
		}
		r.All().Send([]byte("x"))
		r.Tick(start.Add(time.Hour))
		r.Flush(start.Add(time.Hour))
		if err := r.Failure(); err != nil {
			t.Fatal(err)
		}
	})
}

func (r *Room) contents() *saved {
	s := contents.New().(*saved)
	r.fill(s)
	return s
}
