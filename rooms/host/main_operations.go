package host

import (
	"context"
	"net/http"
	"slices"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/internal/isolate"
	"github.com/limpet-games/limpet/wire"
)

// serveOperations has the operations listener answer for this host.
func serveOperations(p *daemon.Wiring, h *Host, cluster *daemon.Cluster, service *directory.Service, isolated *isolation, restart *restarter) {
	p.Ops.Ready("cluster", cluster.Joined)
	p.Ops.Ready("rooms", h.Ready)
	if isolated != nil {
		p.Ops.Ready("isolated kinds", isolated.ready)
		p.Ops.HandleJSON("GET /v1/isolated", func(*http.Request) (any, error) {
			return map[string]any{"kinds": isolated.states()}, nil
		})
	}
	report := func() daemon.NodeReport {
		r := cluster.Report()
		r.SetRooms(roomReports(h))
		r.Isolated = isolatedReports(isolated.states())
		return r
	}
	cluster.ServeReports(p.Ops, report)
	cluster.ServeAdmin(p.Ops, report, isolated.admin(restart.admin))
	cluster.ServeQueries(p.Ops, p.Metrics, h.Scan)
	cluster.ServeExplain(p.Ops, func(ctx context.Context, room wire.RoomID, b *explain.Belief) {
		if loc, ok := service.Entry(room); ok {
			at := daemon.PlaceOf(loc)
			b.Entry = &at
		}
		h.believe(ctx, room, slices.Contains(b.Owners, b.Node), b)
	})
	p.Ops.HandleJSON("GET /v1/rooms", func(*http.Request) (any, error) {
		return map[string]any{"rooms": append([]RoomInfo{}, h.List()...)}, nil
	})
}

func isolatedReports(states []isolate.State) (reports []daemon.IsolatedReport) {
	for _, s := range states {
		reports = append(reports, daemon.IsolatedReport{Kind: s.Kind, State: s.State, Node: s.Node, PID: s.PID, Memory: s.Memory, Deaths: s.Deaths, Last: s.Last})
	}
	return reports
}

func roomReports(h *Host) []daemon.RoomReport {
	list := h.List()
	reports := make([]daemon.RoomReport, len(list))
	for i, r := range list {
		reports[i] = daemon.RoomReport{
			Room: string(r.Room), Host: r.Host.Name(), Epoch: uint64(r.Epoch), Incarnation: uint64(r.Incarnation),
			Members: r.Members, Max: r.Max, Connected: r.Connected, Labels: r.Labels,
		}
	}
	return reports
}
