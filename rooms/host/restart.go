package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/snapshot/handover"
	"github.com/limpet-games/limpet/wire"
)

// A host restarts in place in these steps. Until the last one its lease lasts,
// and everybody who would end it finds that it restarts.
//
//  1. It takes no rooms any more. Its lease in the store is made to last until
//     T, and another lease, the mark, says there that it restarts; its nodes
//     are told.
//  2. Room by room it stands still, is written to shared memory, and is freed.
//     A room that can't be written is saved in the store.
//  3. The file gets its valid mark, and the process becomes the next one: same
//     process, name, boot and listening sockets, another program.
//  4. That one clears the mark, hands each claim from its old nonce to a new one,
//     and has the room go on. See adopt.go.
//
// A process that dies on the way leaves its rooms in the store, and its file to
// the next one that its supervisor starts, if it had come to step 3.

// Legacy is what a process leaves to the one that it becomes.
type Legacy struct {
	Lease  snapshot.Holder `json:"lease"`  // that claims name
	Leases int             `json:"leases"` // that it has taken
	Marks  int             `json:"marks"`  // restarts so far
	Began  time.Time       `json:"began"`  // when the restart was asked for
	Rooms  int             `json:"rooms"`
	Frozen time.Duration   `json:"frozen"` // for how long rooms were written
}

const (
	maxRestarts  = 64              // of one boot
	tellWithin   = time.Second     // for the nodes to hear of a restart
	parkWithin   = 5 * time.Second // of a room that has to be saved in the store
	freeAtLeast  = 32 << 20        // bytes written between two times that memory is given back
	freeParts    = 12              // and so many times over all rooms
	handGC       = 20              // percent of garbage while rooms are written
	handAtOnce   = 4               // rooms for each processor that are handed over at a time
	settleFlight = time.Second     // for activations and arrivals that are under way
)

// parting is one handing over of all rooms.
type parting struct {
	file  *handover.Writer
	gone  []string      // kinds that the next process does not serve
	slots chan struct{} // rooms being encoded

	mu      sync.Mutex
	left    map[wire.RoomID]snapshot.Claim // not in the file; guarded by mu
	written atomic.Int64                   // since memory was last given back
	every   int64
}

// HandOverOptions say how rooms are left to the next process.
type HandOverOptions struct {
	Within time.Duration         // others leave the rooms alone for so long
	Build  string                // of this process
	Gone   []string              // kinds that the next process does not serve: their rooms are saved
	Tell   func(context.Context) // tells other nodes that this one restarts
	Away   bool                  // the store does not answer: nothing is said or saved there
}

// HandOver leaves all rooms to the next process, and tells what that needs. When
// an error is returned the host goes on as it was, unless over: then its rooms
// are gone from this process.
func (h *Host) HandOver(ctx context.Context, o HandOverOptions) (l *Legacy, over bool, err error) {
	l = &Legacy{Began: time.Now(), Marks: 1}
	if in := h.cfg.Inherited; in != nil {
		l.Marks = in.Marks + 1
	}
	if err := h.standDown(o.Away); err != nil {
		return nil, false, err
	}
	until := l.Began.Add(o.Within)
	head := handover.Header{Node: string(h.cfg.Node), Build: o.Build, Until: until, Lease: h.lease.current()}
	if !o.Away {
		head.Mark = markOf(string(h.cfg.Node), l.Marks)
	}
	file, err := h.announce(ctx, head, o.Tell)
	if err != nil {
		h.restarting.Store(false)
		h.forsaken.Store(false)
		return nil, false, err
	}
	h.awaitFlights(ctx)
	l.Rooms = h.Load().Rooms
	began := time.Now()
	err = h.handAll(ctx, file, until, o.Gone)
	if err == nil {
		err = file.Commit(head)
	}
	if err != nil {
		file.Abort()
		return nil, true, fmt.Errorf("leave rooms to the next process: %w", err)
	}
	l.Frozen = time.Since(began)
	l.Lease, l.Leases = head.Lease, h.lease.taken()
	h.log.Info().Int("rooms", l.Rooms).Int64("bytes", file.Bytes()).Dur("took_ms", l.Frozen).Msg("rooms wait in shared memory")
	return l, false, nil
}

// mayRestart says why the host can't restart now, or nil.
func (h *Host) mayRestart() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mayRestartLocked(false)
}

// standDown has the host take no rooms, or says why it can't restart.
func (h *Host) standDown(away bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.mayRestartLocked(away); err != nil {
		return err
	}
	h.restarting.Store(true)
	h.forsaken.Store(away)
	return nil
}

func (h *Host) mayRestartLocked(away bool) error {
	switch in := h.cfg.Inherited; {
	case h.cfg.Shared == "":
		return wire.Refuse(wire.CodeUnavailable, "there is no shared memory to restart through (--shared-memory)")
	case h.closing || h.ctx == nil || !isDone(h.adoption.done):
		return &wire.Error{Code: wire.CodeBusy, RetryMS: 1000, Text: "host is starting or stopping"}
	case h.restarting.Load():
		return wire.Refuse(wire.CodeBusy, "the host restarts already")
	case away:
		return nil
	case h.drains.on.Load():
		return wire.Refuse(wire.CodeBusy, "the host drains; it can simply be stopped, or the drain cancelled")
	case !h.lease.granted():
		return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 1000, Text: "the store does not answer"}
	case in != nil && in.Marks >= maxRestarts:
		return wire.Refuse(wire.CodeUnavailable, fmt.Sprintf("this process has restarted in place %d times: drain it and start it anew", in.Marks))
	}
	return nil
}

// markOf is the lease that says that a node restarts, for the nth time.
func markOf(node string, n int) snapshot.Holder {
	return snapshot.Holder(fmt.Sprintf("%s/restart%d", node, n))
}

// announce says in the store, unless there is no mark for it, and to the nodes
// that the host restarts.
func (h *Host) announce(ctx context.Context, head handover.Header, tell func(context.Context)) (*handover.Writer, error) {
	file, err := handover.Create(h.cfg.Shared)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if head.Mark != "" {
		if err = h.cfg.Store.TakeLease(ctx, head.Mark, time.Until(head.Until)); err == nil {
			err = h.lease.hold(ctx, head.Until)
		}
	}
	if err != nil {
		file.Abort()
		return nil, fmt.Errorf("say in the store that the host restarts: %w", err)
	}
	tell(ctx)
	return file, nil
}

// awaitFlights lets rooms that are about to live here do so.
func (h *Host) awaitFlights(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleFlight)
	defer cancel()
	for ctx.Err() == nil {
		h.mu.RLock()
		var one *flight
		for _, f := range h.flights {
			one = f
			break
		}
		h.mu.RUnlock()
		if one == nil {
			return
		}
		await(ctx, one.done)
	}
}

// handAll hands every room over. Rooms whose code does not return by until are
// left to the store as they last were.
func (h *Host) handAll(ctx context.Context, file *handover.Writer, until time.Time, gone []string) error {
	// What is encoded is garbage at once: it is to take the place of what was.
	defer debug.SetGCPercent(debug.SetGCPercent(handGC))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p := &parting{
		file: file, gone: gone, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), left: map[wire.RoomID]snapshot.Claim{},
		every: max(freeAtLeast, int64(mem.HeapInuse)/freeParts),
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	all := h.all()
	for _, r := range all {
		p.left[r.id] = r.claim
	}
	var eg errgroup.Group
	eg.SetLimit(handAtOnce * runtime.GOMAXPROCS(0))
	for i, r := range all {
		all[i] = nil // what is written is to be freed
		eg.Go(func() error {
			r.post(event{kind: evHandOver, matter: &matter{part: p}})
			await(ctx, r.done)
			p.free()
			return nil
		})
	}
	_ = eg.Wait() // none fails
	for _, c := range p.left {
		if err := file.Add(handover.Room{Claim: c, InStore: true}, nil, nil); err != nil {
			return err
		}
	}
	if n := len(p.left); n > 0 {
		h.log.Warn().Int("rooms", n).Msg("rooms that can't wait in shared memory are left to the store")
	}
	return nil
}

// free gives memory back to the system now and then: what was written and what
// is still to be must not add up to twice the rooms.
func (p *parting) free() {
	if n := p.written.Load(); n >= p.every && p.written.CompareAndSwap(n, 0) {
		debug.FreeOSMemory()
	}
}

// handOver writes the room to shared memory, on its own goroutine, and ends
// this copy.
func (r *room) handOver(now time.Time, p *parting) error {
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	err := r.handInto(now, p)
	if fails := r.failed(); fails != nil {
		return errLeft // what is in the store is better
	}
	if err != nil {
		r.actor.Touch()
		r.log().Warn().Err(err).Msg("room not written to shared memory: the next process takes it from the store")
		return errLeft
	}
	p.mu.Lock()
	delete(p.left, r.id)
	p.mu.Unlock()
	return errHanded
}

func (r *room) handInto(now time.Time, p *parting) error {
	if slices.Contains(p.gone, r.kind.Name) {
		return errors.New("the next program does not serve its kind")
	}
	if _, _, ended := r.actor.Ended(); ended || r.close.asked {
		return errors.New("the room is closing")
	}
	if err := r.settleStore(now); err != nil {
		return err
	}
	r.actor.Flush(now)
	if err := r.emit(r.ctx); err != nil {
		return err
	}
	at := handover.Room{
		Claim: r.claim,
		Dirty: r.durable() && (r.actor.Dirty() && !r.asStored() || r.save.busy || r.save.again),
	}
	baggage, err := r.actor.PackUnsaved(now)
	if err != nil {
		return err
	}
	_, err = r.actor.EncodeFor(func(body []byte, cut actor.Cut) error {
		at.Saves, at.Journal, at.StateVersion = r.save.seq, cut.Journal(), cut.StateVersion()
		p.written.Add(int64(len(body) + len(baggage)))
		return p.file.Add(at, body, baggage)
	})
	return err
}

// settleStore has the store get what the next copy can't be given otherwise. A
// room that has such things and no store goes back to what is there: a journaled
// one to its last entry, on which all that was heard of it depends.
func (r *room) settleStore(now time.Time) error {
	switch {
	case r.host.forsaken.Load() && r.journaled() && r.actor.Journaled():
		return errors.New("its journal is in the store, which does not answer")
	case r.host.forsaken.Load() && r.actor.Waiting() > 0:
		return errors.New("its code waits for the store, which does not answer")
	case r.host.forsaken.Load():
		return nil
	}
	if stays, over := r.settleJournal(); stays != nil || over != nil {
		return errors.Join(stays, over)
	}
	if r.journaled() || r.actor.Awaited() {
		return r.saveFirst(now)
	}
	return nil
}

// saveFirst stores the room and waits for it, because somebody waits for that:
// whoever does is not carried over.
func (r *room) saveFirst(now time.Time) error {
	req, err := r.encode(now, r.claim)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	r.host.writer.Submit(req, func(_ snapshot.SaveRequest, err error) { done <- err })
	late := time.NewTimer(parkWithin)
	defer late.Stop()
	select {
	case err = <-done:
	case <-late.C:
		err = errors.New("the store does not answer")
	}
	if err != nil {
		return fmt.Errorf("save room first: %w", err)
	}
	return r.saved(now, nil)
}
