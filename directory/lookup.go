package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// Locate finds where a room lives, or makes it live somewhere, by way of the
// room's owner. Errors are *wire.Error; one without retry advice may be asked
// again at once.
func (s *Service) Locate(ctx context.Context, req Request) (Location, error) {
	if err := req.check(); err != nil {
		return Location{}, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	return s.locate(ctx, req, 0)
}

func (s *Service) handleLocate(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
	call, err := decodeLocate(body)
	if err != nil {
		return nil, err
	}
	loc, err := s.locate(ctx, call.request(), call.Hops)
	if err != nil {
		return nil, err
	}
	return encode(place(loc)), nil
}

// locateKnown is handleLocate for rooms that this host has entries of, on the
// link's reader: most lookups.
func (s *Service) locateKnown(_ *link.Link, body, reply []byte) (answer []byte, ok bool, err error) {
	call, err := decodeLocate(body)
	if err != nil {
		return nil, true, err
	}
	if call.Mode == wire.ModeAny {
		return nil, false, nil
	}
	loc, err, ok := s.hit(call.request())
	if !ok || err != nil {
		return nil, ok, err
	}
	return append(reply, encode(place(loc))...), true, nil
}

func decodeLocate(body []byte) (locateCall, error) {
	call, err := decode[locateCall](body)
	if err == nil && call.Hops > maxHops {
		err = wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("request was passed on %d times: want at most %d", call.Hops, maxHops))
	}
	return call, err
}

// locate answers from an entry, as owner, or by asking the owner: in this
// order. A request that was forwarded twice is decided here, whoever owns its
// room: views differ, and the claim settles what two owners may do at once.
func (s *Service) locate(ctx context.Context, req Request, hops uint8) (Location, error) {
	key := req.Room
	if req.Mode == wire.ModeAny {
		key = searchKey(&req)
	} else if loc, err, ok := s.hit(req); ok {
		return loc, err
	}
	s.metrics.lookups.Inc()
	if hops >= maxHops {
		s.metrics.limit.Inc()
		return s.decide(ctx, req)
	}
	for owner := range s.cfg.Members.View().Ring.Owners(PartitionOf(key)) {
		if owner.ID == s.self {
			break
		}
		s.metrics.forwards.Inc()
		loc, err := callLocation(ctx, s.cfg.Mesh, owner, req, hops+1)
		if !unanswered(err) {
			return loc, err
		}
		if ctx.Err() != nil {
			return Location{}, wire.Refuse(wire.CodeTimeout, "locate room: "+err.Error())
		}
		s.suspect(owner.ID, err)
	}
	return s.decide(ctx, req)
}

// hit is known for a lookup that has come in.
func (s *Service) hit(req Request) (loc Location, err error, ok bool) {
	if loc, err, ok = s.known(req); ok {
		s.metrics.lookups.Inc()
		s.metrics.hits.Inc()
	}
	return loc, err, ok
}

// known answers from an entry whose node seems alive.
func (s *Service) known(req Request) (loc Location, err error, ok bool) {
	loc, ok = s.table.get(req.Room)
	if !ok || !usable(loc, req) || s.cfg.Members.View().Node(loc.Node) == nil {
		return Location{}, nil, false
	}
	if req.Mode == wire.ModeCreate {
		return Location{}, wire.Refuse(wire.CodeRoomExists, "room exists"), true
	}
	return loc, nil, true
}

// decide handles a request as its room's owner.
func (s *Service) decide(ctx context.Context, req Request) (Location, error) {
	if req.Mode == wire.ModeAny {
		return s.open.find(ctx, req)
	}
	for {
		loc, err := s.searches.do(ctx, req, func(ctx context.Context) (Location, error) { return s.activate(ctx, req) })
		if err != errAgain {
			return loc, err
		}
		if loc, err, ok := s.known(req); ok {
			return loc, err
		}
	}
}

// suspect passes on that a host did not answer.
func (s *Service) suspect(id NodeID, err error) {
	s.metrics.unreachable.Inc()
	var other *link.OtherNodeError
	if s.cfg.Coroner != nil && (link.Refused(err) || errors.As(err, &other)) {
		s.cfg.Coroner.suspectSoon(id)
	}
}

// callLocation asks a host for a room's place.
func callLocation(ctx context.Context, m *link.Mesh, to *Node, req Request, hops uint8) (Location, error) {
	body := encode(newLocateCall(&req, hops))
	reply, err := m.Call(ctx, string(to.ID), to.Link, callLocate, body)
	if err != nil {
		return Location{}, err
	}
	at, err := decodeReply[place](reply)
	return Location(at), err
}

// unanswered reports whether a call failed without a word from its handler.
func unanswered(err error) bool {
	var e *wire.Error
	var h *HeldElsewhere
	return err != nil && !errors.As(err, &e) && !errors.As(err, &h)
}

// timeLeft is a context for work that its asker's leaving does not stop.
func timeLeft(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), most)
}
