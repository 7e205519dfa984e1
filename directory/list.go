package directory

import (
	"context"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// Listing is what a fan-out found, and how complete it is.
type Listing struct {
	Rooms    []OpenRoom
	Asked    int // hosts that serve the kind
	Answered int // of them, in time
}

const listWithin = 500 * time.Millisecond

// List asks all hosts of a kind for their rooms that take members, each for at
// most 256, and answers with at most most of them, within 500 ms or ctx.
func (r *Resolver) List(ctx context.Context, kind string, most int) (Listing, error) {
	if err := wire.CheckKind(kind); err != nil {
		return Listing{}, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	v := r.cfg.Members.View()
	var hosts []*Node
	for _, h := range v.Hosts {
		if h.Serves(kind) && len(hosts) < maxListHost {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return Listing{}, noHost(v, Want{Room: wire.Room(kind, "")})
	}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	all := Listing{Asked: len(hosts)}
	for _, l := range r.lists(ctx, hosts, kind) {
		if l.err == nil {
			all.Answered++
			all.Rooms = append(all.Rooms, l.rooms...)
		}
	}
	all.Rooms = all.Rooms[:min(len(all.Rooms), max(most, 0))]
	return all, nil
}

// list is one host's part of a fan-out.
type list struct {
	node  *Node
	rooms []OpenRoom
	err   error
}

func (r *Resolver) lists(ctx context.Context, hosts []*Node, kind string) []list {
	if r.cfg.Local != nil {
		return r.cfg.Local.lists(ctx, hosts, kind)
	}
	return lists(hosts, func(n *Node) ([]OpenRoom, error) { return callRooms(ctx, r.cfg.Mesh, n, kind) })
}

func (s *Service) lists(ctx context.Context, hosts []*Node, kind string) []list {
	s.metrics.openAsked.Add(float64(len(hosts)))
	return lists(hosts, func(n *Node) ([]OpenRoom, error) {
		if n.ID == s.self {
			return s.cfg.Host.Open(kind, maxOpen), nil
		}
		return callRooms(ctx, s.cfg.Mesh, n, kind)
	})
}

// lists asks all hosts at once. ask comes back when its context ends.
func lists(hosts []*Node, ask func(*Node) ([]OpenRoom, error)) []list {
	all := make([]list, len(hosts))
	var asks sync.WaitGroup
	for i, n := range hosts {
		asks.Go(func() {
			rooms, err := ask(n)
			all[i] = list{node: n, rooms: rooms, err: err}
		})
	}
	asks.Wait()
	return all
}

func callRooms(ctx context.Context, m *link.Mesh, n *Node, kind string) ([]OpenRoom, error) {
	body, err := m.Call(ctx, string(n.ID), n.Link, callOpen, encode(openCall{Kind: kind, Most: maxOpen}))
	if err != nil {
		return nil, err
	}
	reply, err := decodeReply[openReply](body)
	return reply.Rooms, err
}
