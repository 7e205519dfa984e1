package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/daemon"
)

// stopping is how a process ends that is told to.
//
// While the store does not answer its rooms can neither move nor be saved. Then
// it waits for the store, and at its deadline leaves the rooms in shared memory
// for the next process of this host on this machine: as at a restart in place,
// but with nothing said in the store. Whose a room is says the store, when it
// answers again.
type stopping struct {
	host     *Host
	deadline time.Duration   // on moving rooms, and on waiting for the store
	hurry    <-chan struct{} // closed: no more of either
	others   func() bool     // reports whether other hosts take rooms
	leave    func(context.Context) error
}

// run empties the host when ctx is done, if others take its rooms. What is left
// then is for the host's end to save.
func (s *stopping) run(ctx context.Context) error {
	<-ctx.Done()
	ctx = context.WithoutCancel(ctx)
	wait, cancel := context.WithTimeout(ctx, s.deadline)
	var heeding sync.WaitGroup
	heeding.Go(func() {
		select {
		case <-s.hurry:
			s.host.log.Warn().Msg("told twice to stop: rooms that are left stay no longer")
			cancel()
		case <-wait.Done():
		}
	})
	defer heeding.Wait()
	defer cancel()
	if s.deadline > 0 && s.host.Load().Rooms > 0 && s.others() {
		s.drain(wait)
	}
	if s.away() {
		s.host.log.Warn().Int("rooms", s.host.Load().Rooms).Msg("told to stop, but the store does not answer: waiting for it")
	}
	for s.away() && wait.Err() == nil {
		sleep(wait, drainPoll)
	}
	if !s.away() {
		return nil
	}
	return s.leave(ctx)
}

// away reports whether there are rooms and no store for them.
func (s *stopping) away() bool { return s.host.storeAway() && s.host.Load().Rooms > 0 }

// lonelyFor is how long a process that is told to stop looks for hosts that
// take its rooms: all may have been told so.
const lonelyFor = time.Second

// drain moves rooms away until wait ends. A drain that an operator has begun is
// left to its own pace until then.
func (s *stopping) drain(wait context.Context) {
	d, err := s.host.beginDrain(DrainOptions{Deadline: s.deadline, Rate: 1000, Patience: s.deadline / 2, Lonely: min(s.deadline/2, lonelyFor)})
	if errors.Is(err, errDrains) {
		s.host.drains.mu.Lock()
		d, err = s.host.drains.d, nil
		s.host.drains.mu.Unlock()
	}
	if err != nil {
		return // not running: there is nothing to move
	}
	await(wait, d.done)
	d.cancel()
	<-d.done
}

// storeAway reports whether the store has no word for this host now: nothing can
// be saved, and no claim can change hands.
func (h *Host) storeAway() bool { return !h.lease.granted() || h.storeUp.down.Load() }

// leave leaves all rooms in shared memory for the next process, and has the
// other nodes expect it. The claims stay as they are, for as long as nobody takes
// the rooms over.
func (r *restarter) leave(ctx context.Context) error {
	if r.host.cfg.Shared == "" {
		r.wiring.Log.Error().Msg("there is no shared memory (--shared-memory): rooms go back to their last checkpoints")
		return nil
	}
	legacy, over, err := r.host.HandOver(ctx, HandOverOptions{
		Within: r.within, Build: daemon.Version(), Away: true,
		Tell: func(ctx context.Context) { r.coroner.TellRestarting(ctx, r.cluster.ID, r.within) },
	})
	switch {
	case err != nil && over:
		return err
	case err != nil:
		r.wiring.Log.Error().Err(err).Msg("rooms not left in shared memory: they go back to their last checkpoints")
		return nil
	}
	r.cluster.Members.Linger()
	r.wiring.Log.Warn().Int("rooms", legacy.Rooms).Msg("rooms wait in shared memory for the next start of this host on this machine")
	return nil
}
