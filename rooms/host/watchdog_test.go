package host

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// holdingKind's rooms hang on an input "hold" until the channel is closed.
func holdingKind(hold chan struct{}) rooms.Kind {
	k := tallyKind()
	k.New = func() rooms.Handler { return &tally{hold: hold} }
	return k
}

// A room whose code does not return is back within two seconds, without the
// input at fault, whose sender hears of it; other rooms notice nothing; and what
// the call comes to later reaches nobody.
func TestStuckRoomIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		h := start(t, newMemStore(), "a#1", holdingKind(hold))
		l, p, first := joined(t, h, "tally/one")
		activate(t, h.Host, "tally/two", wire.ModeCreate, 0)
		q := newPlayer(l, l.ear, "tally/two", 8, 200)
		q.attach(t, peer.WhyJoin, wire.Attach{})
		p.moves(1, 2)
		p.waitAck(t, 2, 2)
		began := time.Now()
		p.input(3, "hold")
		q.moves(1, 3)
		q.waitAck(t, 3, 3)
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		h.back(t, "tally/one", first.at.Epoch)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the room was back after %s", took)
		}
		l.forget()
		a := p.attach(t, peer.WhyReattach, first.at)
		if a.kind != peer.KindAttached || a.at.Applied != 2 {
			t.Fatalf("attach: %v %+v", a, a.at)
		}
		p.input(3, "hold")
		p.moves(4, 4)
		p.waitAck(t, 4, 4)
		l.wait(t, "input failed", isTold(wire.TypeFailed))
		if h.stuck.count() != 1 {
			t.Errorf("%d calls are known to hang, want 1", h.stuck.count())
		}
		close(hold)
		until(t, "the call is back", func() bool { return h.stuck.count() == 0 })
		time.Sleep(time.Second)
		if got := l.messages(7); !slices.Equal(got, []string{"move 4"}) {
			t.Errorf("messages: %q, want none of the copy that was given up", got)
		}
	})
}

// Where another host could take the room, it goes there, although the lease of
// the one where it hangs lives on.
func TestStuckRoomGoesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		mem := newMemStore()
		v := &view{memStore: mem}
		cfg := testConfig(v, "a#1", []rooms.Kind{holdingKind(hold)})
		cfg.Place = func(directory.Want, func(directory.NodeID) bool) (*directory.Node, error) {
			return &directory.Node{ID: "b#1"}, nil
		}
		a := startWith(t, v, cfg)
		b := start(t, mem, "b#1", holdingKind(hold))
		l, p, first := joined(t, a, "tally/one")
		p.moves(1, 2)
		p.waitAck(t, 2, 2)
		p.input(3, "hold")
		l.wait(t, "gone", isGone(7, wire.CodeNone))
		wantCode(t, a.Host, "tally/one", wire.ModeJoin, wire.CodeUnavailable)
		loc := activate(t, b.Host, "tally/one", wire.ModeJoin, first.at.Epoch)
		if loc.Epoch <= first.at.Epoch {
			t.Errorf("epoch %d after %d", loc.Epoch, first.at.Epoch)
		}
		close(hold)
		until(t, "the call is back", func() bool { return a.stuck.count() == 0 })
	})
}

// sleeper's Start does not return.
type sleeper struct {
	tally
	until chan struct{}
}

func (s *sleeper) Start(rooms.Room, rooms.Start) { <-s.until }

func TestRoomThatDoesNotStartIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, hold := tallyKind(), make(chan struct{})
		k.New = func() rooms.Handler { return &sleeper{until: hold} }
		v := &view{memStore: newMemStore()}
		cfg := testConfig(v, "a#1", []rooms.Kind{k})
		cfg.ClaimWithin = time.Minute
		h := startWith(t, v, cfg)
		began := time.Now()
		wantCode(t, h.Host, "tally/one", wire.ModeJoinOrCreate, wire.CodeUnavailable)
		if took := time.Since(began); took > startWithin+time.Second {
			t.Errorf("answered after %s", took)
		}
		close(hold)
	})
}

// A kind is not started any more when several of its rooms keep failing and no
// input is to blame.
func TestKindQuarantine(t *testing.T) {
	f, now := newFaults(), time.Now()
	fail := func(id wire.RoomID, blameless bool) {
		for i := range failuresMost {
			f.note(id, now.Add(time.Duration(i-failuresMost+1)*time.Second), blameless)
		}
	}
	for _, id := range []wire.RoomID{"k/a", "k/b", "k/c", "k/d"} {
		fail(id, false)
	}
	fail("k/e", true)
	fail("k/e", true)
	fail("other/a", true)
	fail("k/f", true)
	if f.kindQuarantined("k", now) != 0 {
		t.Error("quarantined for two rooms, or for inputs that are at fault")
	}
	f.note("k/g", now, true)
	if f.kindQuarantined("k", now) != 0 {
		t.Error("quarantined for a room that failed once")
	}
	fail("k/g", true)
	if got := f.kindQuarantined("k", now.Add(time.Minute)); got != failuresWithin-time.Minute {
		t.Errorf("quarantined for %s", got)
	}
	if f.kindQuarantined("other", now) != 0 || f.kindQuarantined("k", now.Add(failuresWithin)) != 0 {
		t.Error("quarantine of another kind, or for too long")
	}
}
