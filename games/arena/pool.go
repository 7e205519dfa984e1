package arena

import (
	"strconv"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// pool is one room of the arena.
type pool struct {
	state State

	// Below is rebuilt as the room runs.
	frame   []byte // the snapshot, reused every tick
	away    [MaxPlayers + 1]bool
	shells  shellsEvent // since the last tick
	listed  standing
	labeled bool
}

func newPool() *pool { return &pool{shells: shellsEvent{T: "shells"}} }

// State is what is checkpointed.
func (g *pool) State() any { return &g.state }

// Start fills a new pool, and after a restore gives players the steps that
// they made while the room was down.
func (g *pool) Start(r rooms.Room, why rooms.Start) {
	for len(g.state.Shells) < restShells {
		x, y := openWater(r.Rand())
		g.state.addShell(x, y, r.Rand().IntN(12) == 0)
	}
	if why.Why == rooms.Restored {
		for i := range g.state.Players {
			g.state.Players[i].Budget = stepBudget
		}
	}
	g.relabel(r)
}

// Join takes a player in at a free place.
func (g *pool) Join(r rooms.Room, m rooms.Member, data []byte) error {
	f, err := readProfile(data)
	if err != nil {
		return err
	}
	if len(g.state.Players) >= MaxPlayers {
		return rooms.Refuse("this pool is full")
	}
	hue := uint16(r.Rand().IntN(360))
	if f.Hue != nil {
		hue = *f.Hue % 360
	}
	x, y := openWater(r.Rand())
	g.state.Players = append(g.state.Players, Player{ID: m.ID(), Slot: g.state.freeSlot(),
		Name: f.Name, Hue: hue, X: x, Y: y, Budget: stepBudget})
	p := &g.state.Players[len(g.state.Players)-1]
	send(r.AllBut(m), p.event("join"))
	g.relabel(r)
	return nil
}

// Sync sends a player the whole pool.
func (g *pool) Sync(r rooms.Room, m rooms.Member) { send(m, g.full(r, m)) }

// Leave takes a player's limpet out.
func (g *pool) Leave(r rooms.Room, m rooms.Member, _ rooms.Reason) {
	p := g.state.player(m.ID())
	if p == nil {
		return
	}
	gone := p.event("leave")
	g.state.remove(m.ID())
	send(r.All(), gone)
	g.relabel(r)
}

// Input takes one step of a player, or its wish for the full state. What does
// not decode is ignored: the player only harms itself.
func (g *pool) Input(r rooms.Room, m rooms.Member, data []byte) {
	p := g.state.player(m.ID())
	if p == nil || len(data) == 0 {
		return
	}
	if w, ok := decodeStep(data); ok {
		g.step(r, p, w)
	} else if len(data) == 1 && data[0] == opSync && g.state.Clock >= p.Synced {
		p.Synced = g.state.Clock + TickRate
		g.Sync(r, m)
	}
}

func (g *pool) step(r rooms.Room, p *Player, w wish) {
	p.Step = w.number
	if p.Budget < 1 {
		return
	}
	p.Budget--
	p.move(w)
	g.ram(r, p)
	g.gather(p)
}

// Tick moves what moves by itself and shows everybody the pool.
func (g *pool) Tick(r rooms.Room, dt time.Duration) {
	for range max(1, int(dt*TickRate/time.Second)) {
		g.advance(r)
	}
	if g.state.Clock%TickRate == 0 {
		g.relabel(r)
	}
	if len(g.shells.Taken)+len(g.shells.New) > 0 {
		send(r.All(), &g.shells)
		g.shells.Taken, g.shells.New = g.shells.Taken[:0], g.shells.New[:0]
	}
	g.frame = appendSnapshot(g.frame[:0], &g.state, &g.away)
	r.All().Latest(snapshotKey, g.frame)
}

func (g *pool) advance(r rooms.Room) {
	g.state.Clock++
	for i := range g.state.Players {
		p := &g.state.Players[i]
		g.away[p.Slot] = away(r, p.ID)
		p.Budget = min(p.Budget+stepAccrue, stepBudget)
		p.cling()
	}
	g.part()
	g.flow(r)
	g.wash(r)
}

// standing is what the room list tells of a pool.
type standing struct {
	players int
	leader  string
	score   uint32
}

// Measure gives operators what is in the pool and how it stands.
func (g *pool) Measure(_ rooms.Room, set func(string, float64)) {
	set("shells", float64(len(g.state.Shells)))
	top := 0.0
	if p := g.state.leader(); p != nil {
		top = float64(p.Score)
	}
	set("top_score", top)
}

// relabel says in the room list who plays here, when that has changed.
func (g *pool) relabel(r rooms.Room) {
	now := standing{players: len(g.state.Players)}
	if p := g.state.leader(); p != nil {
		now.leader, now.score = p.Name, p.Score
	}
	if now == g.listed && g.labeled {
		return
	}
	g.listed, g.labeled = now, true
	labels := map[string]string{"players": strconv.Itoa(now.players)}
	if now.players > 0 {
		labels["leader"] = now.leader
		labels["score"] = strconv.FormatUint(uint64(now.score), 10)
	}
	r.SetLabels(labels)
}

var (
	_ rooms.Starter  = (*pool)(nil)
	_ rooms.Ticker   = (*pool)(nil)
	_ rooms.Syncer   = (*pool)(nil)
	_ rooms.Stateful = (*pool)(nil)
)
