package daemon

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
)

// A host that is slow to answer is dialled again; one that refuses is not.
func TestOperatorsRequestsReachSlowHosts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const host = "host-1#0000000000000001"
	runLinks(t, link.New(link.Config{Self: host, Cluster: "test"}), ln)

	var dials atomic.Int32
	mesh := link.New(link.Config{
		Self: "gateway-1#0000000000000002", Cluster: "test", DialWithin: 100 * time.Millisecond,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			switch n := dials.Add(1); {
			case addr == "refused":
				return nil, syscall.ECONNREFUSED
			case n <= 2: // it takes the connection, and then nothing
				near, far := net.Pipe()
				t.Cleanup(func() { far.Close() })
				return near, nil
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	})
	out, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	runLinks(t, mesh, out)

	a := &admin{Cluster: &Cluster{Mesh: mesh}}
	l, err := a.reach(t.Context(), &directory.Node{ID: host, Link: ln.Addr().String()})
	if err != nil || l.Peer() != host || dials.Load() < 3 {
		t.Errorf("after %d dials: %v", dials.Load(), err)
	}
	dials.Store(0)
	if _, err := a.reach(t.Context(), &directory.Node{ID: "host-2#0000000000000003", Link: "refused"}); err == nil || dials.Load() != 1 {
		t.Errorf("a host that refuses was dialled %d times: %v", dials.Load(), err)
	}
}

func TestRequestsThatOnlyNameAHost(t *testing.T) {
	one := startNode(t, "host-1", directory.RoleHost, tokenFile(t, "the cluster's secret"))
	a := &admin{one.Cluster, one.Report, func(_ context.Context, op string, body []byte) (any, error) {
		return map[string]string{"op": op, "body": string(body)}, nil
	}}
	for _, c := range []struct {
		op, method, query, body string
		status                  int
	}{
		{AdminConfirm, http.MethodPost, "", `{"host":"host-1"}`, http.StatusOK},
		{AdminDrainCancel, http.MethodPost, "?host=host-1", `{}`, http.StatusBadRequest},
		{AdminDrainCancel, http.MethodPost, "", `{"host":"host-1","more":1}`, http.StatusBadRequest},
		{AdminDrainState, http.MethodGet, "?host=host-1", "", http.StatusOK},
		{AdminRestartState, http.MethodGet, "?host=host-2", "", http.StatusBadRequest},
	} {
		w := httptest.NewRecorder()
		a.named(c.op).ServeHTTP(w, httptest.NewRequest(c.method, "/"+c.query, strings.NewReader(c.body)))
		if w.Code != c.status {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
		if got := strings.TrimSpace(w.Body.String()); c.status == http.StatusOK && got != `{"body":"null","op":"`+c.op+`"}` {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// runLinks serves a mesh until the test is over.
func runLinks(t *testing.T, m *link.Mesh, ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("links: %v", err)
		}
	})
}
