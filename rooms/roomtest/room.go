// Package roomtest drives a room of a kind in a plain test: with players, with
// time under the test's control, and with crashes; without a network and
// without sleeping. Runs of the same test are the same.
//
// It runs the handler in the room that hosts run it in, and its players do
// what Limpet's clients do: they number their inputs, keep them until they are
// durable, and send them again to a room that was restored. Whatever goes
// against the promises of package rooms fails the test.
//
//	func TestScore(t *testing.T) {
//		rt := roomtest.New(t, mygame.Kind())
//		ann := rt.Join("ann", nil)
//		ann.Input(`{"shoot":1}`)
//		rt.Advance(time.Second)
//		if m := ann.Next(); m.String() != `{"hit":true}` { ... }
//	}
package roomtest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// T is the part of testing.TB that is used.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Room is a room with its players. It is for one goroutine, the test's.
type Room struct {
	t       T
	kind    rooms.Kind
	actor   *actor.Room
	now     time.Time
	epoch   wire.Epoch
	born    wire.Incarnation
	gates   [2]*gate // so that audiences are split as between real gateways
	players []*Player
	saved   []byte
	savedAt time.Time
	journal journal // of a journaled kind
}

// New starts a room of the kind, named "test". Its time starts at
// 2030-01-01 00:00 UTC. It logs which fields within the state are not saved.
func New(t T, kind rooms.Kind) *Room {
	t.Helper()
	checked, err := kind.Checked()
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := actor.Check(kind); err != nil {
		t.Fatalf("%v", err)
	}
	for _, field := range actor.Unsaved(checked) {
		t.Logf("%s within the state is not saved", field)
	}
	rt := &Room{t: t, kind: checked, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	rt.begin()
	return rt
}

// begin starts an incarnation.
func (rt *Room) begin() {
	rt.t.Helper()
	rt.born = wire.Incarnation(rt.epoch + 1)
	rt.saved = nil
	rt.journal = journal{seen: map[moment]uint64{}}
	rt.boot()
}

// boot starts a copy of the room from what is saved.
func (rt *Room) boot() {
	rt.t.Helper()
	rt.epoch++
	for i := range rt.gates {
		rt.gates[i] = &gate{rt: rt, handle: wire.Handle(i + 1)}
	}
	cfg := actor.Config{
		Kind: rt.kind, Room: wire.Room(rt.kind.Name, "test"), Host: "test", Seed: 1,
		Incarnation: rt.born, Epoch: rt.epoch,
		Saved: rt.saved, Age: rt.now.Sub(rt.savedAt),
		Log: slog.New(slog.NewTextHandler(testLog{rt.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if rt.kind.Durability.Journaled() {
		cfg.Journal, cfg.JournalBase, cfg.Trace = rt.journal.entries, rt.journal.base, rt.trace
		rt.journal.replaying = len(rt.journal.entries) > 0
		rt.journal.before, rt.journal.differs, rt.journal.atEnd = "the start", "", false
	}
	cfg.StateVersion = rt.kind.StateVersion
	room, err := actor.New(cfg, rt.now)
	if err != nil {
		rt.t.Fatalf("%v", err)
	}
	rt.actor = room
	rt.replayed()
	rt.settle()
}

// Now is the room's time.
func (rt *Room) Now() time.Time { return rt.now }

// Handler is the running room's handler; a crash or restart makes another. A
// test in the kind's own package can look into it.
func (rt *Room) Handler() rooms.Handler { return rt.actor.Handler() }

// Len is how many members there are, dropped ones too.
func (rt *Room) Len() int { return rt.actor.Len() }

// Labels are the room's labels.
func (rt *Room) Labels() map[string]string { return rt.actor.Listing().Labels }

// Numbers are what the handler's Measure gives now.
func (rt *Room) Numbers() map[string]float64 {
	rt.t.Helper()
	numbers := map[string]float64{}
	for _, n := range rt.actor.Measure(rt.now, nil) {
		numbers[n.Name] = n.Value
	}
	rt.settle()
	return numbers
}

// Open says whether the room takes new members.
func (rt *Room) Open() bool { return rt.actor.Listing().Open }

// Closed says whether the room has closed itself, and its reason.
func (rt *Room) Closed() (reason string, closed bool) {
	_, reason, closed = rt.actor.Ended()
	return reason, closed
}

// Advance lets time pass: ticks, timers and ends of graces happen on the way,
// each at its own time.
func (rt *Room) Advance(d time.Duration) {
	rt.t.Helper()
	end := rt.now.Add(d)
	for stuck := 0; ; stuck++ {
		next := rt.actor.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(rt.now) {
			rt.now, stuck = next, 0
		}
		if stuck > 1000 {
			rt.t.Fatalf("timers without a delay set themselves again and again at %s", rt.now)
		}
		rt.actor.Tick(rt.now)
		rt.settle()
	}
	rt.now = end
	rt.settle()
}

// Checkpoint saves the room as its host would at the kind's interval. It fails
// the test if the state does not come back as it was.
func (rt *Room) Checkpoint() {
	rt.t.Helper()
	if rt.kind.Durability.Interval() == 0 {
		rt.t.Fatalf("kind %s keeps no checkpoints", rt.kind.Name)
	}
	rt.save()
	rt.settle()
}

func (rt *Room) save() {
	rt.t.Helper()
	body, cut, err := rt.actor.Encode()
	if err != nil {
		rt.t.Fatalf("%v", err)
	}
	if err := actor.CheckState(rt.kind, body); err != nil {
		rt.t.Fatalf("checkpoint of kind %s: %v", rt.kind.Name, err)
	}
	if err := rt.actor.CheckOlder(); err != nil {
		rt.t.Fatalf("checkpoint of kind %s for the build before: %v", rt.kind.Name, err)
	}
	rt.saved, rt.savedAt = body, rt.now
	rt.journal.base, rt.journal.entries = cut.Journal(), nil
	clear(rt.journal.seen) // no replay goes behind this
	rt.actor.Saved(rt.now, cut)
}

// Crash has the room's host die. The room is restored from its last
// checkpoint, or created again where there is none; connected players stay
// connected, and send again what was not durable. Messages that a player has
// not read yet are gone, as they are when a client is told of a rewind. A
// journaled room is where it was, and nobody notices; one whose handler did
// something else when it was replayed fails the test, which names the first
// event that had another outcome. In a kind without checkpoints every membership ends, and the room is new.
func (rt *Room) Crash() {
	rt.t.Helper()
	if rt.kind.Durability.Interval() == 0 {
		for _, p := range rt.players {
			p.end(wire.CodeEnded, "that room is over")
		}
		rt.begin()
		return
	}
	if rt.kind.Durability.Journaled() {
		rt.crashed()
	}
	rt.boot()
	for _, p := range rt.players {
		if p.conn != nil {
			p.attach(peer.WhyReattach)
		}
	}
	rt.settle()
}

// Restart moves the room to another host as planned: Stop is called, a
// checkpoint saved, and the room restored from it. Nothing is undone.
func (rt *Room) Restart() {
	rt.t.Helper()
	rt.actor.Stop(rt.now)
	rt.check()
	if rt.kind.Durability.Interval() > 0 {
		rt.save()
	}
	rt.Crash()
}

// settle ends an event: acks go out, urgent checkpoints are saved, players
// answer what they were asked.
func (rt *Room) settle() {
	rt.t.Helper()
	for {
		rt.check()
		if rt.actor.Urgent() {
			rt.save()
		}
		rt.actor.Flush(rt.now)
		rt.keep()
		i := slices.IndexFunc(rt.players, func(p *Player) bool { return p.resendFrom > 0 })
		if i < 0 {
			return
		}
		rt.players[i].resend()
	}
}

// check reports what the room's code did wrong.
func (rt *Room) check() {
	rt.t.Helper()
	if err := rt.actor.Failure(); err != nil {
		stack := ""
		if p, ok := err.(*actor.Panic); ok {
			stack = string(p.Stack)
		}
		rt.t.Fatalf("%v\n%s", err, stack)
	}
	if n := rt.actor.Oversize(); n > 0 {
		rt.t.Fatalf("a message of more than %d bytes was sent: a host drops it", wire.MaxPayload)
	}
}

// testLog writes the room's log to the test's.
type testLog struct{ t T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// payload is what a player sends: bytes and strings as they are, nil as
// nothing, anything else as JSON.
func payload(t T, v any) []byte {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%v", fmt.Errorf("encode input: %w", err))
	}
	return b
}
