package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/wire"
)

// BalanceOrder has hosts that carry more than others move rooms to those. Zeros
// take the hosts' defaults.
type BalanceOrder struct {
	DryRun bool    `json:"dry_run,omitempty"` // only say what would move
	Stop   bool    `json:"stop,omitempty"`    // what is under way
	Rate   float64 `json:"rate,omitempty"`    // rooms a second, of each host
}

// BalanceAnswer is what the hosts say of it.
type BalanceAnswer struct {
	Hosts    []json.RawMessage `json:"hosts"`
	Asked    int               `json:"asked"`
	Answered int               `json:"answered"`
	Missing  []explain.Missing `json:"missing"`
}

const balanceWithin = 3 * time.Second // for all hosts' answers

// serveRebalance lets operators have all hosts even their loads out.
func (a *admin) serveRebalance(ops *Ops) {
	ops.HandleRole(RoleDrain, "POST /v1/rebalance", a.handler(func(r *http.Request) (any, error) {
		var o BalanceOrder
		if err := readRequest(r, &o); err != nil {
			return nil, err
		}
		if o.Rate < 0 || o.Rate > 100_000 || o.DryRun && o.Stop {
			return nil, wire.Refuse(wire.CodeBadRequest, "rebalance: want a rate of 0 to 100000, and not dry_run together with stop")
		}
		return a.askHosts(r.Context(), AdminRebalance, o)
	}))
	ops.Handle("GET /v1/rebalance", a.handler(func(r *http.Request) (any, error) {
		return a.askHosts(r.Context(), AdminRebalance, BalanceOrder{DryRun: true})
	}))
}

// askHosts asks all hosts of the view the same.
func (a *admin) askHosts(ctx context.Context, op string, body any) (BalanceAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, balanceWithin)
	defer cancel()
	hosts := a.Members.View().Hosts
	all := BalanceAnswer{Hosts: []json.RawMessage{}, Asked: len(hosts), Missing: []explain.Missing{}}
	for _, got := range askAll(ctx, hosts, func(n *directory.Node) (json.RawMessage, error) { return a.ask(ctx, n, op, body) }) {
		if got.err != nil {
			all.Missing = append(all.Missing, got.missing())
			continue
		}
		all.Answered++
		all.Hosts = append(all.Hosts, got.value)
	}
	return all, nil
}
