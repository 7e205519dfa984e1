package directory

import (
	"context"
	"errors"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// reserve asks a host to hold seats.
func (s *Service) reserve(ctx context.Context, host NodeID, want Reservation) (reserveReply, *Node, error) {
	n := s.cfg.Members.View().Node(host)
	if n == nil {
		return reserveReply{}, nil, errors.New("reserve a seat: the host is gone")
	}
	ctx, cancel := context.WithTimeout(ctx, reserveWithin)
	defer cancel()
	if n.ID == s.self {
		return s.reserveHere(ctx, want), n, nil
	}
	body, err := s.cfg.Mesh.Call(ctx, string(n.ID), n.Link, callReserve, encode(want))
	if err != nil {
		if unanswered(err) {
			s.suspect(n.ID, err)
		}
		return reserveReply{}, n, err
	}
	reply, err := decodeReply[reserveReply](body)
	return reply, n, err
}

func (s *Service) reserveHere(ctx context.Context, want Reservation) reserveReply {
	room, err := s.cfg.Host.Reserve(ctx, want)
	var r reserveReply
	if err != nil {
		e := wire.CodeOf(err)
		r.Refused, r.Text = e.Code, e.Text
	}
	if room.Room != "" {
		r.Room = &room
	}
	return r
}

func (s *Service) handleReserve(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
	want, err := decode[Reservation](body)
	if err != nil {
		return nil, err
	}
	return encode(s.reserveHere(ctx, want)), nil
}
