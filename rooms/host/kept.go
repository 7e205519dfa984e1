package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Bounds of the last writes that are kept; the oldest goes.
const (
	keptFor   = 10 * time.Second
	keptBytes = 64 << 20
)

// keptWrites are the last writes of rooms that are no longer in memory, as far as
// the store has acknowledged them: it may yet come back without them. Live rooms
// need none, as they are saved again from memory.
type keptWrites struct {
	mu    sync.Mutex
	list  []keptWrite // oldest first; guarded by mu
	bytes int         // guarded by mu
}

// keptWrite is a checkpoint, or a tombstone where its Seq is 0.
type keptWrite struct {
	at  time.Time
	req snapshot.SaveRequest
}

func (k *keptWrites) add(now time.Time, req snapshot.SaveRequest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, keptWrite{now, req})
	k.bytes += len(req.Data)
	n := 0
	for n < len(k.list) && (k.bytes > keptBytes || now.Sub(k.list[n].at) > keptFor) {
		k.bytes -= len(k.list[n].req.Data)
		n++
	}
	clear(k.list[:n])
	k.list = k.list[n:]
}

// all are the writes that are kept now.
func (k *keptWrites) all(now time.Time) []keptWrite {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []keptWrite
	for _, w := range k.list {
		if now.Sub(w.at) <= keptFor {
			all = append(all, w)
		}
	}
	return all
}

// rewrite gives a store that lost data the last writes again. Each is tried until
// the store has answered.
func (h *Host) rewrite(ctx context.Context) {
	for _, w := range h.kept.all(time.Now()) {
		for wait := claimRetry; ctx.Err() == nil; wait = min(2*wait, claimRetryMost) {
			err := h.rewriteOne(ctx, &w.req)
			if err == nil {
				break
			}
			h.log.Debug().Err(err).Str("room", string(w.req.Claim.Room)).Msg("last write not repeated yet")
			sleep(ctx, wait)
		}
	}
}

// rewriteOne repeats a write under its claim, or under one that takes the place of
// a claim that was lost too, which it leaves in req for the next try. Where
// somebody else has the room by now it is theirs.
func (h *Host) rewriteOne(ctx context.Context, req *snapshot.SaveRequest) error {
	word, err := h.writeOnce(ctx, *req)
	if err != nil || word == nil {
		return err
	}
	if !errors.Is(word, snapshot.ErrMissing) {
		return nil
	}
	c := req.Claim
	g, err := h.claim(ctx, snapshot.ClaimRequest{Room: c.Room, Mode: wire.ModeJoin, Floor: c.Epoch, Incarnation: c.Incarnation})
	var held *snapshot.HeldError
	switch {
	case errors.As(err, &held), answered(err):
		return nil
	case err != nil:
		return err
	}
	if req.Claim = g.Claim; req.Seq > 0 {
		req.Seq = 1
	}
	h.log.Warn().Str("room", string(c.Room)).Bool("closed", req.Seq == 0).Msg("the store had lost the room: its last write is repeated")
	_, err = h.writeOnce(ctx, *req)
	return err
}

// writeOnce answers with the store's word, or an error where there is none.
func (h *Host) writeOnce(ctx context.Context, req snapshot.SaveRequest) (word, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchWithin)
	defer cancel()
	var words []error
	if req.Seq == 0 {
		words, err = h.cfg.Store.Close(ctx, []snapshot.CloseRequest{{Claim: req.Claim}})
	} else {
		words, err = h.cfg.Store.Save(ctx, []snapshot.SaveRequest{req})
	}
	switch {
	case err != nil:
		return nil, err
	case len(words) != 1:
		return nil, errors.New("no answer to one write")
	case errors.Is(words[0], snapshot.ErrUnknown):
		return nil, words[0]
	}
	return words[0], nil
}
