package host

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/handover"
	"github.com/limpet-games/limpet/wire"
)

// What became of a room that a predecessor left.
const (
	adoptedShared   = "shared"    // it goes on as it was in shared memory
	adoptedStored   = "stored"    // it goes on from the store
	adoptedElse     = "elsewhere" // another host has it, or it is over
	adoptedRefused  = "failed"    // it does not load; the store keeps it
	adoptedUnknown  = "unknown_kind"
	adoptedUnusable = "unusable" // the whole file, counted once
)

const (
	adoptPatience = 3 * time.Second  // for the store, until links are served although rooms wait
	waitsAgain    = 5 * time.Second  // until the nodes are told again that they do
	handOnAhead   = 4                // batches of claims handed on ahead of the rooms
	staleWithin   = 30 * time.Second // until a room in which nothing happens is saved after a restart in place
	adoptParts    = 16               // garbage is collected so many times while rooms come out of shared memory
)

// Adoption is how the rooms that a predecessor left were taken up.
type Adoption struct {
	Restarts int     `json:"restarts"` // in place, of this process so far
	Build    string  `json:"build"`    // of the predecessor
	Rooms    int     `json:"rooms"`
	Shared   int     `json:"shared"` // went on from shared memory
	Stored   int     `json:"stored"` // went on from the store
	Other    int     `json:"other"`  // live elsewhere, are over, or don't load
	Bytes    int64   `json:"bytes"`
	FrozenMS float64 `json:"frozen_ms"` // it took to write them
	AdoptMS  float64 `json:"adopt_ms"`  // and to take them up
	TotalMS  float64 `json:"total_ms"`  // from the order to the last room
	Error    string  `json:"error,omitempty"`
}

// adoption is the taking up of what a predecessor left.
type adoption struct {
	done  chan struct{} // closed when it is over
	tell  sync.Once     // that links may be served
	waits atomic.Bool   // for the store, with nothing touched yet

	mu     sync.Mutex
	report Adoption // guarded by mu
}

// AdoptState tells how the last restart in place went; false: there was none,
// or it is not over.
func (h *Host) AdoptState() (Adoption, bool) {
	a := &h.adoption
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report, isDone(a.done) && (a.report.Restarts > 0 || a.report.Rooms > 0)
}

func (h *Host) mayServe() {
	h.adoption.tell.Do(func() {
		if h.cfg.Adopted != nil {
			h.cfg.Adopted()
		}
	})
}

// adopt takes up the rooms that a predecessor left in shared memory: this
// process as it was before, or one that ran under its name.
func (h *Host) adopt(ctx context.Context) {
	began := time.Now()
	defer h.mayServe()
	defer close(h.adoption.done)
	defer h.adoption.waits.Store(false)
	var rep Adoption
	if in := h.cfg.Inherited; in != nil {
		rep.Restarts, rep.FrozenMS = in.Marks, ms(in.Frozen)
		defer h.endMark(h.cfg.Node, markOf(string(h.cfg.Node), in.Marks), "")
		began = in.Began
	}
	if h.cfg.Shared == "" {
		return
	}
	file, err := h.takeFile(ctx)
	switch {
	case errors.Is(err, handover.ErrNone) && h.cfg.Inherited == nil:
		return
	case err != nil:
		rep.Error = err.Error()
		h.metrics.adopted.WithLabelValues(adoptedUnusable).Inc()
		h.log.Warn().Err(err).Msg("rooms of the predecessor are taken from the store")
	default:
		h.adoptAll(ctx, file, &rep)
		if node := nodeOf(file.Lease); node != h.cfg.Node {
			h.endMark(node, file.Mark, file.Lease)
		}
		file.Close()
	}
	rep.TotalMS = ms(time.Since(began))
	h.adoption.mu.Lock()
	h.adoption.report = rep
	h.adoption.mu.Unlock()
	h.log.Info().Int("rooms", rep.Rooms).Int("shared", rep.Shared).Int("stored", rep.Stored).Int("other", rep.Other).
		Float64("took_ms", rep.TotalMS).Msg("rooms of the predecessor taken up")
}

// takeFile waits for the store, and then takes the file up. Until then nothing is
// touched: whatever becomes of this process, the next one finds the rooms.
func (h *Host) takeFile(ctx context.Context) (*handover.Reader, error) {
	head, err := handover.Peek(h.cfg.Shared)
	if err != nil {
		return handover.Take(h.cfg.Shared) // it says what is wrong
	}
	h.adoption.waits.Store(true)
	late := time.AfterFunc(adoptPatience, h.mayServe)
	defer late.Stop()
	for !h.lease.granted() {
		round, cancel := context.WithTimeout(ctx, waitsAgain)
		err := h.lease.await(round)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			h.log.Warn().Str("of", head.Node).Msg("rooms of the predecessor wait in shared memory: the store does not answer")
			if h.cfg.Waits != nil {
				h.cfg.Waits(nodeOf(head.Lease))
			}
		}
	}
	return handover.Take(h.cfg.Shared)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// endMark says that a node's restart is over: in the store, and to the nodes.
func (h *Host) endMark(node directory.NodeID, mark, lease snapshot.Holder) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, l := range []snapshot.Holder{mark, lease} {
		if l == "" {
			continue
		}
		if err := h.cfg.Store.EndLease(ctx, l); err != nil {
			h.log.Warn().Err(err).Str("lease", string(l)).Msg("lease of the predecessor not ended, it runs out by itself")
		}
	}
	h.mayServe()
	if h.cfg.Back != nil {
		h.cfg.Back(node)
	}
}

// adoptAll takes up every room of a file.
func (h *Host) adoptAll(ctx context.Context, file *handover.Reader, rep *Adoption) {
	rep.Build, rep.Rooms = file.Build, len(file.Rooms)
	flights := h.expectAll(file)
	h.adoption.waits.Store(false)
	late := time.AfterFunc(adoptPatience, h.mayServe)
	defer late.Stop()
	if err := h.lease.await(ctx); err != nil {
		for _, f := range flights {
			f.err = &wire.Error{Code: wire.CodeUnavailable, RetryMS: 200, Text: "host is not running"}
			h.land(f)
		}
		rep.Error = err.Error()
		return
	}
	began := time.Now()
	waste := newWaste(file.Rooms)
	handed := make(chan []handOn, handOnAhead)
	go func() {
		defer close(handed)
		for part := range slices.Chunk(file.Rooms, batchMost) {
			handed <- h.handOnAll(ctx, part)
		}
	}()
	var mu sync.Mutex
	var eg errgroup.Group
	eg.SetLimit(runtime.GOMAXPROCS(0))
	for part := range handed {
		for _, on := range part {
			eg.Go(func() error {
				result := h.adoptOne(ctx, file, on, flights[on.room.Claim.Room])
				waste.add(on.room.Size())
				h.metrics.adopted.WithLabelValues(result).Inc()
				mu.Lock()
				defer mu.Unlock()
				rep.count(result, on.room.Size())
				return nil
			})
		}
	}
	_ = eg.Wait() // none fails
	rep.AdoptMS = ms(time.Since(began))
}

// waste collects garbage as rooms come out of shared memory: what was read, what
// is still to be, and the rooms made of it must not add up to much more than the
// rooms. Left to its percentage the collector would run at each bit of growth.
type waste struct {
	every int64
	since atomic.Int64 // bytes read since the last collection
}

func newWaste(all []handover.Room) *waste {
	var size int64
	for i := range all {
		size += int64(all[i].Size())
	}
	return &waste{every: max(freeAtLeast, size/adoptParts)}
}

func (w *waste) add(n int) {
	if now := w.since.Add(int64(n)); now >= w.every && w.since.CompareAndSwap(now, 0) {
		runtime.GC()
	}
}

func (a *Adoption) count(result string, size int) {
	switch result {
	case adoptedShared:
		a.Shared++
		a.Bytes += int64(size)
	case adoptedStored:
		a.Stored++
	default:
		a.Other++
	}
}

// expectAll has whoever asks for one of the rooms wait for it.
func (h *Host) expectAll(file *handover.Reader) map[wire.RoomID]*flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[wire.RoomID]*flight, len(file.Rooms))
	for i := range file.Rooms {
		id := file.Rooms[i].Claim.Room
		k, served := h.kinds[id.Kind()]
		if !served || h.live[id] != nil || h.flights[id] != nil {
			continue
		}
		// No asker has this mode: whoever waits looks anew.
		f := &flight{id: id, kind: k, mode: wire.ModeAny, done: make(chan struct{})}
		h.flights[id], all[id] = f, f
	}
	return all
}

// handOn is one room and what the store said to its claim's going on.
type handOn struct {
	room *handover.Room
	grant
	err error
}

// handOnAll hands the claims of some rooms to new nonces, under this process's
// lease. It asks until the store has answered.
func (h *Host) handOnAll(ctx context.Context, part []handover.Room) []handOn {
	out := make([]handOn, len(part))
	var asking sync.WaitGroup
	for i := range part {
		out[i].room = &part[i]
		if part[i].InStore && h.cfg.Inherited != nil {
			continue // its claim names this process's lease
		}
		asking.Go(func() { out[i].grant, out[i].err = h.handOn(ctx, part[i].Claim) })
	}
	asking.Wait()
	return out
}

func (h *Host) handOn(ctx context.Context, c snapshot.Claim) (grant, error) {
	holder := h.lease.current()
	next, err := h.handOffUntil(ctx, snapshot.HandOffRequest{Claim: c, Holder: holder, Nonce: newNonce()})
	if errors.Is(err, snapshot.ErrMissing) { // the store has lost the room, which is here
		return h.claim(ctx, snapshot.ClaimRequest{Room: c.Room, Mode: wire.ModeJoin, Floor: c.Epoch, Incarnation: c.Incarnation})
	}
	return grant{ClaimResult: snapshot.ClaimResult{Claim: next}, holder: holder}, err
}

// adoptOne has one room go on, from shared memory or else from the store.
func (h *Host) adoptOne(ctx context.Context, file *handover.Reader, on handOn, f *flight) string {
	if f == nil {
		if _, served := h.kinds[on.room.Claim.Room.Kind()]; served {
			return adoptedElse // somebody was faster
		}
		h.letGo(ctx, file, on)
		return adoptedUnknown
	}
	err := on.err
	if err == nil && !on.room.InStore {
		if err = h.adoptShared(f, file, on); err == nil {
			h.land(f)
			return adoptedShared
		}
		h.log.Warn().Err(err).Str("room", string(f.id)).Msg("room does not go on from shared memory: it is taken from the store")
	}
	file.Free(on.room)
	f.err = &wire.Error{Code: wire.CodeUnavailable, RetryMS: 100, Text: "the room is taken from the store"}
	h.land(f)
	if errors.As(err, new(*snapshot.HeldError)) {
		return adoptedElse
	}
	_, err = h.Activate(ctx, f.id, wire.ModeJoin, on.room.Claim.Epoch)
	var held *directory.HeldElsewhere
	switch {
	case err == nil:
		h.placed(f.id)
		return adoptedStored
	case errors.As(err, &held), wire.CodeOf(err).Code == wire.CodeNoRoom:
		return adoptedElse
	}
	h.log.Error().Err(err).Str("room", string(f.id)).Msg("room of the predecessor not taken up")
	return adoptedRefused
}

// letGo leaves the claim of a room that can't run here under a lease that is
// about to end: whoever serves the room's kind can take it then.
func (h *Host) letGo(ctx context.Context, file *handover.Reader, on handOn) {
	c, holder := on.room.Claim, file.Lease // of the process before this one
	if on.grant.Claim.Room != "" {
		c = on.grant.Claim
	}
	if in := h.cfg.Inherited; in != nil {
		holder = markOf(string(h.cfg.Node), in.Marks)
	}
	if _, err := h.handOffUntil(ctx, snapshot.HandOffRequest{Claim: c, Holder: holder, Nonce: newNonce()}); err != nil {
		h.log.Warn().Err(err).Str("room", string(c.Room)).Msg("claim of a room that is not served here stays")
	}
}

// adoptShared starts a room as it was.
func (h *Host) adoptShared(f *flight, file *handover.Reader, on handOn) error {
	now := time.Now()
	var r *room
	err := file.Read(on.room, func(body, baggage []byte) (err error) {
		from := copyOf{body: body, baggage: baggage, seq: on.room.Saves, version: on.room.StateVersion,
			journal: snapshot.Journal{Base: on.room.Journal}}
		ready, err := h.prepare(f.kind, on.Claim, from, now)
		if err != nil {
			h.failures.loads.Add(1)
			return err
		}
		file.Free(on.room)
		if r, err = h.start(f.kind, on.grant, ready, copyOf{seq: from.seq, journal: from.journal}, now); err != nil {
			h.loadFailed(f.id)
		}
		return err
	})
	if err != nil {
		return err
	}
	if on.room.Dirty && f.kind.Durability != rooms.None() {
		r.save.again, r.save.changed = true, now
		r.journal.waits = r.journaled() // it went on without its journal
	} else if !r.journaled() {
		// The store has it. Were all rooms of a host saved at once, they would hold
		// up those that are still to be taken up.
		r.save.due, r.save.stale = now.Add(f.kind.Durability.Interval()), now.Add(spread(f.id, staleWithin))
	}
	if !h.enter(r) {
		return errors.New("host lost its lease meanwhile")
	}
	h.placed(f.id)
	return nil
}

// placed tells the directory of a room that lives here.
func (h *Host) placed(id wire.RoomID) {
	if r := h.find(id); r != nil && h.cfg.Placed != nil {
		h.cfg.Placed(r.location())
	}
}
