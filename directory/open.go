package directory

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

const (
	refreshEvery  = 250 * time.Millisecond // at most this often are hosts asked, and only for a search
	refreshWithin = 200 * time.Millisecond
	seatFor       = 5 * time.Second // how long a seat is kept for who was sent to it
	maxOpenKinds  = 256
	maxOpenWait   = 8192 // searches of one kind that wait for their turn
)

// openIndex finds open rooms of a kind, on the host that owns the key KIND/.
// What it knows is a hint: the room's host confirms each seat. Searches of a
// kind take turns, so that they fill one room after the other.
type openIndex struct {
	s *Service

	mu    sync.Mutex
	rand  *rand.Rand           // guarded by mu
	kinds map[string]*openKind // guarded by mu
}

// openKind is the index of one kind. Who holds turn owns the rest.
type openKind struct {
	name    string
	turn    chan struct{} // capacity 1
	waiting int           // guarded by openIndex.mu

	fetched time.Time
	seats   int // of the newest room reported: what a new one is taken to have
	rooms   map[wire.RoomID]*seating
}

// seating is one open room as its host last reported it, and the seats
// answered to searches whose members that report did not yet have.
type seating struct {
	node    NodeID
	at      Location // zero before it is first looked up
	members int
	max     int
	given   []time.Time // oldest first
}

func newOpenIndex(s *Service, r *rand.Rand) *openIndex {
	return &openIndex{s: s, rand: r, kinds: map[string]*openKind{}}
}

// find answers with the fullest room of the kind that has a seat, or makes a
// room.
func (x *openIndex) find(ctx context.Context, req Request) (Location, error) {
	k, err := x.enter(req.Room.Kind())
	if err != nil {
		return Location{}, err
	}
	defer x.exit(k)
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return Location{}, wire.Refuse(wire.CodeTimeout, "find open room: "+ctx.Err().Error())
	}
	if ctx.Err() != nil {
		return Location{}, wire.Refuse(wire.CodeTimeout, "find open room: "+ctx.Err().Error())
	}
	ctx, cancel := timeLeft(ctx, x.s.cfg.Within)
	defer cancel()
	if time.Since(k.fetched) >= refreshEvery {
		x.refresh(ctx, k)
	}
	if loc, ok := x.seat(ctx, k, req); ok {
		x.s.metrics.openFound.Inc()
		return loc, nil
	}
	return x.create(ctx, k, req)
}

func (x *openIndex) enter(kind string) (*openKind, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := x.kinds[kind]
	if k == nil {
		if v := x.s.cfg.Members.View(); !v.Known(kind) {
			return nil, noHost(v, Want{Room: wire.Room(kind, "")})
		}
		x.dropIdleLocked()
		if len(x.kinds) >= maxOpenKinds {
			return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 1000, Text: "too many kinds are being searched"}
		}
		k = &openKind{name: kind, turn: make(chan struct{}, 1), rooms: map[wire.RoomID]*seating{}}
		x.kinds[kind] = k
	}
	if k.waiting >= maxOpenWait {
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many search for a room of the kind"}
	}
	k.waiting++
	return k, nil
}

func (x *openIndex) exit(k *openKind) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k.waiting--
}

// dropIdleLocked makes space for another kind where there is none.
func (x *openIndex) dropIdleLocked() {
	if len(x.kinds) < maxOpenKinds {
		return
	}
	for name, k := range x.kinds {
		if k.waiting == 0 {
			delete(x.kinds, name)
			return
		}
	}
}

// refresh takes in what the hosts list now. Rooms of a host that does not
// answer stay as they were.
func (x *openIndex) refresh(ctx context.Context, k *openKind) {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	v := x.s.cfg.Members.View()
	for id, r := range k.rooms {
		if v.Node(r.node) == nil {
			delete(k.rooms, id)
		}
	}
	var hosts []*Node
	for _, h := range v.Hosts {
		if h.Serves(k.name) && !h.Draining {
			hosts = append(hosts, h)
		}
	}
	for _, l := range x.s.lists(ctx, hosts, k.name) {
		if l.err != nil {
			x.s.metrics.openMissed.Inc()
			continue
		}
		k.take(l.node.ID, l.rooms, time.Now())
	}
	k.fetched = time.Now()
}

// take brings the rooms of one host up to its report. Members that came since
// the last report take up the oldest seats given.
func (k *openKind) take(node NodeID, rooms []OpenRoom, now time.Time) {
	listed := make(map[wire.RoomID]bool, len(rooms))
	for _, o := range rooms {
		listed[o.Room] = true
		r := k.rooms[o.Room]
		if r == nil || r.node != node {
			r = &seating{node: node, members: o.Members}
			k.rooms[o.Room] = r
		}
		arrived := max(0, o.Members-r.members)
		r.given = r.given[min(arrived, len(r.given)):]
		r.members, r.max = o.Members, o.Max
		k.seats = o.Max
	}
	for id, r := range k.rooms {
		if r.node == node && !listed[id] {
			delete(k.rooms, id)
		}
	}
	k.expire(now)
}

func (k *openKind) expire(now time.Time) {
	for _, r := range k.rooms {
		for len(r.given) > 0 && now.Sub(r.given[0]) > seatFor {
			r.given = r.given[1:]
		}
	}
}

// seat gives away a seat in the fullest room that has one.
func (x *openIndex) seat(ctx context.Context, k *openKind, req Request) (Location, bool) {
	for {
		id, r := k.fullest(req.Not)
		if r == nil {
			return Location{}, false
		}
		if r.at.Epoch == 0 {
			at, err := x.s.locate(ctx, Request{Room: id, Mode: wire.ModeJoin}, 0)
			if err != nil {
				delete(k.rooms, id) // until its host lists it again
				continue
			}
			r.at, r.node = at, at.Node
		}
		if !usable(r.at, req) {
			delete(k.rooms, id)
			continue
		}
		r.given = append(r.given, time.Now())
		return r.at, true
	}
}

// fullest is the room with the most members that has a seat and is not on the
// node not. Equally full ones go by name.
func (k *openKind) fullest(not NodeID) (best wire.RoomID, room *seating) {
	for id, r := range k.rooms {
		if r.taken() >= r.max || r.node == not {
			continue
		}
		if room == nil || cmp.Or(cmp.Compare(room.taken(), r.taken()), cmp.Compare(id, best)) < 0 {
			best, room = id, r
		}
	}
	return best, room
}

func (r *seating) taken() int { return r.members + len(r.given) }

// create makes a room with a random name and gives away its first seat.
func (x *openIndex) create(ctx context.Context, k *openKind, req Request) (Location, error) {
	room := wire.Room(k.name, x.name())
	loc, err := x.s.activate(ctx, Request{Room: room, Mode: wire.ModeCreate, After: req.After, Not: req.Not})
	if err != nil {
		return Location{}, err
	}
	x.s.metrics.openCreated.Inc()
	if k.seats == 0 {
		x.learnSeats(ctx, k, loc.Node)
	}
	k.rooms[room] = &seating{node: loc.Node, at: loc, max: max(k.seats, 1), given: []time.Time{time.Now()}}
	return loc, nil
}

// learnSeats asks a host how many seats rooms of the kind have.
func (x *openIndex) learnSeats(ctx context.Context, k *openKind, host NodeID) {
	n := x.s.cfg.Members.View().Node(host)
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	for _, l := range x.s.lists(ctx, []*Node{n}, k.name) {
		for _, o := range l.rooms {
			k.seats = o.Max
		}
	}
}

// name is 12 characters of base32: 60 random bits.
func (x *openIndex) name() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	x.mu.Lock()
	defer x.mu.Unlock()
	b := make([]byte, 12)
	for i := range b {
		b[i] = letters[x.rand.IntN(len(letters))]
	}
	return string(b)
}
