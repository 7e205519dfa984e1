package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// callAdmin passes an operator's request on to the host that it is for.
const callAdmin = 0x3e

const (
	adminWithin = 15 * time.Second // an operator's request
	reachWithin = 5 * time.Second  // to reach the host that it is for
	maxRequest  = 64 << 10         // bytes of one
)

// Admin does what operators ask of one host: body and answer are JSON. Errors
// carry a *wire.Error.
type Admin func(ctx context.Context, op string, body []byte) (any, error)

// The requests that a host's Admin is asked.
const (
	AdminMove        = "move"         // MoveOrder
	AdminDrain       = "drain"        // DrainOrder
	AdminDrainCancel = "drain_cancel" // nothing
	AdminDrainState  = "drain_state"  // nothing
	AdminRoom        = "room"         // RoomOrder: what the room is like, and its members
	AdminClose       = "close"        // RoomOrder
	AdminKick        = "kick"         // RoomOrder
	AdminHistory     = "history"      // RoomOrder: when the room lived at this host

	AdminRebalance    = "rebalance"     // BalanceOrder
	AdminRestart      = "restart"       // RestartOrder
	AdminRestartState = "restart_state" // nothing
	AdminConfirm      = "confirm"       // nothing: rooms are written in their kinds' own state versions
)

// MoveOrder has a host move one of its rooms.
type MoveOrder struct {
	Room string `json:"room"` // KIND/NAME
	Node string `json:"node"` // NAME#BOOT
	Addr string `json:"addr"`
}

// RoomOrder is for one of a host's rooms.
type RoomOrder struct {
	Room   string `json:"room"`             // KIND/NAME
	Member uint64 `json:"member,omitempty"` // to kick
	Reason string `json:"reason,omitempty"` // for the players
}

// DrainOrder has a host move all of its rooms. Zeros take the host's defaults.
type DrainOrder struct {
	DryRun   bool    `json:"dry_run,omitempty"`
	Deadline float64 `json:"deadline,omitempty"` // seconds
	Patience float64 `json:"patience,omitempty"` // seconds that rooms' code may put a move off
	Rate     float64 `json:"rate,omitempty"`     // rooms a second
	AtOnce   int     `json:"at_once,omitempty"`
	Pause    float64 `json:"pause,omitempty"` // seconds that rooms should not stand still for longer than
}

// RestartOrder has a host restart in place.
type RestartOrder struct {
	DryRun bool `json:"dry_run,omitempty"` // only say what would run
	Force  bool `json:"force,omitempty"`   // although some rooms' kinds are no longer served
}

type adminCall struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// ServeAdmin lets any node take operators' requests for any host: POST
// /v1/move, POST /v1/drain, POST /v1/drain/cancel, GET /v1/drain, POST
// /v1/restart, GET /v1/restart and POST /v1/confirm. self is what this process does as a host;
// nil on gateways. Call it before the parts run.
func (c *Cluster) ServeAdmin(ops *Ops, report func() NodeReport, self Admin) {
	if self != nil {
		c.Mesh.OnCall(callAdmin, func(ctx context.Context, from *link.Link, body []byte) ([]byte, error) {
			var call adminCall
			if err := json.Unmarshal(body, &call); err != nil {
				return nil, wire.Refuse(wire.CodeBadRequest, "admin call: "+err.Error())
			}
			c.log.Info().Str("audit", call.Op).Str("by_node", from.Peer()).Str("body", logged(call.Body)).Msg("operator's request passed on")
			v, err := self(ctx, call.Op, call.Body)
			if err != nil {
				return nil, err
			}
			return json.Marshal(v)
		})
	}
	a := &admin{c, report, self}
	a.serveConsole(ops)
	a.serveRebalance(ops)
	a.serveSecrets(ops)
	ops.HandleRole(RoleDrain, "POST /v1/move", a.handler(a.move))
	ops.HandleRole(RoleDrain, "POST /v1/drain", a.handler(a.drain))
	ops.HandleRole(RoleDrain, "POST /v1/drain/cancel", a.named(AdminDrainCancel))
	ops.Handle("GET /v1/drain", a.named(AdminDrainState))
	ops.Handle("GET /v1/room", a.handler(a.room))
	ops.HandleRole(RoleDestroy, "POST /v1/close", a.handler(a.closeRoom))
	ops.HandleRole(RoleDestroy, "POST /v1/kick", a.handler(a.kick))
	ops.HandleRole(RoleDrain, "POST /v1/restart", a.handler(a.restart))
	ops.Handle("GET /v1/restart", a.named(AdminRestartState))
	ops.HandleRole(RoleDrain, "POST /v1/confirm", a.named(AdminConfirm))
}

type admin struct {
	*Cluster
	report func() NodeReport
	self   Admin
}

// handler answers with JSON, or an error with a status that tells whose fault
// it is.
func (a *admin) handler(h func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), adminWithin)
		defer cancel()
		v, err := h(r.WithContext(ctx))
		if err != nil {
			WriteError(w, statusOf(err), err.Error())
			return
		}
		WriteJSON(w, http.StatusOK, v)
	})
}

func statusOf(err error) int {
	var e *wire.Error
	if !errors.As(err, &e) {
		return http.StatusBadGateway
	}
	switch e.Code {
	case wire.CodeBadRequest, wire.CodeUnknownKind:
		return http.StatusBadRequest
	case wire.CodeNoRoom:
		return http.StatusNotFound
	case wire.CodeBusy:
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

func (a *admin) move(r *http.Request) (any, error) {
	var q struct{ Room, To string }
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	if _, err := wire.ParseRoom(q.Room); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	to, err := a.host(q.To)
	if err != nil {
		return nil, err
	}
	from, err := a.hostOfRoom(r.Context(), q.Room)
	if err != nil {
		return nil, err
	}
	return a.ask(r.Context(), from, AdminMove, MoveOrder{Room: q.Room, Node: string(to.ID), Addr: to.Link})
}

func (a *admin) drain(r *http.Request) (any, error) {
	var q struct {
		Host string
		DrainOrder
	}
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	n, err := a.host(q.Host)
	if err != nil {
		return nil, err
	}
	return a.ask(r.Context(), n, AdminDrain, q.DrainOrder)
}

func (a *admin) restart(r *http.Request) (any, error) {
	var q struct {
		Host string
		RestartOrder
	}
	if err := readRequest(r, &q); err != nil {
		return nil, err
	}
	n, err := a.host(q.Host)
	if err != nil {
		return nil, err
	}
	return a.ask(r.Context(), n, AdminRestart, q.RestartOrder)
}

// named handles requests that say no more than which host they are for: in the
// body of a POST, else in the address.
func (a *admin) named(op string) http.Handler {
	return a.handler(func(r *http.Request) (any, error) {
		q := struct{ Host string }{r.URL.Query().Get("host")}
		if r.Method == http.MethodPost {
			q.Host = "" // of the body alone
			if err := readRequest(r, &q); err != nil {
				return nil, err
			}
		}
		n, err := a.host(q.Host)
		if err != nil {
			return nil, err
		}
		return a.ask(r.Context(), n, op, nil)
	})
}

func readRequest(r *http.Request, v any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(body)))
		d.DisallowUnknownFields()
		err = d.Decode(v)
	}
	if err != nil {
		return wire.Refuse(wire.CodeBadRequest, "request: "+err.Error())
	}
	return nil
}

// host finds a room host by its name, or by NAME#BOOT.
func (a *admin) host(name string) (*directory.Node, error) {
	var found *directory.Node
	var names []string
	for _, n := range a.Members.View().Hosts {
		names = append(names, n.ID.Name())
		if string(n.ID) == name || n.ID.Name() == name {
			found = n
		}
	}
	if found == nil {
		slices.Sort(names)
		return nil, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("no host %q; there are: %s", name, strings.Join(names, ", ")))
	}
	return found, nil
}

// ask has a host, this one or another, do something. The answer is JSON.
func (a *admin) ask(ctx context.Context, n *directory.Node, op string, body any) (json.RawMessage, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if n.ID != a.ID || a.self == nil {
		return a.AskHost(ctx, n, op, raw)
	}
	v, err := a.self(ctx, op, raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// AskHost has another host do something, as its Admin does: body and answer are
// JSON.
func (c *Cluster) AskHost(ctx context.Context, n *directory.Node, op string, body []byte) (json.RawMessage, error) {
	call, err := json.Marshal(adminCall{op, body})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	l, err := c.reach(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", n.ID.Name(), err)
	}
	reply, err := l.Call(ctx, callAdmin, call)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", n.ID.Name(), err)
	}
	return reply, nil
}

// reach is the link to a host. One that does not answer in time is dialled
// again: it may be alive on a busy machine, and has been asked nothing yet.
func (c *Cluster) reach(ctx context.Context, n *directory.Node) (*link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	for {
		l, err := c.Mesh.Link(ctx, string(n.ID), n.Link)
		var late net.Error
		if err == nil || ctx.Err() != nil || !errors.As(err, &late) || !late.Timeout() {
			return l, err
		}
	}
}
