package host

import (
	"context"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/query"
)

// scanCheck is how many rooms are looked at between two looks at the clock.
const scanCheck = 512

// Scan puts a query to the rooms that live here, as each last published itself:
// no room's loop is waited for. It ends with ctx.
func (h *Host) Scan(ctx context.Context, q *query.Query) (*query.Partial, error) {
	p := q.NewPartial()
	now, build := time.Now(), daemon.Version()
	host := h.cfg.Node.Name()
	var seen query.Room // reused: it holds what was copied under the room's lock
	for i, r := range h.all() {
		if i%scanCheck == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.observe(now, &seen)
		seen.Host, seen.Build = host, build
		p.Add(&seen)
	}
	return p, nil
}

// observe copies what the room last published.
func (r *room) observe(now time.Time, to *query.Room) {
	*to = query.Room{
		Room: string(r.id), Kind: r.kind.Name, Name: r.id.Name(), Max: r.kind.MaxMembers,
		Epoch: uint64(r.claim.Epoch), Age: now.Sub(r.began).Seconds(), Waiting: r.box.waiting(), Numbers: to.Numbers[:0],
	}
	s := &r.status
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Labels, to.Open, to.Members, to.Connected = s.listing.Labels, s.listing.Open, s.listing.Members, s.connected
	to.Saves, to.Inputs, to.Ticks, to.Skipped = s.saves, s.inputs, s.ticks, s.skipped
	late := s.late
	late.turn(now)
	to.Lateness = float64(late.value().Microseconds()) / 1000
	if !s.changed.IsZero() {
		to.Unsaved = now.Sub(s.changed).Seconds()
	}
	for _, n := range s.numbers {
		to.Numbers = append(to.Numbers, query.Number(n))
	}
}
