package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/wire"
)

const explained = "ledger/explained"

// explainRoom asks a process what all believe of the room.
func explainRoom(ctx context.Context, t *testing.T, p *cluster.Process) (e explain.Explanation) {
	t.Helper()
	if err := p.Admin(ctx, "/v1/explain?room="+explained, nil, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// awaitExplained asks until the answer is as wanted.
func awaitExplained(ctx context.Context, t *testing.T, p *cluster.Process, what string, ok func(explain.Explanation) bool) (e explain.Explanation) {
	t.Helper()
	for {
		if e = explainRoom(ctx, t, p); ok(e) {
			return e
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not yet: %s: %+v", what, e)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func holderOf(e explain.Explanation) (name string) {
	for _, b := range e.Nodes {
		if b.Copy != nil {
			name, _, _ = strings.Cut(b.Node, "#")
		}
	}
	return name
}

func enter(ctx context.Context, t *testing.T, url string) *client.Client {
	t.Helper()
	cl, err := client.Dial(ctx, client.Config{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Join(ctx, wire.ModeJoinOrCreate, "ledger", "explained", nil); err != nil {
		t.Fatal(err)
	}
	return cl
}

// TestExplain has the nodes of a cluster agree on a room, lets a gateway's memory
// of it grow stale, and stops its host.
func TestExplain(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := startCluster(t, 3, 2)
	stays := enter(ctx, t, c.URLs()[0])
	defer stays.Close()
	goes := enter(ctx, t, c.URLs()[1])
	goes.Close()
	all := len(c.Hosts) + len(c.Gateways)
	whole := func(e explain.Explanation) bool {
		return e.Agree && e.Answered == all && e.Asked == all && holderOf(e) != ""
	}
	for _, p := range []*cluster.Process{c.Hosts[0], c.Gateways[1]} {
		e := awaitExplained(ctx, t, p, "all agree", whole)
		entries, caches, claims, members := 0, 0, 0, 0
		for _, b := range e.Nodes {
			if b.Entry != nil && b.Entry.Epoch > 0 {
				entries++
			}
			if b.Claim != nil && b.Claim.LeaseAlive && b.Claim.Nonce != "" && b.Claim.Epoch == b.Entry.Epoch {
				claims++
			}
			if b.Cache != nil {
				caches++
			}
			if b.Route != nil {
				members += b.Route.Members
			}
		}
		if entries != 3 || claims != 3 || caches != 2 || members < 1 || members > 2 {
			t.Errorf("%d entries, %d claims, %d caches, %d members: %+v", entries, claims, caches, members, e)
		}
	}

	// The gateway whose member has left is not told of the move.
	from := holderOf(explainRoom(ctx, t, c.Gateways[0]))
	var to *cluster.Process
	for _, h := range c.Hosts {
		if h.Name != from {
			to = h
		}
	}
	awaitExplained(ctx, t, c.Gateways[0], "one member is left", func(e explain.Explanation) bool {
		for _, b := range e.Nodes {
			if strings.HasPrefix(b.Node, c.Gateways[1].Name+"#") && b.Route != nil {
				return false
			}
		}
		return whole(e)
	})
	if err := c.Gateways[0].Admin(ctx, "/v1/move", map[string]any{"room": explained, "to": to.Name}, nil); err != nil {
		t.Fatal(err)
	}
	awaitExplained(ctx, t, to, "one gateway's memory is stale", func(e explain.Explanation) bool {
		return e.Answered == all && len(e.Findings) == 1 && holderOf(e) == to.Name &&
			strings.HasPrefix(e.Findings[0].What, fmt.Sprintf("%s remembers %s at epoch", c.Gateways[1].Name, from))
	})
	again := enter(ctx, t, c.URLs()[1]) // which corrects it
	defer again.Close()
	awaitExplained(ctx, t, to, "all agree after a join", whole)

	if err := to.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	e := awaitExplained(ctx, t, c.Gateways[0], "the claim's holder is named", func(e explain.Explanation) bool { return !e.Agree })
	if len(e.Missing) != 1 || !strings.HasPrefix(e.Missing[0].Node, to.Name+"#") || e.Answered != all-1 ||
		!strings.Contains(fmt.Sprint(e.Findings), "the claim is "+to.Name+"'s, which did not answer") {
		t.Errorf("with its host stopped: %+v", e)
	}
	to.Signal(syscall.SIGCONT)
	// What the host's part of the directory missed comes with the next round, which
	// is too long to wait for.
	awaitExplained(ctx, t, c.Gateways[0], "there is one copy again, which all but entries know", func(e explain.Explanation) bool {
		for _, f := range e.Findings {
			if !strings.Contains(f.What, "entry") {
				return false
			}
		}
		return e.Answered == all && holderOf(e) != ""
	})
}
