package host

import (
	"context"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/snapshot"
)

const (
	beatCall   = 250 * time.Millisecond // bound on a call
	beatRetry  = 100 * time.Millisecond // after a failed one
	beatWrites = 2                      // failures in a row, then durable acks pause
)

// beats tell whether the store is still the one that took this host's writes. A
// host writes a number that rises; the store answers with the last one that it
// knows and the mark of its generation. A store that was flushed or swapped has
// another mark; one that came back without its last writes, after a restart or a
// failover, an older number. Then every room is saved again.
type beats struct {
	host     *Host
	n, acked uint64
	mark     string
	failures int
	within   snapshot.Deadlines // of calls
}

func (b *beats) run(ctx context.Context) error {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for ctx.Err() == nil {
		wait := b.host.cfg.LeaseTTL / 4
		if err := b.beat(ctx); err == nil {
			b.failures = 0
			b.host.storeChanged(&b.host.storeUp.beatDown, false)
		} else if ctx.Err() == nil {
			wait = beatRetry
			if b.failures++; b.failures == beatWrites {
				b.host.log.Warn().Err(err).Msg("store does not take writes")
				b.host.storeChanged(&b.host.storeUp.beatDown, true)
			}
		}
		rest.Reset(wait)
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (b *beats) beat(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.n++
	short := b.within.Begin(beatCall)
	defer b.within.End()
	fault.Point("beat.before")
	got, err := b.host.cfg.Store.Beat(short, string(b.host.cfg.Node), b.n)
	if err != nil {
		return err
	}
	fault.Point("beat.counted")
	lost := ""
	switch {
	case b.mark == "":
	case got.Mark != b.mark:
		lost = "everything"
	case got.Last < b.acked:
		lost = "last_writes"
	}
	b.mark, b.acked = got.Mark, b.n
	if lost != "" {
		b.host.storeLost(lost)
	}
	return nil
}

// storeLost saves everything again that the store may have lost: the live rooms,
// and the last writes of those that are no longer here.
func (h *Host) storeLost(what string) {
	h.metrics.storeLosses.WithLabelValues(what).Inc()
	h.log.Error().Str("lost", what).Int("rooms", h.Load().Rooms).Msg("the store has lost data: all rooms are saved again")
	for _, r := range h.all() {
		r.post(event{kind: evSaveAgain})
	}
	h.running.Go(func() { h.rewrite(h.runCtx()) })
}

// runCtx is the context of rooms and activations, which ends with the host.
func (h *Host) runCtx() context.Context {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.ctx == nil {
		return context.Background()
	}
	return h.ctx
}

// saveAgainWithin spreads the saves of rooms that are all saved again.
const saveAgainWithin = 300 * time.Millisecond

// saveAgain has the room saved although nothing changed. One of a kind without
// durability has nothing to save but its claim.
func (r *room) saveAgain(now time.Time) {
	if r.durable() {
		r.actor.Touch()
		r.save.due = now.Add(spread(r.id, saveAgainWithin))
		return
	}
	// The room's own loop knows whether another claim may be its own.
	fenced := func(r *room) { r.post(event{kind: evFenced}) }
	r.host.running.Go(func() {
		holder := r.host.lease.current()
		for wait := claimRetry; r.ctx.Err() == nil; wait = min(2*wait, claimRetryMost) {
			if r.host.settlePart(r.ctx, []*room{r}, holder, fenced) == nil {
				return
			}
			sleep(r.ctx, wait)
		}
	})
}
