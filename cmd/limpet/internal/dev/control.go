package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/daemon"
)

// serveControl serves the interface behind the demo's buttons. Gateways bring
// requests here; who has not their secret is refused.
func (c *Cluster) serveControl(ctx context.Context) error {
	srv := daemon.NewServer(c.controlHandler(), zerolog.Nop())
	return daemon.Serve(ctx, srv, c.control, time.Second)
}

func (c *Cluster) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dev/status", c.serveStatus)
	mux.HandleFunc("POST /dev/kill", c.serveKill)
	mux.HandleFunc("POST /dev/restart-gateway", c.serveRestartGateway)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !daemon.BearerIs(r, []byte(c.secret)):
			daemon.WriteError(w, http.StatusUnauthorized, "not one of this cluster's gateways")
		case r.Method == http.MethodPost && !isJSON(r):
			daemon.WriteError(w, http.StatusUnsupportedMediaType, "want Content-Type: application/json")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func isJSON(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/json"
}

type nodeStatus struct {
	Name     string `json:"name"`
	Role     role   `json:"role"`
	PID      int    `json:"pid"`   // 0 while it is down
	State    string `json:"state"` // up or down
	Restarts int    `json:"restarts"`
	ForMS    int64  `json:"for_ms"` // how long it has been up or down
	Ops      string `json:"ops"`
}

func (ch *child) status() nodeStatus {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	s := nodeStatus{
		Name: ch.name, Role: ch.role, State: "down",
		Restarts: max(0, ch.starts-1), Ops: "http://" + ch.ports.ops,
	}
	if ch.process != nil {
		s.State, s.PID = "up", ch.process.Pid
	}
	if !ch.since.IsZero() {
		s.ForMS = time.Since(ch.since).Milliseconds()
	}
	return s
}

func (c *Cluster) serveStatus(w http.ResponseWriter, _ *http.Request) {
	var nodes []nodeStatus
	for _, ch := range c.children() {
		nodes = append(nodes, ch.status())
	}
	daemon.WriteJSON(w, http.StatusOK, map[string]any{"dev": true, "nodes": nodes})
}

func (c *Cluster) serveKill(w http.ResponseWriter, r *http.Request) {
	name, err := askedNode(r)
	if err != nil {
		daemon.WriteError(w, http.StatusBadRequest, err.Error())
		return
	}
	ch := c.child(name)
	if ch == nil {
		daemon.WriteError(w, http.StatusNotFound, "no such node")
		return
	}
	pid, ok := ch.kill()
	if !ok {
		daemon.WriteError(w, http.StatusConflict, name+" is down")
		return
	}
	daemon.WriteJSON(w, http.StatusOK, map[string]any{"node": name, "pid": pid})
}

// answerFirst is how long a gateway has to deliver the answer that it is about
// to be killed.
const answerFirst = 100 * time.Millisecond

// serveRestartGateway kills a gateway, the one that brought the request unless
// another is named, and starts it again at once.
func (c *Cluster) serveRestartGateway(w http.ResponseWriter, r *http.Request) {
	name, err := askedNode(r)
	if err != nil {
		daemon.WriteError(w, http.StatusBadRequest, err.Error())
		return
	}
	if name == "" {
		name = r.Header.Get(daemon.DevGatewayHeader)
	}
	ch := c.child(name)
	if ch == nil || ch.role != roleGateway {
		daemon.WriteError(w, http.StatusNotFound, "no such gateway")
		return
	}
	if ch.pid() == 0 {
		daemon.WriteError(w, http.StatusConflict, name+" is down")
		return
	}
	daemon.WriteJSON(w, http.StatusAccepted, map[string]any{"node": name})
	http.NewResponseController(w).Flush()
	time.AfterFunc(answerFirst, func() { ch.killAndRestart() })
}

// askedNode reads {"node": NAME}; what follows a '#' in NAME is the boot, and
// left out. An empty body asks for none.
func askedNode(r *http.Request) (string, error) {
	var body struct{ Node string }
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read request: %w", err)
	}
	if len(raw) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", errors.New(`want {"node": NAME}`)
	}
	name, _, _ := strings.Cut(body.Node, "#")
	return name, nil
}
