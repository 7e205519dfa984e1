package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// simStore stands for the store: claims that name leases, one writer a room.
// It holds every claim and write against the rules and the truth.
type simStore struct {
	net    *simNet
	report func(format string, args ...any)
	lives  func(NodeID) bool // the truth, for proofs of death

	mu     sync.Mutex
	jump   time.Duration // its clock's error
	epoch  wire.Epoch
	rooms  map[wire.RoomID]*simRecord
	leases map[string]time.Time // ends, by NAME#BOOT/COUNT
	grants int
	proofs int

	slow    time.Duration   // of each way
	granted func(simRecord) // told of each; mu is held
}

type simRecord struct {
	loc    Location
	nonce  uint64
	holder string
	puts   int
}

const (
	simStoreIP  = "10.9.9.9"
	simLeaseTTL = 2 * time.Second
)

var (
	errSimStore = errors.New("store can't be reached")
	errSimEnded = errors.New("lease has ended")
	errSimFence = errors.New("fenced")
)

func newSimStore(n *simNet, report func(string, ...any), lives func(NodeID) bool) *simStore {
	return &simStore{net: n, report: report, lives: lives, rooms: map[wire.RoomID]*simRecord{}, leases: map[string]time.Time{}}
}

// reach is the way of a call to the store, which may be delayed, or lost in
// either direction: then it is not known whether it was done.
func (s *simStore) reach(ctx context.Context, from string, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	if err := s.way(ctx, from, simStoreIP); err != nil {
		return err
	}
	s.mu.Lock()
	err := do()
	s.mu.Unlock()
	if lost := s.way(ctx, simStoreIP, from); lost != nil {
		return lost
	}
	return err
}

func (s *simStore) way(ctx context.Context, from, to string) error {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	sleep(ctx, slow)
	for {
		blocked, changed := s.net.blocked(from, to)
		if !blocked {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			// A call that stands in a paused machine's socket goes out later.
			s.net.mu.Lock()
			paused := s.net.paused[from]
			s.net.mu.Unlock()
			if !paused {
				return errSimStore
			}
			<-changed
		}
	}
}

func (s *simStore) runs(holder string) bool { return time.Now().Before(s.leases[holder]) }

func (s *simStore) take(ctx context.Context, from, holder string) error {
	return s.reach(ctx, from, func() error {
		s.leases[holder] = time.Now().Add(simLeaseTTL)
		return nil
	})
}

func (s *simStore) renew(ctx context.Context, from, holder string) error {
	return s.reach(ctx, from, func() error {
		if !s.runs(holder) {
			return errSimEnded
		}
		s.leases[holder] = time.Now().Add(simLeaseTTL)
		return nil
	})
}

// end ends all leases of a process that was proven dead.
func (s *simStore) end(ctx context.Context, from string, id NodeID) error {
	return s.reach(ctx, from, func() error {
		if s.lives(id) {
			s.report("the lease of %s was ended on proof, and it lives", id)
		}
		s.proofs++
		for h := range s.leases {
			if strings.HasPrefix(h, string(id)) {
				delete(s.leases, h)
			}
		}
		return nil
	})
}

// claim is the store's claim, with its rules.
func (s *simStore) claim(ctx context.Context, from string, want simRecord, mode wire.Mode, floor wire.Epoch) (got simRecord, err error) {
	err = s.reach(ctx, from, func() error {
		old := s.rooms[want.loc.Room]
		switch {
		case !s.runs(want.holder):
			return errSimEnded
		case old != nil && old.nonce == want.nonce:
			got = *old
			return nil
		case old != nil && old.holder != "" && old.holder != want.holder && s.runs(old.holder):
			return &HeldElsewhere{Node: old.loc.Node, Epoch: old.loc.Epoch}
		case old != nil && mode == wire.ModeCreate:
			return wire.Refuse(wire.CodeRoomExists, "room exists")
		case old == nil && mode == wire.ModeJoin:
			return wire.Refuse(wire.CodeNoRoom, "no such room")
		}
		clock := wire.Epoch(time.Now().Add(s.jump).UnixMilli())
		s.epoch = max(s.epoch+1, floor+1, clock)
		got = want
		got.loc.Epoch = s.epoch
		if got.loc.Incarnation = wire.Incarnation(s.epoch); old != nil {
			got.loc.Incarnation = old.loc.Incarnation
			if got.loc.Epoch <= old.loc.Epoch {
				got.loc.Epoch = old.loc.Epoch + 1
			}
		}
		s.epoch = max(s.epoch, got.loc.Epoch)
		rec := got
		s.rooms[want.loc.Room] = &rec
		if s.grants++; s.granted != nil {
			s.granted(rec)
		}
		return nil
	})
	return got, err
}

// put is a room's write: accepted from the one durable owner alone.
func (s *simStore) put(ctx context.Context, from string, mine simRecord) error {
	return s.reach(ctx, from, func() error {
		r := s.rooms[mine.loc.Room]
		if r == nil || r.nonce != mine.nonce || r.loc.Epoch != mine.loc.Epoch {
			return errSimFence
		}
		r.puts++
		return nil
	})
}

// truth is who the store says owns a room, and whether that is a live lease's.
func (s *simStore) truth(room wire.RoomID) (Location, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[room]
	if r == nil {
		return Location{}, false
	}
	return r.loc, s.runs(r.holder)
}

// simHost is a room host that has no rooms' code: it claims, holds its lease,
// writes, and gives up what is refused, as rooms/host does.
type simHost struct {
	id    NodeID
	proc  *simProc
	store *simStore

	service *Service // set before run

	mu      sync.Mutex
	holder  string // "" before the first lease
	until   time.Time
	count   int
	nonces  uint64
	live    map[wire.RoomID]simRecord
	flights map[wire.RoomID]chan struct{}
	made    map[wire.RoomID]*simRoom // by searches
	stopped bool
	fenced  int
}

func newSimHost(id NodeID, p *simProc, s *simStore) *simHost {
	return &simHost{id: id, proc: p, store: s, live: map[wire.RoomID]simRecord{}, flights: map[wire.RoomID]chan struct{}{}, made: map[wire.RoomID]*simRoom{}}
}

func (h *simHost) Activate(ctx context.Context, room wire.RoomID, mode wire.Mode, floor wire.Epoch) (Location, error) {
	for {
		h.mu.Lock()
		if r, ok := h.live[room]; ok {
			h.mu.Unlock()
			if mode == wire.ModeCreate {
				return Location{}, wire.Refuse(wire.CodeRoomExists, "room exists")
			}
			if floor < r.loc.Epoch {
				return r.loc, nil
			}
			switch err := h.store.put(ctx, h.proc.ip, r); {
			case errors.Is(err, errSimFence):
				h.drop(r)
				continue
			case err != nil:
				return Location{}, wire.Refuse(wire.CodeUnavailable, err.Error())
			case floor == r.loc.Epoch:
				return r.loc, nil
			}
			h.drop(r) // the asker has seen a higher epoch: claim above it
			continue
		}
		if wait := h.flights[room]; wait != nil {
			h.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return Location{}, wire.Refuse(wire.CodeTimeout, "slow")
			}
		}
		if h.stopped || h.holder == "" || time.Now().After(h.until) {
			h.mu.Unlock()
			return Location{}, &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "no lease"}
		}
		done := make(chan struct{})
		h.flights[room] = done
		h.nonces++
		want := simRecord{holder: h.holder, nonce: h.nonces<<16 | uint64(len(h.id)), loc: Location{Room: room, Node: h.id, Addr: h.addr()}}
		want.nonce ^= nonceOf(h.id)
		h.mu.Unlock()
		return h.bring(ctx, want, mode, floor, done)
	}
}

func nonceOf(id NodeID) uint64 {
	n := uint64(14695981039346656037)
	for _, b := range []byte(id) {
		n = (n ^ uint64(b)) * 1099511628211
	}
	return n << 32
}

func (h *simHost) addr() string { return h.proc.ip + ":" + simLinks }

// bring claims until the store has answered.
func (h *simHost) bring(ctx context.Context, want simRecord, mode wire.Mode, floor wire.Epoch, done chan struct{}) (Location, error) {
	defer func() {
		h.mu.Lock()
		delete(h.flights, want.loc.Room)
		h.mu.Unlock()
		close(done)
	}()
	for try := range 8 {
		got, err := h.store.claim(ctx, h.proc.ip, want, mode, floor)
		if errors.Is(err, errSimStore) && try < 7 && ctx.Err() == nil {
			continue // with the same nonce
		}
		var held *HeldElsewhere
		var refused *wire.Error
		switch {
		case errors.As(err, &held) && held.Node == h.id:
			return Location{}, wire.Refuse(wire.CodeUnavailable, "an earlier lease of this process runs")
		case errors.As(err, &held), errors.As(err, &refused):
			return Location{}, err
		case err != nil:
			return Location{}, wire.Refuse(wire.CodeUnavailable, err.Error())
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.stopped || h.holder != want.holder {
			return Location{}, wire.Refuse(wire.CodeUnavailable, "lease lost meanwhile")
		}
		h.live[want.loc.Room] = got
		return got.loc, nil
	}
	return Location{}, wire.Refuse(wire.CodeUnavailable, "store")
}

func (h *simHost) drop(r simRecord) {
	h.mu.Lock()
	if cur, ok := h.live[r.loc.Room]; ok && cur.nonce == r.nonce {
		delete(h.live, r.loc.Room)
		h.fenced++
	}
	h.mu.Unlock()
	h.service.Unregister(r.loc.Room, r.loc.Epoch)
}

func (h *simHost) Live(yield func(Location) bool) {
	for _, r := range h.copies() {
		if !yield(r.loc) {
			return
		}
	}
}

func (h *simHost) copies() (all []simRecord) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.live {
		all = append(all, r)
	}
	return all
}

// run renews the lease and writes every room, until ctx is done.
func (h *simHost) run(ctx context.Context) {
	defer h.end()
	for ctx.Err() == nil {
		h.beat(ctx)
		if !sleep(ctx, 500*time.Millisecond) {
			return
		}
	}
}

func (h *simHost) beat(ctx context.Context) {
	sent := time.Now()
	err := errSimEnded
	if h.holder != "" {
		err = h.store.renew(ctx, h.proc.ip, h.holder)
	}
	if errors.Is(err, errSimEnded) {
		h.count++
		holder := fmt.Sprintf("%s/%d", h.id, h.count)
		if err = h.store.take(ctx, h.proc.ip, holder); err != nil {
			return
		}
		h.mu.Lock()
		h.holder = holder
		h.mu.Unlock()
		if !h.settle(ctx, holder) {
			return
		}
	}
	if err == nil {
		h.mu.Lock()
		h.until = sent.Add(simLeaseTTL - 220*time.Millisecond)
		h.mu.Unlock()
	}
	for _, r := range h.copies() {
		if errors.Is(h.store.put(ctx, h.proc.ip, r), errSimFence) {
			h.drop(r)
		}
	}
}

// settle checks all claims under a new lease: those that stand name it now.
func (h *simHost) settle(ctx context.Context, holder string) bool {
	for _, r := range h.copies() {
		err := h.store.reach(ctx, h.proc.ip, func() error {
			cur := h.store.rooms[r.loc.Room]
			if cur == nil || cur.nonce != r.nonce {
				return errSimFence
			}
			cur.holder = holder
			return nil
		})
		switch {
		case errors.Is(err, errSimFence):
			h.drop(r)
		case err != nil:
			h.mu.Lock()
			h.holder = "" // take another, and check again
			h.mu.Unlock()
			return false
		}
	}
	return true
}

// end gives everything up, as a process does that is told to.
func (h *simHost) end() {
	h.mu.Lock()
	h.stopped = true
	h.live = map[wire.RoomID]simRecord{}
	h.mu.Unlock()
}

// Superseded: the directory knows the room at a higher epoch. The store
// settles it; where that can't be asked, the higher epoch is proof enough.
func (h *simHost) Superseded(loc Location) {
	h.mu.Lock()
	r, ok := h.live[loc.Room]
	h.mu.Unlock()
	if !ok || r.loc.Epoch >= loc.Epoch {
		return
	}
	go func() {
		if h.store.put(context.Background(), h.proc.ip, r) != nil {
			h.drop(r)
		}
	}()
}
