package directory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

var chat = Want{Room: "chat/r"}

func TestPlacementFavoursTheLessLoaded(t *testing.T) {
	hosts := someHosts(4)
	hosts[0].Load = Load{Rooms: 1000}
	hosts[1].Draining = true
	hosts[2].Kinds = []string{"arena"}
	hosts = append(hosts, &Node{ID: MakeNodeID("h99", 1), Role: RoleHost, Kinds: []string{"chat"}})
	v := viewOf(hosts...)
	p := newPlacer(rand.New(rand.NewPCG(1, 2)))
	got := map[string]int{}
	for range 1000 {
		n, err := p.pick(v, chat, func(NodeID) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		got[n.ID.Name()]++
	}
	// h003 and h99 are idle, h000 has 1000 rooms: two draws that leave out both
	// idle ones are impossible, so h000 gets none, and own placements even the rest.
	if got["h000"] != 0 || got["h001"] != 0 || got["h002"] != 0 || got["h003"] < 450 || got["h99"] < 450 {
		t.Errorf("placements %v", got)
	}
}

func TestPlacementCountsAreDatedByReports(t *testing.T) {
	v := viewOf(someHosts(2)...)
	p := newPlacer(rand.New(rand.NewPCG(1, 2)))
	for range 100 {
		p.pick(v, chat, func(id NodeID) bool { return id.Name() == "h001" })
	}
	if got := p.loadLocked(v.Hosts[0]); got != 101 {
		t.Fatalf("load %d after 100 placements", got)
	}
	reported := *v.Hosts[0]
	reported.Load.Rooms, reported.Reports = 100, 1
	if got := p.loadLocked(&reported); got != 101 {
		t.Errorf("load %d after the report came in, want 101: placements counted twice", got)
	}
}

func TestPlacementAvoidsWhoDoesNotAnswer(t *testing.T) {
	v := viewOf(someHosts(2)...)
	p := newPlacer(rand.New(rand.NewPCG(1, 2)))
	none := func(NodeID) bool { return false }
	first, _ := p.pick(v, chat, none)
	p.avoid(first.ID)
	for range 50 {
		if n, err := p.pick(v, chat, none); err != nil || n.ID == first.ID {
			t.Fatalf("placed on %v, %v after it did not answer", n, err)
		}
	}
	if n, err := p.pick(v, chat, func(id NodeID) bool { return id != first.ID }); err != nil || n.ID != first.ID {
		t.Errorf("not placed on the only one left: %v", err)
	}
}

func TestPlacementIsDeterministic(t *testing.T) {
	run := func() (all []NodeID) {
		p := newPlacer(rand.New(rand.NewPCG(7, 7)))
		v := viewOf(someHosts(5)...)
		for range 50 {
			n, _ := p.pick(v, chat, func(NodeID) bool { return false })
			all = append(all, n.ID)
		}
		return all
	}
	if !slices.Equal(run(), run()) {
		t.Error("the same seed placed differently")
	}
}

func TestNoHostSaysWhy(t *testing.T) {
	draining := someHosts(1)
	draining[0].Draining = true
	for _, c := range []struct {
		v    *View
		kind string
		want wire.Code
	}{
		{viewOf(), "chat", wire.CodeUnavailable},
		{viewOf(someHosts(2)...), "chess", wire.CodeUnknownKind},
		{viewOf(draining...), "chat", wire.CodeKindUnavailable},
	} {
		_, err := newPlacer(rand.New(rand.NewPCG(1, 2))).pick(c.v, Want{Room: wire.Room(c.kind, "r")}, func(NodeID) bool { return false })
		if got := wire.CodeOf(err); got == nil || got.Code != c.want {
			t.Errorf("%d hosts, kind %s: %v, want %s", len(c.v.Hosts), c.kind, err, c.want)
		}
	}
}

func none(NodeID) bool { return false }

// placeAll places rooms on hosts that report every so many placements, and says
// how many each got.
func placeAll(t *testing.T, hosts []*Node, w func(i int) Want, rooms, every int) map[string]int {
	t.Helper()
	p := newPlacer(rand.New(rand.NewPCG(3, 4)))
	v := viewOf(hosts...)
	got := map[string]int{}
	for i := range rooms {
		n, err := p.pick(v, w(i), none)
		if err != nil {
			t.Fatal(err)
		}
		got[n.ID.Name()]++
		if (i+1)%every == 0 {
			v = reported(v, got)
		}
	}
	return got
}

// reported is the view in which hosts have said what they carry by now.
func reported(v *View, rooms map[string]int) *View {
	nodes := map[NodeID]*Node{}
	for _, old := range v.Hosts {
		n := *old
		n.Load.Rooms, n.Reports = uint16(rooms[n.ID.Name()]), n.Reports+1
		nodes[n.ID] = &n
	}
	return newView(v, Partitions, nodes, v.kinds, time.Now())
}

func uneven(got map[string]int) float64 {
	sum, most := 0, 0
	for _, n := range got {
		sum, most = sum+n, max(most, n)
	}
	return float64(most) * float64(len(got)) / float64(sum)
}

func TestPlacementBalances(t *testing.T) {
	room := func(i int) Want { return Want{Room: wire.RoomID(fmt.Sprint("chat/", i))} }
	for _, c := range []struct {
		how   string
		hosts int
		most  float64 // of the mean
	}{
		{"least-loaded", 3, 1.10}, {"least-loaded", 30, 1.15}, {"least-loaded", 200, 1.25},
		{"hash", 3, 1.10}, {"hash", 30, 1.20}, {"random", 30, 1.20},
	} {
		if raceFactor > 1 && c.hosts > 30 {
			continue // one goroutine: there is nothing to race with
		}
		hosts := someHosts(c.hosts)
		for _, h := range hosts {
			h.Placements = map[string]string{"chat": c.how}
		}
		got := placeAll(t, hosts, room, 500*c.hosts, 100)
		most := uneven(got)
		t.Logf("%-12s on %3d hosts, 500 rooms each: most / mean %.3f", c.how, c.hosts, most)
		if len(got) != c.hosts || most > c.most {
			t.Errorf("%s on %d hosts: most / mean %.3f, want at most %.2f", c.how, c.hosts, most, c.most)
		}
	}
}

// Two choices fill a host that came late without giving it every new room.
func TestPlacementFillsANewcomerGently(t *testing.T) {
	hosts := someHosts(5)
	for _, h := range hosts[:4] {
		h.Load = Load{Rooms: 1000, Members: 4000}
	}
	got := placeAll(t, hosts, func(int) Want { return chat }, 1000, 1000)
	if n := got["h004"]; n < 300 || n > 500 {
		t.Errorf("the newcomer got %d of 1000 rooms, want about 2 in 5: %v", n, got)
	}
}

func TestPlacementByHashStays(t *testing.T) {
	hosts := someHosts(6)
	for _, h := range hosts {
		h.Placements = map[string]string{"chat": "hash"}
	}
	p := newPlacer(rand.New(rand.NewPCG(1, 2)))
	before, after := viewOf(hosts...), viewOf(hosts[:5]...)
	moved := 0
	for i := range 2000 {
		w := Want{Room: wire.RoomID(fmt.Sprint("chat/", i))}
		a, _ := p.pick(before, w, none)
		b, _ := p.pick(after, w, none)
		if a.ID != b.ID {
			moved++
			if a.ID != hosts[5].ID {
				t.Fatalf("%s moved from %s, which is still there", w.Room, a.ID)
			}
		}
	}
	if moved < 250 || moved > 420 {
		t.Errorf("%d of 2000 rooms moved when one of six hosts left", moved)
	}
}

// Whatever the hosts look like, a room is placed on one that may take it, or
// the error is true.
func TestPlacementKeepsTheRules(t *testing.T) {
	for seed := range uint64(2000 / raceFactor) {
		r := rand.New(rand.NewPCG(seed, 1))
		hosts := someHosts(1 + r.IntN(6))
		how := []string{"", "hash", "random", "labels:region", "labels:region,gpu"}[r.IntN(5)]
		for _, h := range hosts {
			h.Placements = map[string]string{"chat": how}
			h.Draining, h.Load.Full = r.IntN(3) == 0, r.IntN(3) == 0
			h.Load.Rooms, h.Load.CPU, h.Load.Memory = uint16(r.IntN(50)), uint8(r.IntN(101)), uint8(r.IntN(101))
			h.Build = []string{"v1", "v2"}[r.IntN(2)]
			h.Labels = map[string]string{"region": []string{"eu", "us"}[r.IntN(2)]}
			if r.IntN(3) == 0 {
				h.Kinds = []string{"arena"}
			}
		}
		w := Want{Room: "chat/r", Build: []string{"", "v2"}[r.IntN(2)]}
		if r.IntN(2) == 0 {
			w.Labels = map[string]string{"region": "eu", "map": "desert"}
		}
		tried := hosts[r.IntN(len(hosts))].ID
		may := func(n *Node) bool {
			return n.ID != tried && !n.Draining && !n.Load.Full && n.Serves("chat") && (w.Build == "" || n.Build == w.Build) &&
				(w.Labels == nil || how == "" || how == "hash" || how == "random" || n.Labels["region"] == "eu")
		}
		n, err := newPlacer(r).pick(viewOf(hosts...), w, func(id NodeID) bool { return id == tried })
		if err != nil && slices.ContainsFunc(hosts, may) {
			t.Fatalf("seed %d: %v, and there is a host", seed, err)
		}
		if err == nil && !may(n) {
			t.Fatalf("seed %d: placed on %+v for %+v", seed, n, w)
		}
	}
}

// Loads that differ by less than reports can tell don't steer.
func TestPlacementHasHysteresis(t *testing.T) {
	hosts := someHosts(2)
	hosts[0].Load, hosts[1].Load = Load{Rooms: 500, Members: 500}, Load{Rooms: 460, Members: 500}
	v := viewOf(hosts...)
	got := map[NodeID]int{}
	for seed := range uint64(1000) {
		n, _ := newPlacer(rand.New(rand.NewPCG(seed, 2))).pick(v, chat, none)
		got[n.ID]++
	}
	if n := got[hosts[0].ID]; n < 400 || n > 600 {
		t.Errorf("%d of 1000 on the one that reports 4 %% more", n)
	}
	for what, change := range map[string]func(*Load){
		"processors are busy": func(l *Load) { l.CPU = 95 },
		"memory runs short":   func(l *Load) { l.Memory = 95 },
	} {
		busy := *hosts[1]
		change(&busy.Load)
		v = viewOf(hosts[0], &busy)
		for seed := range uint64(100) {
			if n, _ := newPlacer(rand.New(rand.NewPCG(seed, 2))).pick(v, chat, none); n.ID == busy.ID {
				t.Fatalf("placed on a host whose %s", what)
			}
		}
	}
}
