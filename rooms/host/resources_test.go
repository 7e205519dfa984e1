package host

import (
	"strings"
	"testing"

	"github.com/limpet-games/limpet/rooms"
)

func TestFullnessDoesNotFlicker(t *testing.T) {
	f := fullness{maxRooms: 100}
	for i, c := range []struct {
		rooms  int
		memory uint8
		full   bool
	}{
		{99, 94, false}, {100, 10, true}, {96, 10, true}, {95, 10, false}, {99, 10, false},
		{10, 95, true}, {10, 90, true}, {10, 89, false}, {10, 94, false},
	} {
		if got := f.now(c.rooms, c.memory); got != c.full {
			t.Errorf("step %d, %d rooms, memory %d %%: full is %v", i, c.rooms, c.memory, got)
		}
	}
}

func TestMemoryIsMeasured(t *testing.T) {
	if memoryMost() == 0 || memoryUsed() > 100 {
		t.Errorf("memory: %d %% of %d bytes", memoryUsed(), memoryMost())
	}
}

func TestHostLabels(t *testing.T) {
	got, err := parseLabels([]string{"region=eu", "gpu="})
	if err != nil || got["region"] != "eu" || len(got) != 2 {
		t.Errorf("labels %v, %v", got, err)
	}
	for _, bad := range []string{"region", "=eu", "k=" + strings.Repeat("v", 65)} {
		if checkLabel(bad) == nil {
			t.Errorf("label %q was taken", bad)
		}
	}
}

func TestKindsPlacementIsChecked(t *testing.T) {
	k := rooms.Kind{Name: "k", New: func() rooms.Handler { return nil }}
	for _, p := range []rooms.Placement{{}, rooms.LeastLoaded(), rooms.ByHash(), rooms.AtRandom(), rooms.ByLabels("region", "zone")} {
		k.Placement = p
		if _, err := k.Checked(); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []rooms.Placement{rooms.ByLabels(), rooms.ByLabels(""), rooms.ByLabels("a", "b", "c", "d", "e")} {
		k.Placement = p
		if _, err := k.Checked(); err == nil {
			t.Errorf("%s was taken", p)
		}
	}
}
