package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/query"
)

// scanOf has a host named NAME-N hold N rooms; a "stuck" one never answers.
func scanOf(name string) Scan {
	return func(ctx context.Context, q *query.Query) (*query.Partial, error) {
		if strings.HasPrefix(name, "stuck") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var n int
		fmt.Sscanf(name[strings.LastIndex(name, "-")+1:], "%d", &n)
		p := q.NewPartial()
		for i := range n {
			p.Add(&query.Room{Room: fmt.Sprintf("chat/%s.%d", name, i), Kind: "chat", Host: name, Members: i})
		}
		return p, nil
	}
}

func postQuery(t *testing.T, addr string, in QueryRequest) (int, []byte) {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+addr+"/v1/query", "application/json", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body.Bytes()
}

func TestQueryComposesHostsAnswersAndSaysWhoIsMissing(t *testing.T) {
	key := tokenFile(t, "the cluster's secret")
	one := startNode(t, "host-3", directory.RoleHost, key)
	startNode(t, "host-5", directory.RoleHost, key, one.Members.Addr())
	gate := startNode(t, "gateway-1", directory.RoleGateway, key, one.Members.Addr())
	ask := func(n *node, in QueryRequest) (a QueryAnswer) {
		status, body := postQuery(t, n.ops, in)
		if status != http.StatusOK {
			t.Fatalf("%+v: %d %s", in, status, body)
		}
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	counts := QueryRequest{Query: "count, sum(members) by host", Deadline: 5000}
	for _, n := range []*node{gate, one} {
		eventually(t, "both hosts answer", func() error {
			if a := ask(n, counts); a.Hosts.Answered != 2 {
				return fmt.Errorf("%+v", a)
			}
			return nil
		})
		a := ask(n, counts)
		if got := fmt.Sprint(a.Columns, a.Rows); got != "[host count sum(members)] [[host-3 3 3] [host-5 5 10]]" {
			t.Error(got)
		}
		if h := a.Hosts; h.Asked != 2 || h.Rooms != 8 || h.Share != 1 || len(h.Missing) != 0 {
			t.Errorf("%+v", h)
		}
	}

	stuck := startNode(t, "stuck-1", directory.RoleHost, key, one.Members.Addr())
	stuck.Members.Update(false, directory.Load{Rooms: 2})
	eventually(t, "the gateway knows the third host's load", func() error {
		if n := gate.Members.View().Node(stuck.ID); n == nil || n.Load.Rooms != 2 {
			return fmt.Errorf("node is %+v", n)
		}
		return nil
	})
	begun := time.Now()
	a := ask(gate, QueryRequest{Query: "count", Deadline: 300})
	if took := time.Since(begun); took < 200*time.Millisecond || took > 3*time.Second {
		t.Errorf("took %s for a deadline of 300ms", took)
	}
	h := a.Hosts
	if h.Asked != 3 || h.Answered != 2 || h.Rooms != 8 || h.Expected != 10 || h.Share != 0.8 ||
		len(h.Missing) != 1 || h.Missing[0] != (NoAnswer{string(stuck.ID), 2, tooLate}) {
		t.Errorf("%+v", h)
	}

	status, body := postQuery(t, gate.ops, QueryRequest{Query: "count", Deadline: 300, Stream: true})
	lines := bufio.NewScanner(bytes.NewReader(body))
	var last QueryAnswer
	for lines.Scan() {
		if last.Hosts.Asked > 0 && !last.Interim {
			t.Fatal("a line after the answer")
		}
		last = QueryAnswer{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if status != http.StatusOK || last.Interim || last.Hosts.Share != 0.8 {
		t.Errorf("%d, last line %+v", status, last)
	}
}

func TestBadQueriesAreRefusedBeforeAnyHostIsAsked(t *testing.T) {
	n := startNode(t, "host-1", directory.RoleHost, tokenFile(t, "the cluster's secret"))
	for _, c := range []struct {
		in   QueryRequest
		want string
	}{
		{QueryRequest{Query: "coun"}, `"at":0,"error":"query, at 1: no column`},
		{QueryRequest{Query: "count where x = 1"}, `"at":12`},
		{QueryRequest{Query: "count", Deadline: -1}, "want 1ms to 15s"},
		{QueryRequest{Query: "count", Deadline: 40_000}, "want 1ms to 15s"},
	} {
		if status, body := postQuery(t, n.ops, c.in); status != http.StatusBadRequest || !strings.Contains(string(body), c.want) {
			t.Errorf("%+v: %d %s", c.in, status, body)
		}
	}
}
