package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
)

const (
	balanceEvery = 5 * time.Second // a host compares itself with the others so often
	balanceStays = time.Minute     // that a room which moved here is not moved on
	balanceRate  = 10              // rooms a second, unless told otherwise
	// balancePatience is what rooms' code is told that it may put a move off for:
	// one that asks to wait is left alone until the next round.
	balancePatience = 30 * time.Second
	maxSteps        = 100 // moves that a plan or a status names
)

// BalanceOptions say how rooms move to hosts that carry less. Zero options take
// their defaults.
type BalanceOptions struct {
	Rate float64 // rooms a second at most; default 10
}

// The states of rebalancing.
const (
	BalanceIdle    = "idle"    // the host compares itself with the others, or waits to be told
	BalanceRunning = "running" // rooms move away until the host is close to the mean
)

// BalanceStatus is how the host compares with the others, what it does about it,
// and what the last rebalancing came to.
type BalanceStatus struct {
	Host     string        `json:"host"`
	State    string        `json:"state"`
	Policy   bool          `json:"policy"` // it begins by itself
	Load     int           `json:"load"`   // rooms and members; more where processors or memory run short
	Mean     int           `json:"mean"`   // of the hosts that serve its kinds
	Hosts    int           `json:"hosts"`
	Moved    int           `json:"moved"` // by the rebalancing that runs, or ran last
	Failures int           `json:"failures"`
	Pause    Pauses        `json:"pause_ms"`
	Ended    string        `json:"ended,omitempty"` // why the last one did
	Moves    []PlannedMove `json:"moves"`           // that it would make now; the first 100
	MovesAll int           `json:"moves_all"`
}

// PlannedMove is a room's way.
type PlannedMove struct {
	Room wire.RoomID `json:"room"`
	To   string      `json:"to"`
}

// Why a rebalancing ended.
const (
	endedEven    = "the host is close to the mean, or nothing that is left fits elsewhere"
	endedDrain   = "the host drains"
	endedStopped = "stopped"
)

// balancer moves rooms to hosts that carry less.
type balancer struct {
	host   *Host
	policy bool
	wake   chan struct{} // capacity 1
	turn   sync.Mutex    // held for a round
	acted  actedOn       // guarded by turn

	mu       sync.Mutex
	running  bool // guarded by mu, as all below
	rate     float64
	hot      int // rounds in a row in which the host was clearly above the mean
	moved    int
	failures int
	pauses   []time.Duration
	ended    string
}

func newBalancer(h *Host) *balancer {
	return &balancer{host: h, policy: h.cfg.Rebalance, rate: balanceRate, wake: make(chan struct{}, 1)}
}

// run compares and moves until ctx is done.
func (b *balancer) run(ctx context.Context) error {
	if b.host.cfg.Peers == nil {
		return nil
	}
	next := time.NewTimer(balancePause())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-next.C:
		}
		b.round(ctx)
		next.Reset(balancePause())
	}
}

// balancePause is spread, so that hosts don't all look at the same time.
func balancePause() time.Duration { return balanceEvery*4/5 + rand.N(balanceEvery*2/5) }

// round compares this host with the others, and moves what it has too much.
func (b *balancer) round(ctx context.Context) {
	b.turn.Lock()
	defer b.turn.Unlock()
	b.look(ctx)
}

// look is a round of who holds the turn.
func (b *balancer) look(ctx context.Context) {
	if !b.host.balances() {
		b.end(endedDrain)
		return
	}
	at := b.host.weigh()
	if !b.begins(at.standing) {
		return
	}
	fresh := b.acted.unknown(at, time.Now())
	steps := fresh.plan(b.host.movable())
	switch {
	case !at.above(balanceEnd), len(steps) == 0 && len(fresh.shares) == len(at.shares):
		b.end(endedEven)
	case len(steps) > 0:
		b.move(ctx, steps)
	}
}

// begins reports whether rooms are to move: somebody said so, or the difference
// is clear, and was before.
func (b *balancer) begins(at standing) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hot++; !at.above(balanceStart) {
		b.hot = 0
	}
	if b.policy && b.hot > 1 && !b.running {
		b.startLocked(balanceRate)
		b.host.log.Info().Int("load", at.load).Int("mean", at.mean).Msg("host carries more than others: rooms move")
	}
	return b.running
}

func (b *balancer) startLocked(rate float64) {
	b.running, b.rate = true, rate
	b.moved, b.failures, b.pauses, b.ended = 0, 0, nil, ""
}

func (b *balancer) end(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running {
		b.host.log.Info().Int("moved", b.moved).Str("why", why).Msg("rebalancing is over")
		b.running, b.hot, b.ended = false, 0, why
	}
}

// pace is the time from one move to the next; false: none is to follow.
func (b *balancer) pace() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(float64(time.Second) / b.rate), b.running && b.host.balances()
}

// move carries a plan out, room after room, at the pace, and as long as it is
// right: it may take a while.
func (b *balancer) move(ctx context.Context, steps []transfer) {
	for _, s := range steps {
		began := time.Now()
		pace, on := b.pace()
		if !on {
			return
		}
		if !b.host.weigh().allows(s, s.Want) {
			continue
		}
		m, err := b.host.move(ctx, s.Room, s.to.ID, s.to.Link, balancePatience, causeRebalance)
		b.count(m, err)
		if err == nil {
			b.gave(s.to.ID)
		}
		if sleep(ctx, pace-time.Since(began)); ctx.Err() != nil {
			return
		}
	}
}

// gave notes that a room has moved to a host.
func (b *balancer) gave(id directory.NodeID) {
	peers := b.host.cfg.Peers()
	if i := slices.IndexFunc(peers, func(n *directory.Node) bool { return n.ID == id }); i >= 0 {
		b.acted.gave(peers[i], time.Now(), quietFor(len(peers)))
	}
}

func (b *balancer) count(m Moved, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.moved++
		if len(b.pauses) < maxPauses {
			b.pauses = append(b.pauses, m.Pause)
		}
	case !errors.Is(err, errNotReady):
		b.failures++
	}
}

// balances reports whether rooms may leave for other reasons than a drain.
func (h *Host) balances() bool {
	return !h.Draining() && !h.restarting.Load() && !h.storeAway()
}

// weigh compares this host with the others of its kinds.
func (h *Host) weigh() balance {
	peers := h.cfg.Peers()
	var own directory.Load
	for _, n := range peers {
		if n.ID == h.cfg.Node {
			own = n.Load
		}
	}
	l := h.Load()
	own.Rooms, own.Members = clipRooms(l.Rooms), clipMembers(l.Members)
	return weigh(h.cfg.Node, own, peers, func(kind string) bool { _, ok := h.kinds[kind]; return ok })
}

// movable are the rooms that may move to even the load out: those that have not
// just come, and whose place is not given by their name.
func (h *Host) movable() (all []weighed) {
	now := time.Now()
	for _, r := range h.all() {
		came := r.arrived && now.Sub(r.began) < balanceStays
		if came || r.over.Load() || r.going.Load() || r.kind.Placement == rooms.ByHash() {
			continue
		}
		w := r.want()
		all = append(all, weighed{w, 1 + r.info(now).Members})
	}
	return all
}

// Rebalance has rooms move to hosts that carry less until this one is close to
// the mean, in the background.
func (h *Host) Rebalance(o BalanceOptions) (BalanceStatus, error) {
	switch {
	case h.cfg.Peers == nil:
		return BalanceStatus{}, wire.Refuse(wire.CodeUnavailable, "this host knows no others")
	case !h.balances():
		return BalanceStatus{}, wire.Refuse(wire.CodeUnavailable, "the host drains, restarts, or has no store: nothing is rebalanced")
	}
	if o.Rate <= 0 {
		o.Rate = balanceRate
	}
	b := h.balancer
	s := h.BalanceState() // the plan, before anything moves
	b.mu.Lock()
	b.startLocked(o.Rate)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	s.State, s.Moved, s.Failures, s.Pause, s.Ended = BalanceRunning, 0, 0, Pauses{}, ""
	return s, nil
}

// StopRebalance has no more rooms move than the one that is on its way. By
// itself the host begins again only when it is clearly above the mean for some
// time.
func (h *Host) StopRebalance() BalanceStatus {
	h.balancer.end(endedStopped)
	return h.BalanceState()
}

// BalanceState tells how the host compares with others, what it would move, and
// what was moved.
func (h *Host) BalanceState() BalanceStatus {
	b := h.balancer
	s := BalanceStatus{Host: string(h.cfg.Node), State: BalanceIdle, Policy: b.policy, Moves: []PlannedMove{}}
	if h.cfg.Peers != nil {
		at := h.weigh()
		s.Load, s.Mean, s.Hosts = at.load, at.mean, at.hosts
		var steps []transfer
		if at.above(balanceEnd) {
			steps = at.plan(h.movable())
		}
		s.MovesAll = len(steps)
		for _, st := range steps[:min(len(steps), maxSteps)] {
			s.Moves = append(s.Moves, PlannedMove{st.Room, st.to.ID.Name()})
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running {
		s.State = BalanceRunning
	}
	s.Moved, s.Failures, s.Pause, s.Ended = b.moved, b.failures, pauses(b.pauses), b.ended
	return s
}
