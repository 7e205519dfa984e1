package host

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// second is tally as its next build has it: its state has another form.
type second struct {
	tally
	wrapped struct{ Inner *tallyState }
	fails   bool
}

func (g *second) State() any { return &g.wrapped }

func (g *second) Upgrade(from uint32, decode func(any) error) error {
	if from != 0 {
		return fmt.Errorf("version %d", from)
	}
	return decode(&g.state)
}

func (g *second) Downgrade(to uint32) (any, error) {
	if g.fails {
		return nil, errors.New("there is no such form")
	}
	return &g.state, nil
}

func secondKind() rooms.Kind {
	k := tallyKind()
	k.StateVersion = 1
	k.New = func() rooms.Handler {
		g := &second{}
		g.wrapped.Inner = &g.state
		return g
	}
	return k
}

// storedVersion is the state version of what the store holds of a room.
func (s *memStore) storedVersion(t *testing.T, id wire.RoomID) uint32 {
	t.Helper()
	h, err := snapshot.ReadHeader(s.saved(id).data)
	if err != nil {
		t.Fatal(err)
	}
	return h.StateVersion
}

// TestNewBuildWritesTheOlderVersion: a room that was played, moved and restored by
// a new build goes on under the former one, until the new one is confirmed.
func TestNewBuildWritesTheOlderVersion(t *testing.T) {
	mem := newMemStore()
	a, b := startLinked(t, mem, hostA, tallyKind()), startLinked(t, mem, hostB, secondKind())
	activate(t, a.Host, "tally/x", wire.ModeCreate, 0)
	gw := dialGateway(t, "gateway#0000000000000003", hostA, a.addr)
	p := newPlayer(gw, gw.ear, "tally/x", 1, 11)
	at := p.attach(t, peer.WhyJoin, wire.Attach{}).at
	p.input(1, "one")
	p.waitAck(t, 1, 1)
	play := func(on *linked, n wire.Input) {
		t.Helper()
		gw.dial(t, string(on.cfg.Node), on.addr)
		gw.forget()
		if h := p.attach(t, peer.WhyReattach, at); h.kind != peer.KindAttached || h.at.Applied != n-1 {
			t.Fatalf("on %s: %v, applied %d", on.cfg.Node, h, h.at.Applied)
		}
		p.input(n, fmt.Sprint(n))
		p.waitAck(t, n, n)
	}
	if _, err := a.Move(t.Context(), "tally/x", hostB, b.addr, 0); err != nil {
		t.Fatal(err)
	}
	play(b, 2)
	if v := mem.storedVersion(t, "tally/x"); v != 0 {
		t.Errorf("written in version %d, want 0", v)
	}
	if _, err := b.Move(t.Context(), "tally/x", hostA, a.addr, 0); err != nil {
		t.Fatalf("back to the former build: %v", err)
	}
	play(a, 3)
	if _, err := a.Move(t.Context(), "tally/x", hostB, b.addr, 0); err != nil {
		t.Fatal(err)
	}
	if names, err := b.Confirm(t.Context()); err != nil || len(names) != 1 {
		t.Fatalf("confirmed %v, %v", names, err)
	}
	until(t, "it is saved in its own version", func() bool { return mem.storedVersion(t, "tally/x") == 1 })
	play(b, 4)
	if _, err := b.Move(t.Context(), "tally/x", hostA, a.addr, 0); err == nil || !strings.Contains(err.Error(), "newer than this build") {
		t.Errorf("to the former build: %v", err)
	}
	if names, err := b.Confirm(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("confirmed twice: %v, %v", names, err)
	}
	c := startLinked(t, mem, "c#0000000000000004", secondKind())
	until(t, "another host finds it confirmed", func() bool { return len(c.versions.unconfirmed()) == 0 })
}

// TestStateThatHasNoOlderForm: the room plays on, and operators hear of it.
func TestStateThatHasNoOlderForm(t *testing.T) {
	k := secondKind()
	k.New = func() rooms.Handler { return &second{fails: true} }
	h := start(t, newMemStore(), hostA, k)
	activate(t, h.Host, "tally/x", wire.ModeCreate, 0)
	link := newPipe(h.Host)
	p := newPlayer(link, link.ear, "tally/x", 7, 100)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	p.input(1, "one")
	p.waitAck(t, 1, 0)
	until(t, "it is counted", func() bool { return h.Failures().Refused > 0 })
}

func TestWhatTheNextProgramChanges(t *testing.T) {
	for name, c := range map[string]struct {
		now, next     KindDescription
		written       uint32
		older, oneWay bool
		says          string
	}{
		"the same":          {now: kindAt(2, 2), next: kindAt(2, 2), written: 2},
		"can go back":       {now: kindAt(1, 1), next: kindAt(2, 1), written: 1, says: "written in 1 until"},
		"one way":           {now: kindAt(1, 1), next: kindAt(2, 2), written: 1, oneWay: true, says: "one way"},
		"marked as such":    {now: kindAt(1, 1), next: KindDescription{"k", 2, 2, true}, written: 1, says: "one way"},
		"two at once":       {now: kindAt(1, 1), next: kindAt(3, 2), written: 1, oneWay: true, says: "one way"},
		"goes back":         {now: kindAt(2, 1), next: kindAt(1, 1), written: 1, says: "goes back from state version 2 to 1, in which"},
		"behind confirmed":  {now: kindAt(2, 1), next: kindAt(1, 1), written: 2, older: true, says: "will not load"},
		"on, not confirmed": {now: kindAt(2, 1), next: kindAt(3, 2), written: 1, says: "written in 2 until"},
	} {
		t.Run(name, func(t *testing.T) {
			var s RestartState
			s.compare(c.now, c.next, c.written)
			if s.Older != c.older || (len(s.OneWay) > 0) != c.oneWay || !strings.Contains(strings.Join(s.Changes, ";"), c.says) || c.says == "" && s.Changes != nil {
				t.Errorf("%+v", s)
			}
		})
	}
}

func kindAt(version, writes uint32) KindDescription {
	return KindDescription{Kind: "k", StateVersion: version, Writes: writes}
}

// TestConfirmIsolatedKinds: a rollout of kinds that run in other processes is
// confirmed by their host, which is the one that restarts.
func TestConfirmIsolatedKinds(t *testing.T) {
	t.Parallel()
	mem := newMemStore()
	own := tallyKind()
	own.Name = "own"
	a := startLinkedWith(t, mem, hostA, func(c *Config) { c.Served = []rooms.Kind{own, secondKind()} }, own)
	child := startLinked(t, mem, hostB, secondKind())
	if v := a.versions.writes(a.versions.kinds["tally"]); v != 0 {
		t.Errorf("written in version %d before it is confirmed, want 0", v)
	}
	if names, err := a.Confirm(t.Context()); err != nil || len(names) != 1 || names[0] != "tally" {
		t.Fatalf("confirmed %v, %v", names, err)
	}
	if v := a.versions.writes(a.versions.kinds["tally"]); v != 1 {
		t.Errorf("written in version %d, want 1", v)
	}
	until(t, "the kind's process finds it confirmed", func() bool { return len(child.versions.unconfirmed()) == 0 })
}
