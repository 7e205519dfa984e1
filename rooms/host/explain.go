package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/internal/explain"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// believe is what this host believes of a room: the copy that it runs, and what
// the store tells it where it owns the room's partition or has a copy.
func (h *Host) believe(ctx context.Context, id wire.RoomID, owner bool, b *explain.Belief) {
	b.Copy = h.copyHere(id)
	if !owner && b.Copy == nil {
		return
	}
	c, err := h.claimOf(ctx, id)
	if err != nil {
		b.StoreError = err.Error()
		return
	}
	b.Claim = c
}

// copyHere describes the copy that runs or starts here, nil where there is none.
func (h *Host) copyHere(id wire.RoomID) *explain.Copy {
	h.mu.RLock()
	r, f := h.live[id], h.flights[id]
	h.mu.RUnlock()
	switch {
	case r != nil:
	case f != nil:
		return &explain.Copy{State: explain.Starting}
	default:
		return nil
	}
	i := r.info(time.Now())
	return &explain.Copy{
		Epoch: uint64(i.Epoch), Incarnation: uint64(i.Incarnation), Nonce: hex(r.claim.Nonce),
		State: r.state(), Members: i.Members, Connected: i.Connected,
	}
}

// state is how a copy stands, in a word.
func (r *room) state() string {
	switch l := r.host.lease; {
	case r.over.Load():
		return explain.Ending
	case !l.valid():
		return explain.Mute
	case r.doubt.Load():
		return explain.Checked
	case r.going.Load():
		return explain.Moving
	case !l.granted():
		return explain.Leaseless
	}
	return explain.Running
}

// claimOf asks the store who may write a room, and whether the lease runs that
// the claim is under.
func (h *Host) claimOf(ctx context.Context, id wire.RoomID) (*explain.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, explain.StoreWithin)
	defer cancel()
	res, err := h.cfg.Store.Load(ctx, []wire.RoomID{id})
	if err != nil {
		return nil, fmt.Errorf("load room: %w", err)
	}
	l := res[0]
	switch {
	case errors.Is(l.Err, snapshot.ErrNoRoom):
		return &explain.Claim{None: true}, nil
	case l.Claim.Epoch == 0 && l.Err != nil: // else its claim can be read, whatever became of the checkpoint
		return nil, fmt.Errorf("load room: %w", l.Err)
	}
	c := &explain.Claim{
		Epoch: uint64(l.Claim.Epoch), Incarnation: uint64(l.Claim.Incarnation), Nonce: hex(l.Claim.Nonce),
		Holder: string(l.Holder), Closed: l.Closed,
	}
	if !c.Closed {
		if c.LeaseAlive, err = h.cfg.Store.LeaseAlive(ctx, l.Holder); err != nil {
			return nil, fmt.Errorf("ask for the lease of %s: %w", l.Holder, err)
		}
	}
	return c, nil
}

func hex(n snapshot.Nonce) string { return fmt.Sprintf("%016x", uint64(n)) }
