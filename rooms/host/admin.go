package host

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"
)

// moveReport is what an operator is told of a move.
type moveReport struct {
	Room  string  `json:"room"`
	From  string  `json:"from"`
	To    string  `json:"to"`
	Epoch uint64  `json:"epoch"`
	Pause float64 `json:"pause_ms"`
}

// admin does what operators ask of this host.
func (h *Host) admin(ctx context.Context, op string, body []byte) (any, error) {
	switch op {
	case daemon.AdminMove:
		return h.moveOrdered(ctx, body)
	case daemon.AdminDrain:
		return h.drainOrdered(ctx, body)
	case daemon.AdminDrainCancel:
		if err := h.CancelDrain(); err != nil {
			return nil, err
		}
		return h.DrainState(), nil
	case daemon.AdminDrainState:
		return h.DrainState(), nil
	case daemon.AdminRebalance:
		return h.rebalanceOrdered(body)
	}
	return h.roomOrdered(ctx, op, body)
}

// roomOrdered does what is asked of one room.
func (h *Host) roomOrdered(ctx context.Context, op string, body []byte) (any, error) {
	var q daemon.RoomOrder
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, op+": "+err.Error())
	}
	id := wire.RoomID(q.Room)
	switch op {
	case daemon.AdminRoom:
		return h.Detail(ctx, id)
	case daemon.AdminHistory:
		return h.chronicle.of(id), nil
	case daemon.AdminClose:
		_, err := h.ask(ctx, id, &act{do: actClose, reason: q.Reason})
		return q, err
	case daemon.AdminKick:
		_, err := h.ask(ctx, id, &act{do: actKick, member: wire.MemberID(q.Member), reason: q.Reason})
		return q, err
	}
	return nil, wire.Refuse(wire.CodeBadRequest, "unknown request "+op)
}

func (h *Host) moveOrdered(ctx context.Context, body []byte) (any, error) {
	var q daemon.MoveOrder
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "move: "+err.Error())
	}
	m, err := h.Move(ctx, wire.RoomID(q.Room), directory.NodeID(q.Node), q.Addr, 0)
	var e *wire.Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		text := err.Error()
		if err == error(e) { // else its code is told twice
			text = e.Text
		}
		return nil, &wire.Error{Code: e.Code, RetryMS: e.RetryMS, Text: text}
	default:
		return nil, wire.Refuse(wire.CodeUnavailable, err.Error())
	}
	return moveReport{q.Room, h.cfg.Node.Name(), m.Node.Name(), uint64(m.Epoch), float64(m.Pause.Microseconds()) / 1000}, nil
}

// drainAnswer is the plan and, unless it was a dry run, how the drain goes.
type drainAnswer struct {
	Plan  Plan         `json:"plan"`
	Drain *DrainStatus `json:"drain,omitempty"`
}

func (h *Host) drainOrdered(ctx context.Context, body []byte) (any, error) {
	var q daemon.DrainOrder
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "drain: "+err.Error())
	}
	if q.Deadline < 0 || q.Patience < 0 || q.Rate < 0 || q.AtOnce < 0 || q.Pause < 0 || q.Deadline > 86400 || q.Pause > 60 || q.AtOnce > 64 {
		return nil, wire.Refuse(wire.CodeBadRequest, "drain: want a deadline of at most a day, a pause of at most a minute, at most 64 rooms at once, nothing negative")
	}
	if q.DryRun {
		p, err := h.Plan(ctx)
		return drainAnswer{Plan: p}, err
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	p, err := h.StartDrain(ctx, DrainOptions{Deadline: seconds(q.Deadline), Patience: seconds(q.Patience), Rate: q.Rate, AtOnce: q.AtOnce, Pause: seconds(q.Pause)})
	if err != nil {
		return nil, err
	}
	s := h.DrainState()
	return drainAnswer{p, &s}, nil
}

func (h *Host) rebalanceOrdered(body []byte) (any, error) {
	var q daemon.BalanceOrder
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "rebalance: "+err.Error())
	}
	switch {
	case q.DryRun:
		return h.BalanceState(), nil
	case q.Stop:
		return h.StopRebalance(), nil
	}
	return h.Rebalance(BalanceOptions{Rate: q.Rate})
}
