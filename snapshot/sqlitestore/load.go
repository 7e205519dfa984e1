package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Load reads rooms.
func (s *Store) Load(ctx context.Context, rooms []wire.RoomID) ([]snapshot.LoadResult, error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	out := make([]snapshot.LoadResult, len(rooms))
	// One moment for a room's checkpoint and its journal.
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("load rooms: %w", plain(err))
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	for i, room := range rooms {
		r, err := readRoom(ctx, tx, room)
		var journal snapshot.Journal
		if err == nil {
			journal, err = readJournal(ctx, tx, room, r.base)
		}
		if err != nil {
			return nil, fmt.Errorf("load rooms: %w", plain(err))
		}
		if r.epoch == 0 {
			out[i].Err = snapshot.ErrNoRoom
			continue
		}
		out[i] = snapshot.LoadResult{
			Claim: snapshot.Claim{
				Room: room, Incarnation: wire.Incarnation(r.incarnation),
				Epoch: wire.Epoch(r.epoch), Nonce: snapshot.Nonce(r.nonce),
			},
			Holder: snapshot.Holder(r.holder), Closed: r.closed > 0, Data: r.data, Journal: journal, Note: r.note,
		}
		if r.stateless(journal) {
			out[i].Err = snapshot.ErrMissing
		}
	}
	return out, nil
}

// List pages by name; its cursor is the last one that was given.
func (s *Store) List(ctx context.Context, cursor string, most int) ([]snapshot.Entry, string, error) {
	page, err := s.page(ctx, cursor, min(max(most, 1), 1000))
	if err != nil {
		return nil, "", fmt.Errorf("list rooms: %w", plain(err))
	}
	if len(page) == 0 {
		return nil, "", nil
	}
	return page, string(page[len(page)-1].Claim.Room), nil
}

func (s *Store) page(ctx context.Context, after string, most int) (page []snapshot.Entry, err error) {
	ctx, cancel := snapshot.WithDeadline(ctx)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, `SELECT name, incarnation, epoch, nonce, holder, closed, coalesce(length(data), 0)
		FROM room WHERE name > ? ORDER BY name LIMIT ?`, after, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, holder string
		var incarnation, epoch, nonce, closed, bytes int64
		if err := rows.Scan(&name, &incarnation, &epoch, &nonce, &holder, &closed, &bytes); err != nil {
			return nil, err
		}
		page = append(page, snapshot.Entry{
			Claim: snapshot.Claim{
				Room: wire.RoomID(name), Incarnation: wire.Incarnation(incarnation),
				Epoch: wire.Epoch(epoch), Nonce: snapshot.Nonce(nonce),
			},
			Holder: snapshot.Holder(holder), Closed: closed > 0, Bytes: bytes,
		})
	}
	return page, rows.Err()
}
