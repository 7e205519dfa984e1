package host

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

func (d *drain) status() DrainStatus {
	left := d.host.Load().Rooms
	d.mu.Lock()
	defer d.mu.Unlock()
	end := d.ended
	if end.IsZero() {
		end = time.Now()
	}
	s := DrainStatus{
		Host: string(d.host.cfg.Node), State: d.state, Total: max(d.total, left), Left: left, Moved: d.moved, Failures: d.failures,
		Elapsed: end.Sub(d.began).Seconds(), Deadline: d.opts.Deadline.Seconds(), ETA: -1, Blockers: []Blocker{},
		Pause: pauses(d.pauses),
	}
	if d.err != nil {
		s.Error = d.err.Error()
	}
	if d.waits.Load() {
		s.Waits = "the store does not answer: rooms go on where they are"
	}
	if s.Elapsed > 0 {
		s.Rate = float64(d.moved) / s.Elapsed
	}
	if s.Rate > 0 && d.state == DrainRunning && s.Waits == "" {
		s.ETA = float64(left) / s.Rate
	}
	for _, b := range d.blocked {
		if b.Tries > 0 && d.host.find(b.Room) != nil {
			s.Blockers = append(s.Blockers, b.Blocker)
		}
	}
	slices.SortFunc(s.Blockers, func(a, b Blocker) int {
		return cmp.Or(cmp.Compare(b.Tries, a.Tries), cmp.Compare(a.Room, b.Room))
	})
	s.Blockers = s.Blockers[:min(len(s.Blockers), maxBlockers)]
	return s
}

func pauses(all []time.Duration) Pauses {
	if len(all) == 0 {
		return Pauses{}
	}
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000
	}
	return Pauses{P50: at(.5), P99: at(.99), Max: at(1)}
}

// Plan is what a drain would do: what goes where, by the placement that new
// rooms have, within what each host says it has room for.
type Plan struct {
	Host     string        `json:"host"`
	Rooms    int           `json:"rooms"`
	Members  int           `json:"members"`
	Fits     bool          `json:"fits"`
	Targets  []PlanTarget  `json:"targets"`
	Unplaced []wire.RoomID `json:"unplaced"` // no host takes them; the first 100
}

// PlanTarget is one host's part of a plan.
type PlanTarget struct {
	Host  string        `json:"host"`
	Free  int           `json:"free"` // rooms that it has room for
	Rooms []wire.RoomID `json:"rooms"`
}

const (
	planWithin  = 2 * time.Second // to ask the other hosts
	maxUnplaced = 100
)

// Plan places all rooms elsewhere, without moving any. Errors say that it can't
// be made; that the rooms don't fit is in the plan.
func (h *Host) Plan(ctx context.Context) (Plan, error) {
	p := Plan{Host: string(h.cfg.Node), Targets: []PlanTarget{}, Unplaced: []wire.RoomID{}}
	if h.cfg.Place == nil {
		return p, wire.Refuse(wire.CodeUnavailable, "this host knows no others")
	}
	ctx, cancel := context.WithTimeout(ctx, planWithin)
	defer cancel()
	targets := map[directory.NodeID]*PlanTarget{}
	for _, r := range h.List() {
		p.Rooms++
		p.Members += r.Members
		if t := h.planned(ctx, directory.Want{Room: r.Room, Labels: r.Labels}, targets); t != nil {
			t.Rooms = append(t.Rooms, r.Room)
		} else if len(p.Unplaced) < maxUnplaced {
			p.Unplaced = append(p.Unplaced, r.Room)
		}
	}
	p.Fits = len(p.Unplaced) == 0
	for _, t := range targets {
		if len(t.Rooms) > 0 {
			p.Targets = append(p.Targets, *t)
		}
	}
	slices.SortFunc(p.Targets, func(a, b PlanTarget) int { return cmp.Compare(a.Host, b.Host) })
	return p, nil
}

// planned is the host for one more room, nil where there is none.
func (h *Host) planned(ctx context.Context, w directory.Want, targets map[directory.NodeID]*PlanTarget) *PlanTarget {
	full := func(id directory.NodeID) bool {
		t := targets[id]
		return id == h.cfg.Node || t != nil && len(t.Rooms) >= t.Free
	}
	for {
		n, err := h.cfg.Place(w, full)
		if err != nil {
			return nil
		}
		t := targets[n.ID]
		if t == nil {
			t = &PlanTarget{Host: n.ID.Name(), Free: h.freeAt(ctx, n)}
			targets[n.ID] = t
		}
		if len(t.Rooms) < t.Free {
			return t
		}
	}
}

// freeAt is how many rooms a host has room for; one that does not say has none.
func (h *Host) freeAt(ctx context.Context, n *directory.Node) int {
	raw, err := h.cfg.Mesh.Call(ctx, string(n.ID), n.Link, callSpace, nil)
	var r spaceReply
	if err == nil {
		err = decodeCall(raw, &r)
	}
	if err != nil {
		h.log.Warn().Err(err).Str("host", string(n.ID)).Msg("host does not say how many rooms it has room for")
		return 0
	}
	return r.Free
}
