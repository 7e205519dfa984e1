package directory

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

const (
	// refreshEvery is how often hosts are asked for all their open rooms of a key,
	// at most, and only for a search. Where that is more than can be kept, each
	// search that finds nothing asks besides for what it wants.
	refreshEvery  = 250 * time.Millisecond
	refreshWithin = 200 * time.Millisecond
	reserveWithin = 500 * time.Millisecond
	maxOpenKeys   = 256  // kinds, or pools of them, that are searched
	maxOpenRooms  = 4096 // of one key that are kept track of
	maxOpenGone   = 256  // of one key: surplus rooms that were counted, and as many hidden ones
	maxOpenWait   = 8192 // searches of one key under way
	maxSeatTries  = 8    // rooms that may refuse one search a seat
)

// openIndex finds open rooms, on the host that owns a search's key: its kind
// and pool. What it knows is a hint: the room's host confirms each seat, and
// holds it for who was sent. Searches of a key choose one after the other, so
// that they fill one room after the other.
type openIndex struct {
	s *Service

	mu   sync.Mutex
	rand *rand.Rand               // guarded by mu
	keys map[wire.RoomID]*openKey // guarded by mu
}

// openKey is the index of one kind and pool.
type openKey struct {
	kind string
	pool string

	turn    chan struct{} // capacity 1
	waiting int           // guarded by openIndex.mu

	// Owned by who holds turn.
	fetched time.Time
	since   time.Time                      // asked as the key's owner without a break; zero: not the owner
	surplus recent[wire.RoomID, time.Time] // counted as such
	hidden  recent[wire.RoomID, hidden]    // open, but their hosts left the view

	mu    sync.Mutex
	more  bool // there are rooms that rooms does not hold; guarded by mu
	rooms map[wire.RoomID]*seating
	word  chan struct{} // closed with a host's next word on a seat; guarded by mu
}

// seating is an open room as its host last told.
type seating struct {
	node    NodeID
	born    time.Time // its copy
	last    OpenRoom
	pending int  // seats of searches that wait for the host's word
	counted bool // last may count some of them, too
}

// heard takes what the room's host told.
func (r *seating) heard(o OpenRoom) { r.last, r.counted = o, r.pending > 0 }

// hidden is an open room that can't be seen any more.
type hidden struct {
	since time.Time
	epoch wire.Epoch
}

// searchKey is what a search is hashed by.
func searchKey(q *Request) wire.RoomID {
	f := q.Filter.Normal()
	if f.Pool == "" {
		return wire.Room(q.Room.Kind(), "")
	}
	return wire.Room(q.Room.Kind(), "/"+f.Pool) // no room's name begins with /
}

func newOpenIndex(s *Service, r *rand.Rand) *openIndex {
	return &openIndex{s: s, rand: r, keys: map[wire.RoomID]*openKey{}}
}

// find answers with the fullest room that will do and has reserved a seat, or
// makes a room.
func (x *openIndex) find(ctx context.Context, req Request) (Location, error) {
	req.Filter = req.Filter.Normal()
	req.NotRooms = slices.Clone(req.NotRooms)
	if req.Member == 0 { // who asks without a name gets a seat all the same
		req.Member = wire.MemberID(x.number()>>11 | 1)
	}
	k, err := x.enter(&req)
	if err != nil {
		return Location{}, err
	}
	defer x.exit(k)
	ctx, cancel := timeLeft(ctx, x.s.cfg.Within)
	defer cancel()
	for range maxSeatTries {
		room, at, err := x.choose(ctx, k, &req)
		if err != nil || room == "" {
			return at, err
		}
		if at, ok := x.reserve(ctx, k, room, &req); ok {
			x.s.metrics.openFound.Inc()
			return at, nil
		}
		req.NotRooms = append(req.NotRooms, room)
	}
	return Location{}, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "open rooms fill faster than seats are given"}
}

func (x *openIndex) enter(req *Request) (*openKey, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := searchKey(req)
	k := x.keys[key]
	if k == nil {
		if v := x.s.cfg.Members.View(); !v.Known(req.Room.Kind()) {
			return nil, noHost(v, req.want())
		}
		x.dropIdleLocked()
		if len(x.keys) >= maxOpenKeys {
			x.s.metrics.openBusy.Inc()
			return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 1000, Text: "too many kinds and pools are being searched"}
		}
		k = &openKey{
			kind: req.Room.Kind(), pool: req.Filter.Pool, turn: make(chan struct{}, 1), rooms: map[wire.RoomID]*seating{}, word: make(chan struct{}),
			surplus: newRecent[wire.RoomID, time.Time](maxOpenGone), hidden: newRecent[wire.RoomID, hidden](maxOpenGone),
		}
		x.keys[key] = k
	}
	if k.waiting >= maxOpenWait {
		x.s.metrics.openBusy.Inc()
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "too many search for a room of the kind"}
	}
	k.waiting++
	return k, nil
}

func (x *openIndex) exit(k *openKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k.waiting--
}

// dropIdleLocked makes space for another key where there is none.
func (x *openIndex) dropIdleLocked() {
	if len(x.keys) < maxOpenKeys {
		return
	}
	for key, k := range x.keys {
		if k.waiting == 0 {
			delete(x.keys, key)
			return
		}
	}
}

// choose picks a room with seats for the search, in turn, and counts them as
// pending. Where there is none it makes a room: then room is "", and at says
// where the seat is.
func (x *openIndex) choose(ctx context.Context, k *openKey, req *Request) (room wire.RoomID, at Location, err error) {
	late := wire.Refuse(wire.CodeTimeout, "no open room was found in time")
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return "", at, late
	}
	if ctx.Err() != nil {
		return "", at, late
	}
	x.follow(k)
	if time.Since(k.fetched) >= refreshEvery {
		x.refresh(ctx, k, wire.Filter{Pool: k.pool}, true)
		k.fetched = time.Now()
	}
	v := x.s.cfg.Members.View()
	if room = k.settled(ctx, v, req); room != "" {
		return room, at, nil
	}
	if k.truncated() {
		x.refresh(ctx, k, req.Filter, false)
		if room, _ = k.pick(v, req); room != "" {
			return room, at, nil
		}
	}
	at, err = x.create(ctx, k, req)
	return "", at, err
}

// follow notes since when searches come here because this node owns the key.
func (x *openIndex) follow(k *openKey) {
	key := searchKey(&Request{Room: wire.Room(k.kind, ""), Filter: wire.Filter{Pool: k.pool}})
	if owner := x.s.cfg.Members.View().Ring.Primary(key); owner == nil || owner.ID != x.s.self {
		k.since = time.Time{}
	} else if k.since.IsZero() {
		k.since = time.Now()
	}
}

// settled picks a room, and waits a little for hosts' words where only seats that
// may be counted twice keep a room from being picked: one made instead would be
// one too many.
func (k *openKey) settled(ctx context.Context, v *View, req *Request) wire.RoomID {
	ctx, cancel := context.WithTimeout(ctx, reserveWithin)
	defer cancel()
	for {
		room, unsure := k.pick(v, req)
		if room != "" || unsure == nil {
			return room
		}
		select {
		case <-unsure:
		case <-ctx.Done():
			return ""
		}
	}
}

// pick is the room with the most members that will do, of which it takes the
// seats; "" where there is none. Equally full ones go by name. A host's word may
// count seats that are still pending here: unsure is closed with the next word
// where a room has seats unless none of its pending ones is in its count.
func (k *openKey) pick(v *View, req *Request) (best wire.RoomID, unsure <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var room *seating
	for id, r := range k.rooms {
		if slices.Contains(req.NotRooms, id) || !r.suits(v, req) {
			continue
		}
		if r.last.Max-r.taken() < req.Filter.Places() {
			if r.counted && r.last.Max-r.taken()+r.pending >= req.Filter.Places() {
				unsure = k.word
			}
			continue
		}
		if room == nil || r.taken() > room.taken() || r.taken() == room.taken() && id < best {
			best, room = id, r
		}
	}
	if room != nil {
		room.pending += req.Filter.Places()
	}
	return best, unsure
}

func (r *seating) taken() int { return r.last.Members + r.last.Reserved + r.pending }

func (r *seating) suits(v *View, req *Request) bool {
	n := v.Node(r.node)
	return n != nil && r.node != req.Not && r.last.Epoch > req.After &&
		(req.Filter.Build == "" || n.Build == req.Filter.Build) && req.Filter.Matches(r.last.Labels)
}

// reserve asks the room's host for the seats that pick took.
func (x *openIndex) reserve(ctx context.Context, k *openKey, room wire.RoomID, req *Request) (Location, bool) {
	k.mu.Lock()
	r := k.rooms[room]
	var host NodeID
	if r != nil {
		host = r.node
	}
	k.mu.Unlock()
	if r == nil {
		return Location{}, false
	}
	reply, n, err := x.s.reserve(ctx, host, Reservation{Room: room, Member: req.Member, Filter: req.Filter})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wordLocked(r, req.Filter.Places(), reply.Room)
	if err == nil && reply.Refused == 0 {
		o := reply.Room
		return Location{Room: room, Node: n.ID, Addr: n.Link, Epoch: o.Epoch, Incarnation: o.Incarnation}, true
	}
	x.s.metrics.openRefused.Inc()
	if reply.Refused != wire.CodeRoomFull && k.rooms[room] == r {
		delete(k.rooms, room) // until its host lists it again
	}
	return Location{}, false
}

// wordLocked takes a host's word on pending seats; nil: it gave none.
func (k *openKey) wordLocked(r *seating, places int, o *OpenRoom) {
	r.pending -= places
	r.counted = r.counted && r.pending > 0
	if o != nil && o.newer(&r.last) {
		r.heard(*o)
	}
	close(k.word)
	k.word = make(chan struct{})
}

// create makes a room with a random name and gives away its first seats.
func (x *openIndex) create(ctx context.Context, k *openKey, req *Request) (Location, error) {
	room := wire.Room(k.kind, x.name())
	loc, err := x.s.activate(ctx, Request{
		Room: room, Mode: wire.ModeCreate, After: req.After, Not: req.Not, Filter: wire.Filter{Build: req.Filter.Build},
		made: &Made{Labels: req.Filter.Made(), By: x.s.self},
	})
	if err != nil {
		return Location{}, err
	}
	x.s.metrics.openCreated.Inc()
	k.mu.Lock()
	k.rooms[room] = &seating{node: loc.Node, born: time.Now(), pending: req.Filter.Places()}
	k.mu.Unlock()
	at, ok := x.reserve(ctx, k, room, req)
	if !ok {
		return Location{}, wire.Refuse(wire.CodeUnavailable, "the room that was made does not take who it was made for")
	}
	return at, nil
}

// name is 12 characters of base32: 60 random bits.
func (x *openIndex) name() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	bits := x.number()
	b := make([]byte, 12)
	for i := range b {
		b[i] = letters[bits>>(5*i)&31]
	}
	return string(b)
}

func (x *openIndex) number() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rand.Uint64()
}
