package arena

import "github.com/limpet-games/limpet/rooms"

const (
	gripAfter = 8 // ticks of stillness on a rock until a limpet clings
	washEvery = 8 // ticks between shells that the flood banks or takes
	bankWorth = 2
	pearl     = 5
)

func (p *Player) clinging() bool { return p.Grip >= gripAfter }

// cling counts stillness on a rock.
func (p *Player) cling() {
	switch {
	case rockAt(p.X, p.Y) < 0 || p.speed() > 1:
		p.Grip = 0
	case p.Grip < gripAfter:
		p.Grip++
	}
}

// gather picks up the shells under a player.
func (g *pool) gather(p *Player) {
	const reach = playerRadius + shellRadius
	for i := 0; i < len(g.state.Shells); {
		sh := g.state.Shells[i]
		if dx, dy := sh.X-p.X, sh.Y-p.Y; dx*dx+dy*dy > reach*reach {
			i++
			continue
		}
		g.state.takeShell(i)
		p.Score++
		if sh.Pearl {
			p.Score += pearl - 1
		}
		p.String = min(p.String+1, maxString)
		g.shells.Taken = append(g.shells.Taken, taken{sh.ID, uint32(p.Slot), p.Score})
	}
}

// ram lets a player in a dash knock shells off somebody who isn't clinging.
func (g *pool) ram(r rooms.Room, p *Player) {
	if p.speed() < ramSpeed {
		return
	}
	for i := range g.state.Players {
		o := &g.state.Players[i]
		dx, dy := o.X-p.X, o.Y-p.Y
		if o.ID == p.ID || g.away[o.Slot] || length(dx, dy) > 2*playerRadius {
			continue
		}
		e := ramEvent{T: "ram", By: p.Slot, On: o.Slot}
		if !o.clinging() {
			e.Lost = (o.String + 2) / 3
			o.VX, o.VY = p.VX*0.6, p.VY*0.6
			o.place(o.X+o.VX, o.Y+o.VY)
			g.scatter(r, o, e.Lost)
		}
		p.VX, p.VY = p.VX*-0.3, p.VY*-0.3
		send(r.All(), e)
		return
	}
}

// scatter strews n shells of a player's string around it, as far as there is
// room for them.
func (g *pool) scatter(r rooms.Room, p *Player, n uint8) {
	p.String -= n
	for range n {
		if len(g.state.Shells) >= maxShells {
			return
		}
		x := p.X + (r.Rand().Float64()-0.5)*160
		y := p.Y + (r.Rand().Float64()-0.5)*160
		g.shells.New = append(g.shells.New, g.state.addShell(x, y, false).event())
	}
}

// part keeps limpets from sitting on each other. Who clings or is away stays.
func (g *pool) part() {
	players := g.state.Players
	for i := range players {
		for j := i + 1; j < len(players); j++ {
			a, b := &players[i], &players[j]
			dx, dy := b.X-a.X, b.Y-a.Y
			d := length(dx, dy)
			if d >= 2*playerRadius {
				continue
			}
			if d == 0 {
				dx, dy, d = 1, 0, 1
			}
			push := (2*playerRadius - d) / d / 4
			if !g.fixed(a) {
				a.place(a.X-dx*push, a.Y-dy*push)
			}
			if !g.fixed(b) {
				b.place(b.X+dx*push, b.Y+dy*push)
			}
		}
	}
}

// fixed players are not moved by others or by the water.
func (g *pool) fixed(p *Player) bool { return p.clinging() || g.away[p.Slot] }

// flow carries along who isn't holding on, and brings new shells.
func (g *pool) flow(r rooms.Room) {
	dx, dy := current(g.state.Clock)
	if dx != 0 || dy != 0 {
		for i := range g.state.Players {
			if p := &g.state.Players[i]; !g.fixed(p) {
				p.place(p.X+dx, p.Y+dy)
			}
		}
	}
	if g.state.Clock%3 == 0 && len(g.state.Shells) < restShells {
		x, y := openWater(r.Rand())
		g.shells.New = append(g.shells.New, g.state.addShell(x, y, r.Rand().IntN(12) == 0).event())
	}
}

// wash is the high tide's doing: shell by shell it turns the strings of those
// who cling into score, and takes the strings of the others.
func (g *pool) wash(r rooms.Room) {
	if g.state.Clock%washEvery != 0 || !sweeping(g.state.Clock) {
		return
	}
	for i := range g.state.Players {
		p := &g.state.Players[i]
		switch {
		case p.String == 0 || g.away[p.Slot]:
		case p.clinging():
			p.String--
			p.Score += bankWorth
		default:
			g.scatter(r, p, 1)
		}
	}
}
