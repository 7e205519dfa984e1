package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
)

// Query says which open rooms of a kind are wanted: those that the filter
// lists, by name, from the first behind After on, at most Most (256 at most).
type Query struct {
	Kind   string
	Filter wire.Filter
	After  string
	Most   int
}

// Listing is what a fan-out found, and how complete it is.
type Listing struct {
	Rooms    []OpenRoom
	More     bool    // there are rooms behind the last
	Asked    int     // hosts that serve the kind
	Answered int     // of them, in time
	Share    float64 // of the rooms of the hosts asked that the answers cover, see Share
}

// Share is the part of the rooms, 0 to 1, that an answer covers for which some
// of the hosts asked answered: they have rooms of the expected ones. Of the
// hosts, where no room is known.
func Share(rooms, expected uint64, answered, asked int) float64 {
	switch {
	case expected > 0:
		return float64(rooms) / float64(expected)
	case asked > 0:
		return float64(answered) / float64(asked)
	}
	return 0
}

const listWithin = 500 * time.Millisecond

// List asks all hosts of a kind for their rooms that take members, within
// 500 ms or ctx. Errors are *wire.Error.
func (r *Resolver) List(ctx context.Context, q Query) (Listing, error) {
	call := openCall{Kind: q.Kind, Most: min(max(q.Most, 0), maxOpen), Filter: q.Filter, ByName: true, After: q.After}
	if err := call.check(); err != nil {
		return Listing{}, wire.Refuse(wire.CodeBadRequest, err.Error())
	}
	v := r.cfg.Members.View()
	var hosts []*Node
	for _, h := range v.Hosts {
		if h.Serves(q.Kind) && (q.Filter.Build == "" || h.Build == q.Filter.Build) {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return Listing{}, noHost(v, Want{Room: wire.Room(q.Kind, ""), Build: q.Filter.Build})
	}
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	all := askSome(hosts, func(some []*Node) []list { return r.lists(ctx, some, call) })
	return compose(all, call.Most), nil
}

var errNotAsked = errors.New("more hosts than one list asks")

// askSome asks as many hosts as one list may; the others count as not answered.
func askSome(hosts []*Node, ask func([]*Node) []list) []list {
	some := min(len(hosts), maxListHost)
	all := ask(hosts[:some])
	for _, n := range hosts[some:] {
		all = append(all, list{node: n, err: errNotAsked})
	}
	return all
}

// compose merges pages. A room that moves may be on two of them: the higher
// epoch is where it is.
func compose(lists []list, most int) Listing {
	all := Listing{Asked: len(lists)}
	var rooms, missing uint64
	for _, l := range lists {
		if l.err != nil {
			missing += uint64(l.node.Load.Rooms)
			continue
		}
		all.Answered++
		rooms += l.has
		all.More = all.More || l.more
		all.Rooms = append(all.Rooms, l.rooms...)
	}
	all.Share = Share(rooms, rooms+missing, all.Answered, all.Asked)
	slices.SortFunc(all.Rooms, func(a, b OpenRoom) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(b.Epoch, a.Epoch))
	})
	all.Rooms = slices.CompactFunc(all.Rooms, func(a, b OpenRoom) bool { return a.Room == b.Room })
	if len(all.Rooms) > most {
		all.Rooms, all.More = all.Rooms[:most], true
	}
	return all
}

// list is one host's part of a fan-out.
type list struct {
	node  *Node
	rooms []OpenRoom
	more  bool
	has   uint64 // rooms in all
	err   error
}

func (r *Resolver) lists(ctx context.Context, hosts []*Node, call openCall) []list {
	if r.cfg.Local != nil {
		return r.cfg.Local.lists(ctx, hosts, call)
	}
	return lists(hosts, func(n *Node) (openReply, error) { return callRooms(ctx, r.cfg.Mesh, n, call) })
}

func (s *Service) lists(ctx context.Context, hosts []*Node, call openCall) []list {
	s.metrics.openAsked.Add(float64(len(hosts)))
	return lists(hosts, func(n *Node) (openReply, error) {
		if n.ID == s.self {
			return s.openHere(&call), nil
		}
		return callRooms(ctx, s.cfg.Mesh, n, call)
	})
}

func (s *Service) openHere(c *openCall) (r openReply) {
	if c.ByName {
		r.Rooms, r.More = s.cfg.Host.Page(c.Kind, c.Filter, c.After, c.Most)
	} else {
		r.Rooms, r.More = s.cfg.Host.Open(c.Kind, c.Filter, c.Most)
	}
	r.Has = uint64(s.cfg.Host.Rooms())
	return r
}

// lists asks all hosts at once. ask comes back when its context ends.
func lists(hosts []*Node, ask func(*Node) (openReply, error)) []list {
	all := make([]list, len(hosts))
	var asks sync.WaitGroup
	for i, n := range hosts {
		asks.Go(func() {
			r, err := ask(n)
			all[i] = list{node: n, rooms: r.Rooms, more: r.More, has: r.Has, err: err}
		})
	}
	asks.Wait()
	return all
}

func callRooms(ctx context.Context, m *link.Mesh, n *Node, call openCall) (openReply, error) {
	body, err := m.Call(ctx, string(n.ID), n.Link, callOpen, encode(call))
	if err != nil {
		return openReply{}, err
	}
	return decodeReply[openReply](body)
}
