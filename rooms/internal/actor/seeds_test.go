package actor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// fataler ends a world that broke a promise.
type fataler interface {
	Fatalf(format string, args ...any)
}

// dice decide what happens in a world.
type dice interface {
	fataler
	Fatal(args ...any)
	between(lo, hi int, label string) int
}

// drawn are rapid's, which shrinks what fails.
type drawn struct{ *rapid.T }

func (d drawn) between(lo, hi int, label string) int { return rapid.IntRange(lo, hi).Draw(d.T, label) }

// seeded are those of one seed: the same again, and far cheaper.
type seeded struct {
	testing.TB
	seed uint64
	rng  *rand.Rand
}

func newSeeded(t testing.TB, seed uint64) seeded {
	return seeded{t, seed, rand.New(rand.NewPCG(seed, 1))}
}

func (d seeded) between(lo, hi int, _ string) int { return lo + d.rng.IntN(hi-lo+1) }

func (d seeded) Fatalf(format string, args ...any) {
	d.TB.Helper()
	d.TB.Fatalf("seed %d: %s", d.seed, fmt.Sprintf(format, args...))
}

// hearing is a port that hears the codes of refusals.
type hearing func(wire.Code)

func (h hearing) Send(kind peer.Kind, head, tail []byte) {
	if _, e, err := peer.DecodeRefused(append(slices.Clone(head), tail...)); kind == peer.KindRefused && err == nil {
		h(e.Code)
	}
}

func (hearing) Handle() wire.Handle { return 1 }

// TestMillionSteps takes rooms through a million events, each world from a seed of
// its own: resumes, races, moves, crashes and late frames of rooms that are
// checkpointed, and the same of journaled ones with a store that lags.
func TestMillionSteps(t *testing.T) {
	worlds, lives := 380, 2000
	if underRace {
		worlds, lives = worlds/40, lives/40
	}
	t.Run("checkpoints", func(t *testing.T) {
		t.Parallel()
		var n tally
		for seed := range uint64(worlds) {
			d := newSeeded(t, seed)
			w := newWorld(d)
			for range 2000 {
				w.step(d.rng.Uint32())
			}
			w.settle()
			n.add(w, 2000)
		}
		n.check(t)
	})
	t.Run("journals", func(t *testing.T) {
		t.Parallel()
		crashes, moves := 0, 0
		for seed := range uint64(lives) {
			d := newSeeded(t, seed)
			w := newJournalWorld(d, seed%2 == 0)
			acts := w.acts()
			names := slices.Sorted(maps.Keys(acts))
			for range 130 {
				acts[names[d.rng.IntN(len(names))]]()
			}
			crashes, moves = crashes+w.crash, moves+w.moves
		}
		t.Logf("%d steps, %d crashes, %d moves", 130*lives, crashes, moves)
		if crashes == 0 || moves == 0 {
			t.Error("nothing crashed or moved")
		}
	})
}
