package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/web"
)

func TestConsoleIsOpenAndWhatItShowsIsNot(t *testing.T) {
	c, err := OpenCluster(ClusterFlags{Name: "gateway-1", Cluster: "test", Gossip: "127.0.0.1:0"},
		Self{Role: directory.RoleGateway, Ops: "127.0.0.1:1", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	addr := serveOps(t, OpsFlags{Addr: "0.0.0.0:0", TokenFile: tokenFile(t, "read "+testToken+"\n")}, func(o *Ops) { c.ServeAdmin(o, c.Report, nil) })
	for _, path := range []string{"/", "/console/", "/console/main.js", "/console/console.css"} {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Security-Policy") != web.ConsoleCSP {
			t.Errorf("%s: %d, policy %q", path, resp.StatusCode, resp.Header.Get("Content-Security-Policy"))
		}
	}
	for _, r := range []request{
		{path: "/v1/fleet"}, {path: "/v1/room?room=chat/a"}, {method: "POST", path: "/v1/query"},
		{method: "POST", path: "/v1/close"}, {method: "POST", path: "/v1/kick"},
	} {
		if status, _ := r.do(t, addr); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", r.path, status)
		}
	}
	for _, path := range []string{"/v1/close", "/v1/kick", "/v1/drain"} {
		if status, _ := (request{method: "POST", path: path, token: testToken}).do(t, addr); status != http.StatusForbidden {
			t.Errorf("%s with a token to read: %d", path, status)
		}
	}
}

func TestFleetTellsNodesAndRing(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	one := startNode(t, "host-3", directory.RoleHost, key)
	two := startNode(t, "host-5", directory.RoleHost, key, one.Members.Addr())
	var f Fleet
	eventually(t, "both nodes answer", func() error {
		status, body := request{path: "/v1/fleet"}.do(t, two.ops)
		f = Fleet{}
		if err := json.Unmarshal([]byte(body), &f); err != nil || status != http.StatusOK || f.Answered != 2 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	count := map[int]int{}
	for _, owner := range f.Ring {
		count[owner]++
	}
	if len(f.Ring) != ringSlices || count[0] < 64 || count[1] < 64 || count[0]+count[1] != ringSlices {
		t.Errorf("ring's owners: %v", count)
	}
	if f.Nodes[0].Name != "host-3" || f.Nodes[1].Report == nil || f.Nodes[1].Report.Rooms != nil || f.Nodes[0].Role != "host" {
		t.Errorf("nodes: %+v", f.Nodes)
	}
	if got := strings.Join(f.Actions, " "); !strings.HasPrefix(got, "close drain kick move") {
		t.Errorf("actions: %s", got)
	}
}

// A picture of fewer nodes than there are says how many are left off, and shows
// what those own as nobody's.
func TestFleetSaysWhatIsLeftOff(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	one := startNode(t, "host-3", directory.RoleHost, key)
	two := startNode(t, "host-5", directory.RoleHost, key, one.Members.Addr())
	ops, err := NewOps(OpsFlags{Addr: "127.0.0.1:0"}, zerolog.Nop(), NewRegistry("testd"))
	if err != nil {
		t.Fatal(err)
	}
	a := &admin{Cluster: two.Cluster, report: two.Report}
	var f Fleet
	eventually(t, "the node that is shown answers", func() error {
		if f = a.fleet(t.Context(), ops, 1); f.Answered != 1 || f.LeftOff != 1 {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	if f.Asked != 1 || len(f.Nodes) != 1 || f.Nodes[0].Name != "host-3" {
		t.Errorf("asked %d, nodes %+v", f.Asked, f.Nodes)
	}
	if !slices.Contains(f.Ring, 0) || !slices.Contains(f.Ring, -1) || slices.Max(f.Ring) != 0 {
		t.Errorf("ring's owners: %v", f.Ring)
	}
}
