package host

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/limpet-games/limpet/internal/query"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// measured says how many inputs it got, and then something that is not allowed.
type measured struct{ tally }

func (g *measured) Measure(r rooms.Room, set func(string, float64)) {
	set("got", float64(len(g.state.Got)))
	set("Not Allowed", 1)
	r.All().Send([]byte("must not be heard"))
	r.SetLabels(map[string]string{"must": "not stick"})
}

func measuredKind() rooms.Kind {
	return rooms.Kind{Name: "measured", New: func() rooms.Handler { return &measured{} },
		Durability: rooms.Checkpoint(100 * time.Millisecond)}
}

func scanTable(t *testing.T, h *Host, text string) string {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Scan(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(p.Table().Rows)
}

func TestScanSeesWhatRoomsPublish(t *testing.T) {
	t.Parallel()
	h := startLinked(t, newMemStore(), "a#1", measuredKind(), tickingKind())
	activate(t, h.Host, "measured/one", wire.ModeJoinOrCreate, 0)
	activate(t, h.Host, "measured/two", wire.ModeJoinOrCreate, 0)
	activate(t, h.Host, "ticking/clock", wire.ModeJoinOrCreate, 0)
	g := dialGateway(t, "g#1", "a#1", h.addr)
	p := newPlayer(g, g.ear, "measured/one", 7, 100)
	p.attach(t, peer.WhyJoin, wire.Attach{})
	p.moves(1, 5)
	p.waitAck(t, 5, 5)
	// Numbers are measured again within a second, although nothing more happens.
	until(t, "numbers are up to date", func() bool {
		return scanTable(t, h.Host, "room, members, connected, inputs, num.got where kind = measured") ==
			"[[measured/one 1 1 5 5] [measured/two 0 0 0 0]]"
	})
	if got := scanTable(t, h.Host, "count, sum(num.got), max(inputs) where host = a by kind"); got != "[[measured 2 5 5] [ticking 1 - 0]]" {
		t.Error(got)
	}
	until(t, "the clock ticks", func() bool {
		return scanTable(t, h.Host, "room where ticks > 3 and lateness < 60000") == "[[ticking/clock]]"
	})
	if got := g.messages(7); !slices.Equal(got, numbered(1, 5)) {
		t.Errorf("messages: %q", got)
	}
	if info := h.List(); info[0].Labels != nil {
		t.Errorf("labels: %v", info[0].Labels)
	}
	r := h.find("measured/one")
	until(t, "the room is clean: measuring makes no changes", func() bool { return r.info(time.Now()).Unsaved == 0 })
	if saves := r.info(time.Now()).Saves; saves > 8 { // a checkpoint for each measure would be no end
		t.Errorf("%d checkpoints", saves)
	}
}
