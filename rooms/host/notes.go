package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// note is what the store keeps of a room's failures, for whoever has it next: a
// host that dies right after a room failed takes nothing of that with it.
type note struct {
	Number uint64       `cbor:"1,keyasint"`
	Failed []int64      `cbor:"2,keyasint,omitempty"` // when, in Unix milliseconds; the last failuresMost
	Poison []notedInput `cbor:"3,keyasint,omitempty"` // the last notedMost
}

type notedInput struct {
	_        struct{} `cbor:",toarray"`
	Member   wire.MemberID
	Instance []byte
	N        wire.Input
}

// notedMost bounds the inputs in a note. A checkpoint that was made since holds
// the older ones.
const notedMost = 64

// noteOf is what this host knows of a room's failures, nil where there are none.
func (f *faults) noteOf(id wire.RoomID, now time.Time) *note {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := note{Number: max(f.numbers[id]+1, uint64(now.UnixMilli()))}
	for _, t := range f.times[id] {
		n.Failed = append(n.Failed, t.UnixMilli())
	}
	for _, p := range f.poison {
		if p.room == id {
			n.Poison = append(n.Poison, notedInput{Member: p.input.Member, Instance: p.input.Instance[:], N: p.input.N})
		}
	}
	n.Poison = n.Poison[max(0, len(n.Poison)-notedMost):]
	if n.Failed == nil && n.Poison == nil {
		return nil
	}
	return &n
}

// readNote decodes a note; none is an empty one.
func readNote(raw []byte) (n note, poison []actor.Poison, err error) {
	if len(raw) == 0 {
		return n, nil, nil
	}
	if err := cbor.Unmarshal(raw, &n); err != nil {
		return n, nil, fmt.Errorf("decode note: %w", err)
	}
	for _, p := range n.Poison {
		q := actor.Poison{Member: p.Member, N: p.N}
		if copy(q.Instance[:], p.Instance) != len(q.Instance) {
			return n, nil, fmt.Errorf("decode note: client instance of %d bytes", len(p.Instance))
		}
		poison = append(poison, q)
	}
	return n, poison, nil
}

// learn takes in what another host, or this one earlier, noted.
func (f *faults) learn(id wire.RoomID, raw []byte) error {
	n, poison, err := readNote(raw)
	if err != nil || n.Number == 0 {
		return err
	}
	for _, p := range poison {
		f.add(id, p)
	}
	times := make([]time.Time, len(n.Failed))
	for i, ms := range n.Failed {
		times[i] = time.UnixMilli(ms)
	}
	f.heard(id, times, n.Number)
	return nil
}

// writeDown has the store know of a room's failures, so that it never starts
// again without that. An error means that the store may not know.
func (h *Host) writeDown(ctx context.Context, c snapshot.Claim) error {
	n := h.faults.noteOf(c.Room, time.Now())
	if n == nil {
		return nil
	}
	req := snapshot.NoteRequest{Claim: c, Number: n.Number, Note: must(movesEncoding.Marshal(n))}
	for wait := claimRetry; ; wait = min(2*wait, claimRetryMost) {
		word, err := h.notes.ask(ctx, req)
		switch {
		case err == nil && errors.Is(word, snapshot.ErrUnknown):
		case err == nil:
			return word
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return fmt.Errorf("note the failure of room %s: %w", c.Room, errors.Join(err, word, context.Cause(ctx)))
		}
	}
}
