package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/internal/explain"
)

// TestExplainPrintsWhoBelievesWhat has a gateway that remembers an old place, and
// a host that does not answer.
func TestExplainPrintsWhoBelievesWhat(t *testing.T) {
	at := explain.Place{Node: "host-1#0000000000000001", Epoch: 12, Incarnation: 5}
	owners := []string{"host-2#0000000000000002", at.Node}
	stale := []explain.Belief{
		{Node: at.Node, Role: "host", Owners: owners, Sees: owners, Entry: &at,
			Copy:  &explain.Copy{Epoch: 12, Incarnation: 5, Nonce: "aa", State: explain.Running, Members: 3, Connected: 2},
			Claim: &explain.Claim{Epoch: 12, Incarnation: 5, Nonce: "aa", Holder: at.Node + "/1", LeaseAlive: true}},
		{Node: "gateway-1#0000000000000004", Role: "gateway", Owners: owners, Sees: owners,
			Cache: &explain.Place{Node: owners[0], Epoch: 9}, Route: &explain.Route{Place: at, Members: 3}},
	}
	missing := []explain.Missing{{Node: owners[0], Role: "host", Why: "connection refused"}}
	fine := []explain.Belief{stale[0]}
	answers := map[string]explain.Explanation{
		"chat/stale": explain.Judge("chat/stale", stale[1].Node, stale, missing),
		"chat/fine":  explain.Judge("chat/fine", at.Node, fine, nil),
	}
	ops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/explain" {
			t.Errorf("asked for %s", r.URL)
		}
		json.NewEncoder(w).Encode(answers[r.URL.Query().Get("room")])
	}))
	defer ops.Close()

	status, out, errOut := say("explain", "chat/stale", "--ops", ops.URL)
	if status != exitIncomplete {
		t.Errorf("status %d, %s", status, errOut)
	}
	for _, want := range []string{"chat/stale lives on host-1 at epoch 12, running", "NODE", "host-2 host-1", "host-1 @12: 3", "host-2 @9",
		"@12 running, 2 of 3 connected", "host-1 @12, its lease runs; nonce aa, incarnation 5", "host-2     did not answer: connection refused",
		"2 of 3 nodes answered gateway-1, and disagree:", "* gateway-1 remembers host-2 at epoch 9; the room is on host-1 at epoch 12", "ends: "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if status, out, _ := say("explain", "chat/fine", "--ops", ops.URL); status != 0 || !strings.Contains(out, "1 of 1 nodes answered host-1, and agree") {
		t.Errorf("status %d\n%s", status, out)
	}
	status, out, _ = say("explain", "chat/stale", "--json", "--ops", ops.URL)
	var e explain.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || status != exitIncomplete || len(e.Findings) != 1 || len(e.Missing) != 1 {
		t.Errorf("status %d, %v, %+v", status, err, e)
	}
	if status, _, _ := say("explain"); status != 2 {
		t.Errorf("without a room: status %d", status)
	}
}
