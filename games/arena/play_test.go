package arena

import (
	"math"
	"testing"
	"time"

	"github.com/limpet-games/limpet/rooms/roomtest"
)

// These play the arena in the room that hosts run it in.

func playerOf(rt *roomtest.Room, p *roomtest.Player) *Player {
	return rt.Handler().(*pool).state.player(p.ID())
}

func drift(a, b *Player) float64 { return math.Hypot(a.X-b.X, a.Y-b.Y) }

// lastFull is the newest full state among what a player has not read.
func lastFull(t *testing.T, p *roomtest.Player) *fullEvent {
	t.Helper()
	var last *fullEvent
	for _, m := range p.Messages() {
		var e fullEvent
		if m.Class == roomtest.Reliable {
			if m.JSON(&e); e.T == "full" {
				last = &e
			}
		}
	}
	return last
}

func TestCrashKeepsNamePlaceAndScore(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("", map[string]any{"name": "Ann"})
	bob := rt.Join("", map[string]any{"name": "Bob"})
	n := uint16(0)
	play := func(steps int) {
		dx := int8(100) // into the pool
		if playerOf(rt, ann).X > Width/2 {
			dx = -100
		}
		for i := range steps {
			n++
			ann.Input(stepInput(n, dx, int8(i*2), i == 20))
			rt.Advance(time.Second / TickRate)
		}
	}
	play(30)
	rt.Checkpoint()
	play(15) // of which the checkpoint knows nothing
	before := *playerOf(rt, ann)
	ann.Messages()
	rt.Crash()
	after := playerOf(rt, ann)
	if after.Name != "Ann" || after.Step != before.Step || drift(after, &before) > 1e-9 {
		t.Errorf("after the crash %+v, before it %+v", *after, before)
	}
	if after.Score < before.Score {
		t.Errorf("score fell from %d to %d", before.Score, after.Score)
	}
	full := lastFull(t, ann)
	if full == nil || full.You != ann.ID() || len(full.Players) != 2 || full.Players[1].Name != "Bob" {
		t.Fatalf("full state after the crash: %+v", full)
	}
	if ann.Resyncs() != 1 || bob.Resyncs() != 1 {
		t.Errorf("resyncs %d and %d, want 1 each", ann.Resyncs(), bob.Resyncs())
	}
	play(10)
	if drift(playerOf(rt, ann), &before) < 20 {
		t.Error("play does not go on")
	}
}

func TestJoinAfterTheCheckpointSurvivesACrash(t *testing.T) {
	rt := roomtest.New(t, Kind())
	rt.Join("", map[string]any{"name": "Ann"})
	rt.Checkpoint()
	bob := rt.Join("", map[string]any{"name": "Bob"})
	rt.Crash()
	if p := playerOf(rt, bob); p == nil || p.Name != "Bob" {
		t.Fatalf("after the crash Bob is %+v", p)
	}
	rt.Advance(time.Second)
	if rt.Labels()["players"] != "2" {
		t.Errorf("labels are %v", rt.Labels())
	}
}

func TestDroppedPlayerIsAGhostForTheGrace(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("", map[string]any{"name": "Ann"})
	bob := rt.Join("", map[string]any{"name": "Bob"})
	rt.Advance(time.Second)
	was := *playerOf(rt, bob)
	bob.Drop()
	rt.Advance(25 * time.Second) // through the high tide
	if p := playerOf(rt, bob); p == nil || p.X != was.X || p.Y != was.Y {
		t.Fatalf("the ghost is %+v, was %+v", p, was)
	}
	bob.Back()
	if code, _ := bob.Ended(); code != "" {
		t.Fatalf("Bob is out: %s", code)
	}
	bob.Drop()
	rt.Advance(31 * time.Second)
	if playerOf(rt, bob) != nil {
		t.Error("still there after the grace")
	}
	if p := playerOf(rt, ann); p == nil {
		t.Error("Ann is gone too")
	}
}

func TestPlannedRestartUndoesNothing(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann := rt.Join("", map[string]any{"name": "Ann"})
	for n := range uint16(20) {
		ann.Input(stepInput(n+1, 100, 20, false))
	}
	rt.Advance(time.Second)
	was := *playerOf(rt, ann)
	rt.Restart()
	if p := playerOf(rt, ann); drift(p, &was) > 1e-9 || p.Score != was.Score {
		t.Errorf("after the restart %+v, before it %+v", *p, was)
	}
	ann.Leave()
	if code, _ := ann.Ended(); code != "left" || rt.Len() != 0 {
		t.Errorf("left with %q, %d members", code, rt.Len())
	}
}

func TestSnapshotsReachEverybody(t *testing.T) {
	rt := roomtest.New(t, Kind())
	ann, bob := rt.Join("", nil), rt.Join("", nil)
	rt.Advance(time.Second)
	latest := func(p *roomtest.Player) string {
		for _, m := range p.Messages() {
			if m.Class == roomtest.Latest && m.Key == snapshotKey {
				return m.String()
			}
		}
		return ""
	}
	if a, b := latest(ann), latest(bob); a == "" || a != b {
		t.Errorf("snapshots of %d and %d bytes, want the same", len(a), len(b))
	}
}
