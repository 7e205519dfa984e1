package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
)

// node is a process of a cluster, in this one.
type node struct {
	*Cluster
	ops  string
	stop func()
}

func startNode(t *testing.T, name string, role directory.Role, key string, join ...string) *node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flags := ClusterFlags{Name: name, Cluster: "test", KeyFile: key, Gossip: "127.0.0.1:0", Join: join}
	c, err := OpenCluster(flags, Self{Role: role, Kinds: []string{"chat"}, Ops: ln.Addr().String(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ops, err := NewOps(OpsFlags{Addr: "127.0.0.1:0"}, zerolog.Nop(), NewRegistry("testd"))
	if err != nil {
		t.Fatal(err)
	}
	c.ServeReports(ops, func() NodeReport {
		r := c.Report()
		if role == directory.RoleHost {
			r.SetRooms([]RoomReport{{Room: "chat/" + name, Host: name, Epoch: 7, Members: 2}})
		}
		return r
	})
	c.ServeAdmin(ops, c.Report, nil)
	if role == directory.RoleHost {
		c.ServeQueries(ops, nil, scanOf(name))
	} else {
		c.ServeQueries(ops, nil, nil)
	}
	c.ServeExplain(ops, believeOf(name))
	var parts Parts
	parts.Add("operations", func(ctx context.Context) error { return ops.Run(ctx, ln) })
	c.Open()
	c.AddTo(&parts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- parts.Run(ctx) }()
	n := &node{Cluster: c, ops: ln.Addr().String()}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(n.stop)
	<-c.Members.Ready()
	return n
}

func (n *node) overview(t *testing.T) (o Overview) {
	t.Helper()
	status, body := request{path: "/v1/cluster"}.do(t, n.ops)
	if status != http.StatusOK {
		t.Fatalf("overview: %d %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestOverviewAsksAllNodesAndCountsThem(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	one := startNode(t, "host-1", directory.RoleHost, key)
	two := startNode(t, "host-2", directory.RoleHost, key, one.Members.Addr())
	gate := startNode(t, "gateway-1", directory.RoleGateway, key, one.Members.Addr())
	eventually(t, "the gateway sees all", func() error {
		if o := gate.overview(t); o.Asked != 3 || o.Answered != 3 || len(o.Rooms) != 2 {
			return fmt.Errorf("overview is %+v", o)
		}
		return nil
	})
	o := gate.overview(t)
	if len(o.Gateways) != 1 || len(o.Hosts) != 2 || o.Rooms[1].Room != "chat/host-2" || o.Rooms[1].Epoch != 7 || o.Hosts[0].Members != 2 {
		t.Errorf("overview is %+v", o)
	}
	if err := gate.Joined(); err != nil {
		t.Error(err)
	}
	if err := gate.SomeHost(); err != nil {
		t.Error(err)
	}
	if _, body := (request{path: "/v1/status"}).do(t, gate.ops); !strings.Contains(body, `"node":"`+string(two.ID)) {
		t.Errorf("status is %s", body)
	}
	two.stop()
	eventually(t, "the node that left is not counted", func() error {
		if o := gate.overview(t); o.Answered != 2 || len(o.Rooms) != 1 {
			return fmt.Errorf("overview is %+v", o)
		}
		return nil
	})
}

func TestOtherKeysStayOutside(t *testing.T) {
	one := startNode(t, "host-1", directory.RoleHost, tokenFile(t, "the cluster's secret"))
	other := startNode(t, "host-2", directory.RoleHost, tokenFile(t, "some other secret"), one.Members.Addr())
	if _, err := other.Mesh.Link(t.Context(), string(one.ID), one.Addr); err == nil {
		t.Error("a link is made without the key")
	}
	if n := len(one.Members.View().Nodes); n != 1 {
		t.Errorf("%d nodes in the view", n)
	}
}

func TestReportsFitALink(t *testing.T) {
	var r NodeReport
	rooms := make([]RoomReport, MaxReportedRooms+5)
	for i := range rooms {
		rooms[i] = RoomReport{Room: fmt.Sprintf("chat/%064d", i), Host: strings.Repeat("h", 64), Members: 1,
			Labels: map[string]string{strings.Repeat("k", 64): strings.Repeat("v", 64), "other": strings.Repeat("v", 64)}}
	}
	r.SetRooms(rooms)
	if len(r.Rooms) != MaxReportedRooms || r.RoomsLeftOff != 5 || r.Members != len(rooms) || r.RoomCount != len(rooms) {
		t.Fatalf("%d rooms, %d left off, %d members", len(r.Rooms), r.RoomsLeftOff, r.Members)
	}
	raw, err := encodeReport(r)
	if err != nil {
		t.Fatal(err)
	}
	var back NodeReport
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if len(raw) > 2<<20 || len(back.Rooms) == 0 || len(back.Rooms)+back.RoomsLeftOff != len(rooms) {
		t.Errorf("%d bytes, %d rooms, %d left off", len(raw), len(back.Rooms), back.RoomsLeftOff)
	}
}
