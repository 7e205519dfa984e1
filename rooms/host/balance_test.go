package host

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

func balanceNode(i int, change func(*directory.Node)) *directory.Node {
	n := &directory.Node{ID: directory.MakeNodeID(fmt.Sprint("h", i), 1), Role: directory.RoleHost, Kinds: []string{"tally"}}
	if change != nil {
		change(n)
	}
	return n
}

func tallies(string) bool { return true }

func loaded(n *directory.Node, rooms, members int) *directory.Node {
	n.Load.Rooms, n.Load.Members = uint16(rooms), uint32(members)
	return n
}

func weights(n, weight int) (all []weighed) {
	for i := range n {
		all = append(all, weighed{directory.Want{Room: wire.Room("tally", fmt.Sprint(i))}, weight})
	}
	return all
}

func TestBalancePlansNeverFillWhoMustTakeNothing(t *testing.T) {
	hot := loaded(balanceNode(0, nil), 100, 0)
	for name, change := range map[string]func(*directory.Node){
		"drains":          func(n *directory.Node) { n.Draining = true },
		"is full":         func(n *directory.Node) { n.Load.Full = true },
		"has other kinds": func(n *directory.Node) { n.Kinds = []string{"chat"} },
		"has other labels": func(n *directory.Node) {
			n.Placements, n.Labels = map[string]string{"tally": "labels:region"}, map[string]string{"region": "us"}
		},
	} {
		only := weigh(hot.ID, hot.Load, []*directory.Node{hot, balanceNode(1, change)}, func(k string) bool { return k == "tally" })
		rooms := weights(100, 1)
		for i := range rooms {
			rooms[i].Labels = map[string]string{"region": "eu"}
		}
		if plan := only.plan(rooms); len(plan) != 0 {
			t.Errorf("%d rooms go to a host that %s", len(plan), name)
		}
	}
	b := weigh(hot.ID, hot.Load, []*directory.Node{hot, balanceNode(1, nil), loaded(balanceNode(2, nil), 50, 0)}, tallies)
	plan := b.plan(weights(100, 1))
	to := map[string]int{}
	for _, s := range plan {
		to[s.to.ID.Name()]++
	}
	if b.mean != 51 || to["h1"] < 48 || to["h1"] > 51 || to["h2"] > 1 {
		t.Errorf("mean %d, %v", b.mean, to)
	}
	if plan := b.plan(weights(3, 60)); len(plan) != 0 {
		t.Error("a room that would tip the scales moves")
	}
	busy := hot.Load
	busy.CPU = 100 // counts thrice: then fewer rooms make the difference
	if p := weigh(hot.ID, busy, []*directory.Node{hot, balanceNode(1, nil)}, tallies); p.load < 280 || p.plan(weights(100, 1)) == nil {
		t.Errorf("a host without processors to spare counts %d", p.load)
	}
}

// balanced simulates hosts that rebalance by themselves, on reports that are up
// to some seconds old, as those of small clusters are.
type balanced struct {
	t     *testing.T
	rand  *rand.Rand
	now   time.Duration
	hosts []*balancedHost
	pace  time.Duration // of reports
	moves int
	twice int // moves of a room that had moved before
}

type balancedHost struct {
	node     *directory.Node
	shown    *directory.Node // as others have it
	balancer balancer
	rooms    map[wire.RoomID]*balancedRoom
	steps    []transfer
	round    time.Duration // when it looks again
	next     time.Duration // when it may move a room again
	report   time.Duration
	arrives  time.Duration // of the last report
	reported directory.Load
	recent   []time.Duration             // of moves
	given    map[directory.NodeID]uint64 // reports of hosts when a room last moved there
}

type balancedRoom struct {
	weighed
	came  time.Duration
	moved bool
}

func newBalanced(t *testing.T, seed uint64, hosts, rooms int) *balanced {
	s := &balanced{t: t, rand: rand.New(rand.NewPCG(seed, seed)), pace: reportEvery}
	for range hosts {
		s.join(rooms)
	}
	return s
}

func (s *balanced) join(rooms int) {
	i := len(s.hosts)
	h := &balancedHost{node: balanceNode(i, nil), rooms: map[wire.RoomID]*balancedRoom{}, given: map[directory.NodeID]uint64{}}
	h.balancer = balancer{host: &Host{log: zerolog.Nop()}, policy: true}
	h.round, h.report = s.now+rand5(s.rand), s.now
	for r := range rooms {
		id := wire.Room("tally", fmt.Sprintf("%d.%d", i, r))
		h.rooms[id] = &balancedRoom{weighed: weighed{directory.Want{Room: id}, 1 + s.rand.IntN(8)}, came: -time.Hour}
	}
	h.count()
	shown := *h.node
	h.shown = &shown
	s.hosts = append(s.hosts, h)
}

func rand5(r *rand.Rand) time.Duration {
	return balanceEvery*4/5 + time.Duration(r.Int64N(int64(balanceEvery*2/5)))
}

func (h *balancedHost) count() {
	members := 0
	for _, r := range h.rooms {
		members += r.weight - 1
	}
	loaded(h.node, len(h.rooms), members)
}

// run lets time pass; each, where not nil, is called every tick.
func (s *balanced) run(long time.Duration, each func()) {
	const tick = 20 * time.Millisecond
	for end := s.now + long; s.now < end; s.now += tick {
		if each != nil {
			each()
		}
		for _, h := range s.hosts {
			s.tick(h)
		}
	}
}

func (s *balanced) tick(h *balancedHost) {
	if s.now >= h.report {
		h.reported, h.arrives, h.report = h.node.Load, s.now+time.Duration(200+s.rand.IntN(1000))*time.Millisecond, s.now+s.pace
	}
	if h.arrives > 0 && s.now >= h.arrives {
		shown := *h.shown
		shown.Load, h.arrives = h.reported, 0
		shown.Reports++
		h.shown = &shown
	}
	at := func() balance {
		var peers []*directory.Node
		for _, o := range s.hosts {
			peers = append(peers, o.shown)
		}
		return weigh(h.node.ID, h.node.Load, peers, tallies)
	}
	switch {
	case len(h.steps) > 0 && s.now >= h.next:
		st := h.steps[0]
		if h.steps = h.steps[1:]; at().allows(st, st.Want) {
			s.move(h, st)
		}
		if len(h.steps) == 0 {
			h.round = s.now + rand5(s.rand)
		}
	case len(h.steps) == 0 && s.now >= h.round:
		b := at()
		if h.round = s.now + rand5(s.rand); h.balancer.begins(b.standing) {
			fresh := h.balancer.acted.unknown(b, time.Unix(0, int64(s.now)))
			if h.steps = fresh.plan(s.movable(h)); !b.above(balanceEnd) || len(h.steps) == 0 && len(fresh.shares) == len(b.shares) {
				h.steps = nil
				h.balancer.end(endedEven)
			}
			for _, st := range h.steps {
				if last, any := h.given[st.to.ID]; any && st.to.Reports <= last {
					s.t.Fatalf("%s acts twice on report %d of %s", h.node.ID, last, st.to.ID)
				}
			}
		}
	}
}

func (s *balanced) movable(h *balancedHost) (all []weighed) {
	for _, r := range h.rooms {
		if s.now-r.came >= balanceStays {
			all = append(all, r.weighed)
		}
	}
	return all
}

func (s *balanced) move(h *balancedHost, st transfer) {
	r := h.rooms[st.Room]
	if r == nil {
		return
	}
	for _, o := range s.hosts {
		if o.node.ID == st.to.ID {
			delete(h.rooms, st.Room)
			if r.moved {
				s.twice++
			}
			r.came, r.moved = s.now, true
			o.rooms[st.Room] = r
			h.given[o.node.ID] = o.shown.Reports
			h.balancer.acted.gave(o.shown, time.Unix(0, int64(s.now)), balanceEvery+2*s.pace)
			h.count()
			o.count()
		}
	}
	s.moves++
	h.next = s.now + time.Second/balanceRate
	h.recent = slices.DeleteFunc(append(h.recent, s.now), func(at time.Duration) bool { return at <= s.now-time.Second })
	if len(h.recent) > balanceRate {
		s.t.Errorf("%d rooms left %s within a second", len(h.recent), h.node.ID)
	}
}

// spread is how far the host that is farthest from the mean is, in percent of it.
func (s *balanced) spread() int {
	far, mean := 0, s.mean()
	for _, h := range s.hosts {
		far = max(far, h.node.Load.Score()-mean, mean-h.node.Load.Score())
	}
	return far * 100 / mean
}

// TestHostsThatJoinGetTheirShare has hosts join others that are loaded: rooms
// move there at the pace, none of them twice, nobody is filled above what would
// make it begin, and then all is quiet.
func TestHostsThatJoinGetTheirShare(t *testing.T) {
	seeds := uint64(20)
	if underRace {
		seeds = 2
	}
	for seed := range seeds {
		s := newBalanced(t, seed, 3+int(seed%6)*int(seed%6), 60+int(seed*10))
		s.run(30*time.Second, nil)
		if s.moves > 0 {
			t.Errorf("seed %d: %d rooms moved among equals", seed, s.moves)
		}
		before := 0
		for _, h := range s.hosts {
			before += len(h.rooms)
		}
		s.join(0)
		if seed%3 == 0 {
			s.join(0)
		}
		s.run(3*time.Minute, func() {
			for _, h := range s.hosts[len(s.hosts)-1:] {
				if b := weigh(h.node.ID, h.node.Load, nil, tallies); b.load > 0 && h.node.Load.Score()*100 > s.mean()*(100+balanceStart) {
					t.Fatalf("seed %d: the newcomer is filled to %d of a mean of %d", seed, h.node.Load.Score(), s.mean())
				}
			}
		})
		even, moved := s.spread(), s.moves
		s.run(10*time.Minute, nil)
		if even > balanceStart || s.moves > moved || s.twice > 0 || moved == 0 || moved > before/2 {
			t.Errorf("seed %d: %d%% above the mean after %d moves, %d of rooms that had moved, %d more in the quiet", seed, even, moved, s.twice, s.moves-moved)
		}
	}
}

// TestOldReportsAreActedOnOnce has a host join a cluster whose reports are as rare
// as those of a thousand nodes: hosts look at one some twenty times.
func TestOldReportsAreActedOnOnce(t *testing.T) {
	s := newBalanced(t, 1, 6, 100)
	s.pace = directory.LoadPace(1000)
	s.run(2*s.pace, nil)
	s.join(0)
	newcomer := s.hosts[len(s.hosts)-1]
	s.run(6*s.pace, func() {
		if most := s.mean() * (100 + balanceStart) / 100; newcomer.node.Load.Score() > most {
			t.Fatalf("the newcomer is filled to %d of a mean of %d", newcomer.node.Load.Score(), s.mean())
		}
	})
	if even := s.spread(); even > balanceStart || s.moves == 0 || s.twice > 0 {
		t.Errorf("%d%% from the mean after %d moves, %d of rooms that had moved", even, s.moves, s.twice)
	}
}

func (s *balanced) mean() int {
	total := 0
	for _, h := range s.hosts {
		total += h.node.Load.Score()
	}
	return total / len(s.hosts)
}

// TestPlayersWhoComeAndGoMoveNoRooms has members come and go all the time.
func TestPlayersWhoComeAndGoMoveNoRooms(t *testing.T) {
	t.Parallel()
	s := newBalanced(t, 1, 5, 100)
	s.run(10*time.Minute, func() {
		h := s.hosts[s.rand.IntN(len(s.hosts))]
		for _, r := range h.rooms { // any
			r.weight = 1 + s.rand.IntN(8)
			break
		}
		h.count()
	})
	if s.moves > 0 {
		t.Errorf("%d rooms moved", s.moves)
	}
}
