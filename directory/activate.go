package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/wire"
)

const (
	maxTries   = 3 // hosts that may turn a room down before its asker hears so
	retryAfter = 20 * time.Millisecond
	retryMost  = 200 * time.Millisecond
)

// activation is one search for a host, by a room's owner. It ends when a host
// has the room, a host gives an answer that another would give too, or three
// hosts could not take it.
//
// A claim that somebody else holds is followed to its holder. Where the holder
// can't be reached, or goes on at an epoch that the asker knows to be over, the
// activation goes on trying until that process is proven gone or its lease has
// ended.
type activation struct {
	s     *Service
	req   Request
	tried map[NodeID]bool // could not take the room
}

func (s *Service) activate(ctx context.Context, req Request) (Location, error) {
	a := activation{s: s, req: req, tried: map[NodeID]bool{}}
	wait := retryAfter
	for {
		changed := s.cfg.Members.Changed()
		loc, err := a.round(ctx)
		if err == nil {
			s.metrics.activations.Inc()
			return loc, nil
		}
		var h *HeldElsewhere
		if !errors.As(err, &h) {
			s.metrics.failures.Inc()
			return Location{}, err
		}
		select {
		case <-ctx.Done():
			return Location{}, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500,
				Text: fmt.Sprintf("%v, which does not answer and may live", h)}
		case <-changed: // the holder may have been buried
		case <-time.After(wait):
			wait = min(2*wait, retryMost)
		}
		if loc, err, ok := s.known(req); ok {
			return loc, err
		}
	}
}

// round asks hosts until one answers for good. *HeldElsewhere asks for
// another round.
func (a *activation) round(ctx context.Context) (Location, error) {
	for {
		n, err := a.pick()
		if err != nil {
			return Location{}, err
		}
		loc, err := a.ask(ctx, n)
		var h *HeldElsewhere
		switch {
		case err == nil:
			return loc, nil
		case errors.As(err, &h):
			return a.follow(ctx, h)
		case ctx.Err() != nil:
			return Location{}, &wire.Error{Code: wire.CodeTimeout, RetryMS: 500, Text: "activate room: " + err.Error()}
		case !turnedDown(err):
			return Location{}, err
		}
		a.s.metrics.turnedDown.Inc()
		if a.tried[n.ID] = true; len(a.tried) >= maxTries {
			return Location{}, later(err)
		}
	}
}

// pick is the next host to ask. The one where the asker has just failed comes
// last.
func (a *activation) pick() (*Node, error) {
	v, w := a.s.cfg.Members.View(), a.req.want()
	n, err := a.s.placer.pick(v, w, func(id NodeID) bool { return a.tried[id] || id == a.req.Not })
	if err != nil && a.req.Not != "" {
		n, err = a.s.placer.pick(v, w, func(id NodeID) bool { return a.tried[id] })
	}
	return n, err
}

// Place picks a host for a room, as for an activation, among those for which
// not is false, and counts the room in. Errors are *wire.Error.
func (s *Service) Place(w Want, not func(NodeID) bool) (*Node, error) {
	return s.placer.pick(s.cfg.Members.View(), w, not)
}

// ask makes the room live on a node. Errors are the host's, *HeldElsewhere
// (also where the room lives there at an epoch that is over for the asker), or
// those of the link.
func (a *activation) ask(ctx context.Context, n *Node) (Location, error) {
	loc, err := a.s.callActivate(ctx, n, &a.req)
	if unanswered(err) && ctx.Err() == nil {
		a.s.placer.avoid(n.ID)
		a.s.suspect(n.ID, err)
	}
	if err == nil && loc.Epoch <= a.req.After {
		err = &HeldElsewhere{Node: loc.Node, Epoch: loc.Epoch}
	}
	if err != nil {
		return Location{}, err
	}
	a.s.keep(loc)
	a.s.pass(change{place: place(loc)})
	return loc, nil
}

// follow asks the holder of the claim, which settles where the room lives.
func (a *activation) follow(ctx context.Context, h *HeldElsewhere) (Location, error) {
	a.s.metrics.held.Inc()
	if a.req.Mode == wire.ModeCreate {
		return Location{}, wire.Refuse(wire.CodeRoomExists, "room exists")
	}
	n := a.s.cfg.Members.Find(h.Node)
	if n == nil {
		return Location{}, h
	}
	// Also where that epoch is over for the asker: a holder that let the room
	// out of memory takes it up again, above it.
	loc, err := a.ask(ctx, n)
	var again *HeldElsewhere
	if err == nil || errors.As(err, &again) || !unanswered(err) && !turnedDown(err) {
		return loc, err
	}
	return Location{}, h
}

// callActivate asks a host to take a room.
func (s *Service) callActivate(ctx context.Context, n *Node, q *Request) (Location, error) {
	call := activateCall{Room: q.Room, Mode: q.Mode, Floor: max(q.After, s.table.seen(q.Room)), Made: q.made}
	if n.ID == s.self {
		return s.activateHere(ctx, &call)
	}
	body := encode(call)
	reply, err := s.cfg.Mesh.Call(ctx, string(n.ID), n.Link, callActivate, body)
	if err != nil {
		return Location{}, err
	}
	r, err := decodeReply[activateReply](reply)
	switch {
	case err != nil:
		return Location{}, err
	case r.Held != nil:
		return Location{}, &HeldElsewhere{Node: r.Held.Node, Epoch: r.Held.Epoch}
	case r.At.Room != q.Room:
		return Location{}, wire.Refuse(wire.CodeUnavailable, "host answered for another room")
	}
	return Location(*r.At), nil
}

func (s *Service) activateHere(ctx context.Context, c *activateCall) (Location, error) {
	if c.Made != nil {
		return s.cfg.Host.Create(ctx, c.Room, c.Floor, *c.Made)
	}
	return s.cfg.Host.Activate(ctx, c.Room, c.Mode, c.Floor)
}

// turnedDown reports whether another host might do what this one did not.
func turnedDown(err error) bool {
	if unanswered(err) {
		return true
	}
	switch wire.CodeOf(err).Code {
	case wire.CodeBusy, wire.CodeUnavailable, wire.CodeTimeout, wire.CodeUnknownKind, wire.CodeKindUnavailable:
		return true
	}
	return false
}

// later is an error that tells its asker to wait before it asks again.
func later(err error) error {
	e := *wire.CodeOf(err)
	if e.RetryMS == 0 {
		e.RetryMS = 500
	}
	return &e
}
