package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/wire"
)

// Books asks every room for its book, through a fresh member.
func (f *Fleet) Books(ctx context.Context) (map[string]ledger.Book, error) {
	var mu sync.Mutex
	books := map[string]ledger.Book{}
	c, err := client.Dial(ctx, client.Config{URLs: f.cfg.URLs, TLS: f.cfg.TLS, OnEvent: func(r *client.Room, e client.Event) {
		m, ok := e.(*client.Message)
		var full struct {
			Book *ledger.Book `json:"book"`
		}
		if !ok || json.Unmarshal(m.Payload, &full) != nil || full.Book == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		books[r.Name()] = *full.Book
	}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for i := range f.cfg.Rooms {
		if err := f.ask(ctx, c, f.roomName(i), func() bool { mu.Lock(); defer mu.Unlock(); _, ok := books[f.roomName(i)]; return ok }); err != nil {
			return nil, err
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return books, nil
}

func (f *Fleet) ask(ctx context.Context, c *client.Client, room string, answered func() bool) error {
	r, err := f.enter(ctx, c, room)
	if err != nil {
		return fmt.Errorf("ask %s for its book: %w", room, err)
	}
	for !answered() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("ask %s for its book: %w", room, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return r.Leave(ctx)
}

// enter joins a room at the pace that the gateway allows one connection, and as
// soon as the room can be reached.
func (f *Fleet) enter(ctx context.Context, c *client.Client, room string) (*client.Room, error) {
	for {
		r, err := c.Join(ctx, wire.ModeJoin, f.cfg.Kind, room, nil)
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Code < 200 || e.Code > 299 { // not one to try again
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(max(e.RetryMS, 20)) * time.Millisecond):
		}
	}
}
