package redisstore

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Load reads rooms in one round trip.
func (s *Store) Load(ctx context.Context, rooms []wire.RoomID) ([]snapshot.LoadResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.LoadResult, len(rooms))
	o := newOutcome(len(rooms))
	for from := 0; from < len(rooms); from += batch {
		to := min(from+batch, len(rooms))
		calls := make([]*call, 0, batch)
		for _, r := range rooms[from:to] {
			calls = append(calls, &call{script: loadScript, keys: []string{s.roomKey(r), s.journalKey(r)}})
		}
		s.pipeline(ctx, calls)
		for k, c := range calls {
			s.loaded(rooms[from+k], c, &out[from+k], o, from+k)
		}
	}
	if err := o.whole(); err != nil {
		return nil, fmt.Errorf("load rooms: %w", err)
	}
	for i, err := range o.errs {
		out[i].Err = err
	}
	return out, nil
}

func (s *Store) loaded(room wire.RoomID, c *call, r *snapshot.LoadResult, o *outcome, i int) {
	f := c.fields()
	word := f.text()
	err := f.otherwise(word)
	if word == "OK" || word == "LOST" {
		r.Claim.Room = room
		r.Claim.Incarnation = wire.Incarnation(f.number())
		r.Claim.Epoch = wire.Epoch(f.number())
		r.Claim.Nonce = snapshot.Nonce(f.number())
		r.Holder = snapshot.Holder(f.text())
		r.Closed = f.flag()
		r.Journal = f.journal()
		r.Note = f.note()
		r.Data = f.bytes()
	}
	if f.err != nil {
		o.unknown(i, f.err)
	} else {
		o.answer(i, err)
	}
}
