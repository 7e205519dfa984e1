package host

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

// A checkpoint that does not load keeps its room from starting; it is not taken
// for an empty room, not written over, and harms nobody else.
func TestDamagedCheckpointIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newMemStore(), "a#1", tallyKind())
		l, p, _ := joined(t, h, "tally/one")
		p.moves(1, 3)
		p.waitAck(t, 3, 3)
		h.linkDown(l)
		h.find("tally/one").kill(errFenced)
		until(t, "copy is out", func() bool { return h.find("tally/one") == nil })
		mem := h.memStore()
		mem.mu.Lock()
		damaged := bytes.Clone(mem.rooms["tally/one"].data)
		damaged[len(damaged)-1] ^= 1
		mem.rooms["tally/one"].data = damaged
		mem.mu.Unlock()
		wantCode(t, h.Host, "tally/one", wire.ModeJoinOrCreate, wire.CodeUnavailable)
		activate(t, h.Host, "tally/two", wire.ModeCreate, 0)
		time.Sleep(time.Second)
		mem.mu.Lock()
		defer mem.mu.Unlock()
		if !bytes.Equal(mem.rooms["tally/one"].data, damaged) {
			t.Error("the damaged checkpoint was written over")
		}
	})
}

// aged tells the age of the checkpoint it was started from.
type aged struct {
	tally
	started chan rooms.Start
}

func (g *aged) Start(_ rooms.Room, why rooms.Start) { g.started <- why }

func TestRestoredRoomKnowsTheAgeOfItsCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan rooms.Start, 2)
		k := tallyKind()
		k.New = func() rooms.Handler { return &aged{started: started} }
		h := start(t, newMemStore(), "a#1", k)
		l, p, _ := joined(t, h, "tally/one")
		p.moves(1, 1)
		p.waitAck(t, 1, 1)
		h.linkDown(l)
		h.find("tally/one").kill(errFenced)
		until(t, "copy is out", func() bool { return h.find("tally/one") == nil })
		time.Sleep(time.Hour)
		activate(t, h.Host, "tally/one", wire.ModeJoin, 0)
		if why := <-started; why.Why != rooms.Created {
			t.Errorf("first start: %+v", why)
		}
		if why := <-started; why.Why != rooms.Restored || why.Age < time.Hour-2*time.Second || why.Age > time.Hour+2*time.Second {
			t.Errorf("second start: %+v, want an hour's age", why)
		}
	})
}

func TestStateEnvelope(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123)
	at, body, err := openState(sealState(nil, now, []byte("state")))
	if err != nil || !at.Equal(now) || string(body) != "state" {
		t.Errorf("opened as %v %q %v", at, body, err)
	}
	if _, _, err := openState(make([]byte, 7)); err == nil {
		t.Error("a truncated state is taken")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := testConfig(&view{memStore: newMemStore()}, "a#1", []rooms.Kind{tallyKind()})
	for name, break_ := range map[string]func(*Config){
		"no node":       func(c *Config) { c.Node = "" },
		"no store":      func(c *Config) { c.Store = nil },
		"no kinds":      func(c *Config) { c.Kinds = nil },
		"bad kind":      func(c *Config) { c.Kinds[0].Name = "Tally" },
		"kind twice":    func(c *Config) { c.Kinds = append(c.Kinds, c.Kinds[0]) },
		"small mailbox": func(c *Config) { c.MailboxBytes = 100 },
	} {
		c := good
		c.Kinds = append([]rooms.Kind(nil), good.Kinds...)
		break_(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}

// All metrics register together, and tell what the host has.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &view{memStore: newMemStore()}
		cfg := testConfig(v, "a#1", []rooms.Kind{tallyKind(), fleetingKind()})
		reg := prometheus.NewPedanticRegistry()
		cfg.Metrics = reg
		h := startWith(t, v, cfg)
		_, p, _ := joined(t, h, "tally/one")
		p.moves(1, 5)
		p.waitAck(t, 5, 5)
		for name, want := range map[string]float64{
			"limpet_rooms": 1, "limpet_members": 1, "limpet_members_connected": 1, "limpet_host_lease": 1,
			"limpet_checkpoint_unsaved_seconds": 0,
		} {
			if got := value(t, reg, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if got := value(t, reg, "limpet_room_events_total"); got < 6 {
			t.Errorf("%v events, want at least 6", got)
		}
	})
}

// value sums a metric over its labels.
func value(t *testing.T, reg prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
