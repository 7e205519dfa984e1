package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/wire"
)

// believeOf has gateways remember the room on a host that only they know of; a
// "stuck" node never answers, and a "slow" one waits for its store.
func believeOf(name string) Believe {
	return func(ctx context.Context, _ wire.RoomID, b *explain.Belief) {
		switch {
		case strings.HasPrefix(name, "stuck"):
			<-ctx.Done()
			b.Node = "" // an answer that just comes in time counts as none
		case strings.HasPrefix(name, "slow"):
			select {
			case <-time.After(explain.StoreWithin * 3 / 4): // the rest is for a busy machine
				b.StoreError = "no answer"
			case <-ctx.Done():
			}
		case strings.HasPrefix(name, "gateway"):
			b.Cache = &explain.Place{Node: "host-9#0000000000000009", Addr: "127.0.0.1:1", Epoch: 3}
		}
	}
}

func TestExplainAsksAllAndThoseWhomOnlyOthersName(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	one := startNode(t, "host-3", directory.RoleHost, key)
	startNode(t, "gateway-1", directory.RoleGateway, key, one.Members.Addr())
	stuck := startNode(t, "stuck-1", directory.RoleHost, key, one.Members.Addr())
	eventually(t, "one sees all", func() error {
		if n := len(one.Members.View().Nodes); n != 3 {
			return fmt.Errorf("it sees %d", n)
		}
		return nil
	})
	began := time.Now()
	status, body := request{path: "/v1/explain?room=chat/a"}.do(t, one.ops)
	var e explain.Explanation
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if took := time.Since(began); took > 3*explainWithin {
		t.Errorf("it took %s", took)
	}
	why := map[string]string{}
	for _, m := range e.Missing {
		why[m.Node] = m.Why
	}
	if e.Asked != 4 || e.Answered != 2 || why[string(stuck.ID)] == "" || why["host-9#0000000000000009"] == "" ||
		e.By != string(one.ID) || e.Partition != directory.PartitionOf("chat/a") || len(e.Nodes[0].Owners) == 0 {
		t.Errorf("%s", body)
	}
	if len(e.Findings) != 1 || !strings.Contains(e.Findings[0].Ends, "not in the gateway's view") {
		t.Errorf("%+v", e.Findings)
	}
	for _, bad := range []string{"", "chat", "chat/%00"} {
		if status, body := (request{path: "/v1/explain?room=" + bad}).do(t, one.ops); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", bad, status, body)
		}
	}
}

// A host that only another node names, and whose store is slow, is not
// taken for dead.
func TestExplainWaitsForANamedHostWhoseStoreIsSlow(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	slow := startNode(t, "slow-1", directory.RoleHost, key) // in nobody's view
	one := startNode(t, "host-1", directory.RoleHost, key)
	x := &explainer{one.Cluster, func(_ context.Context, _ wire.RoomID, b *explain.Belief) {
		b.Entry = &explain.Place{Node: string(slow.ID), Addr: slow.Addr, Epoch: 3}
	}}
	e := x.once(t.Context(), "chat/a")
	if e.Asked != 2 || e.Answered != 2 || e.Nodes[1].Node != string(slow.ID) || e.Nodes[1].StoreError == "" {
		t.Errorf("%+v", e)
	}
}
