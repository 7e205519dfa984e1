package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"
)

// admin has a host's isolated kinds drain with it. The rest is for the host's own
// process.
func (i *isolation) admin(own daemon.Admin) daemon.Admin {
	if i == nil {
		return own
	}
	return func(ctx context.Context, op string, body []byte) (any, error) {
		switch op {
		case daemon.AdminDrain:
			return i.drain(ctx, own, body)
		case daemon.AdminDrainCancel:
			defer i.wake()
			return i.drainState(ctx, own, op, body)
		case daemon.AdminDrainState:
			return i.drainState(ctx, own, op, body)
		case daemon.AdminRestartState:
			return i.restartState(ctx, own, body)
		}
		return own(ctx, op, body)
	}
}

// drain begins with the children. Where one refuses, those that have begun stop;
// a plan begins nothing. A child that ends while its host drains is not started
// again: it would take rooms.
func (i *isolation) drain(ctx context.Context, own daemon.Admin, body []byte) (any, error) {
	var order daemon.DrainOrder
	if err := json.Unmarshal(body, &order); err != nil {
		return nil, wire.Refuse(wire.CodeBadRequest, "drain: "+err.Error())
	}
	if order.DryRun {
		return i.drainAll(ctx, own, body, func(*directory.Node) {})
	}
	var begun []*directory.Node
	err := i.settle(ctx)
	var all any
	if err == nil {
		all, err = i.drainAll(ctx, own, body, func(n *directory.Node) { begun = append(begun, n) })
	}
	if err == nil {
		return all, nil
	}
	if serves(ctx, own) { // it does not drain already
		for _, n := range begun {
			_ = i.ask(ctx, n, daemon.AdminDrainCancel, nil, nil)
		}
		i.wake()
	}
	return nil, err
}

// serves reports whether the host itself takes rooms, as far as drains go.
func serves(ctx context.Context, own daemon.Admin) bool {
	s, err := own(ctx, daemon.AdminDrainState, nil)
	if err != nil {
		return false
	}
	state := s.(DrainStatus).State
	return state == DrainNone || state == DrainCancelled
}

// drainAll asks all children, and then the host. began is told of those that
// accept.
func (i *isolation) drainAll(ctx context.Context, own daemon.Admin, body []byte, began func(*directory.Node)) (any, error) {
	all := drainAnswer{Plan: Plan{Fits: true}}
	add := func(a drainAnswer) {
		all.Plan.Rooms += a.Plan.Rooms
		all.Plan.Members += a.Plan.Members
		all.Plan.Fits = all.Plan.Fits && a.Plan.Fits
		all.Plan.Targets = append(all.Plan.Targets, a.Plan.Targets...)
		all.Plan.Unplaced = append(all.Plan.Unplaced, a.Plan.Unplaced...)
		all.Drain = merged(all.Drain, a.Drain)
	}
	err := i.eachChild(func(node *directory.Node) error {
		var a drainAnswer
		if err := i.ask(ctx, node, daemon.AdminDrain, body, &a); err != nil {
			return err
		}
		began(node)
		add(a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	mine, err := own(ctx, daemon.AdminDrain, body)
	if err != nil {
		return nil, err
	}
	a := mine.(drainAnswer)
	add(a)
	all.Plan.Host = a.Plan.Host
	if all.Drain != nil {
		all.Drain.Host = a.Drain.Host
	}
	return all, nil
}

// settle has no child start any more, and ends those that can't be asked to
// drain because they are starting.
func (i *isolation) settle(ctx context.Context) error {
	for _, child := range i.children {
		child.Rest(true)
		s := child.State()
		if s.Node != "" && i.cluster.Members.View().Node(directory.NodeID(s.Node)) != nil {
			continue
		}
		if err := child.Hold(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wake undoes settle.
func (i *isolation) wake() {
	for _, child := range i.children {
		child.Rest(false)
		child.Release()
	}
}

func (i *isolation) drainState(ctx context.Context, own daemon.Admin, op string, body []byte) (any, error) {
	mine, err := own(ctx, op, body)
	if err != nil {
		return nil, err
	}
	all := mine.(DrainStatus)
	err = i.eachChild(func(node *directory.Node) error {
		var s DrainStatus
		if err := i.ask(ctx, node, op, body, &s); err != nil {
			if op == daemon.AdminDrainCancel { // it may have come since the drain began
				return nil
			}
			// It dies, and its rooms come up elsewhere, or it answers soon.
			s = DrainStatus{State: DrainRunning, ETA: -1, Waits: fmt.Sprintf("%s does not answer: %v", node.ID.Name(), err)}
		}
		host := all.Host
		all = *merged(&all, &s)
		all.Host = host
		return nil
	})
	return all, err
}

// restartState counts what went wrong in the children too. What one that died had
// counted went with it: its death stands for that.
func (i *isolation) restartState(ctx context.Context, own daemon.Admin, body []byte) (any, error) {
	mine, err := own(ctx, daemon.AdminRestartState, body)
	if err != nil {
		return nil, err
	}
	all := mine.(RestartState)
	err = i.eachChild(func(node *directory.Node) error {
		var s RestartState
		if err := i.ask(ctx, node, daemon.AdminRestartState, body, &s); err != nil {
			return err
		}
		all.Failures.add(s.Failures)
		return nil
	})
	if err != nil && all.NotReady == "" { // it may be dying
		all.NotReady = err.Error()
	}
	for _, s := range i.states() {
		all.Failures.add(Failures{Panics: int64(s.Deaths)})
	}
	return all, nil
}

func (i *isolation) eachChild(do func(*directory.Node) error) error {
	for _, s := range i.states() {
		node := i.cluster.Members.View().Node(directory.NodeID(s.Node))
		if node == nil {
			continue // it has no rooms now
		}
		if err := do(node); err != nil {
			return fmt.Errorf("process of kind %s: %w", s.Kind, err)
		}
	}
	return nil
}

func (i *isolation) ask(ctx context.Context, node *directory.Node, op string, body []byte, answer any) error {
	raw, err := i.cluster.AskHost(ctx, node, op, body)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return errors.New("answer does not decode: " + err.Error())
	}
	return nil
}

// worse orders the states of drains: of several the worst is that of all.
var worse = map[string]int{DrainDone: 0, DrainCancelled: 1, DrainNone: 2, DrainRunning: 3, DrainFailed: 4}

// merged is two drains as one.
func merged(a, b *DrainStatus) *DrainStatus {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	s := *a
	if worse[b.State] > worse[a.State] {
		s.State, s.Error = b.State, b.Error
	}
	s.Total, s.Left, s.Moved, s.Failures = a.Total+b.Total, a.Left+b.Left, a.Moved+b.Moved, a.Failures+b.Failures
	s.Elapsed, s.Deadline, s.Rate = max(a.Elapsed, b.Elapsed), max(a.Deadline, b.Deadline), a.Rate+b.Rate
	s.ETA, s.Waits = max(a.ETA, b.ETA), cmp.Or(a.Waits, b.Waits)
	s.Pause = Pauses{max(a.Pause.P50, b.Pause.P50), max(a.Pause.P99, b.Pause.P99), max(a.Pause.Max, b.Pause.Max)}
	s.Blockers = append(append([]Blocker{}, a.Blockers...), b.Blockers...)
	s.Blockers = s.Blockers[:min(len(s.Blockers), maxBlockers)]
	return &s
}
