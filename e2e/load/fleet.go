// Package load plays many clients against a cluster's ledger rooms, and keeps
// what each of them sent and was told.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/wire"
)

// Config says how many play, and where.
type Config struct {
	URLs    []string // gateways
	Kind    string   // of the ledger rooms
	Rooms   int
	PerRoom int
	AtOnce  int // joins under way at a time; default 64
	// OnEvent is told of every player's events, on that player's own
	// goroutine; the event is valid during the call only.
	OnEvent func(p *Player, e client.Event)
	Record  bool // keep what History needs: some 200 bytes an event
}

// Player is one client and its membership of one room.
type Player struct {
	Name     string // what the ledger knows it by
	RoomName string
	Client   *client.Client
	Room     *client.Room

	record *record // nil: nothing is kept

	mu   sync.Mutex
	sent uint64 // inputs sent so far; guarded by mu
}

// Send sends the player's next input and returns its count.
func (p *Player) Send() (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	b, err := json.Marshal(ledger.Input{Client: p.Name, N: p.sent})
	if err != nil {
		return 0, err
	}
	if p.record != nil { // before the send: its ack may come during it
		p.record.add(check.Event{Kind: check.Sent, N: p.sent})
	}
	n, err := p.Room.Send(b)
	if err != nil {
		p.sent--
		return 0, fmt.Errorf("send input of %s: %w", p.Name, err)
	}
	if uint64(n) != p.sent {
		return 0, fmt.Errorf("input %d of %s took number %d", p.sent, p.Name, n)
	}
	return p.sent, nil
}

// Sent is how many inputs the player has sent.
func (p *Player) Sent() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Fleet is all the players.
type Fleet struct {
	cfg     Config
	Players []*Player
}

// RoomName is the i-th room's name.
func RoomName(i int) string { return fmt.Sprintf("room-%d", i) }

// Join connects all players and joins their rooms.
func Join(ctx context.Context, cfg Config) (*Fleet, error) {
	f := &Fleet{cfg: cfg}
	g, gctx := errgroup.WithContext(ctx)
	if cfg.AtOnce == 0 {
		cfg.AtOnce = 64
	}
	g.SetLimit(cfg.AtOnce)
	for i := range cfg.Rooms * cfg.PerRoom {
		p := &Player{Name: fmt.Sprintf("c%d", i), RoomName: RoomName(i % cfg.Rooms)}
		if cfg.Record {
			p.record = &record{}
		}
		f.Players = append(f.Players, p)
		g.Go(func() error { return f.join(gctx, p) })
	}
	if err := g.Wait(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Fleet) join(ctx context.Context, p *Player) error {
	var err error
	p.Client, err = client.Dial(ctx, client.Config{
		URLs:          f.cfg.URLs,
		OnEvent:       func(_ *client.Room, e client.Event) { f.told(p, e) },
		MaxInputBytes: 4 << 20,
		MaxInputs:     1 << 14,
	})
	if err != nil {
		return fmt.Errorf("connect %s: %w", p.Name, err)
	}
	p.Room, err = p.Client.Join(ctx, wire.ModeJoinOrCreate, f.cfg.Kind, p.RoomName, nil)
	if err != nil {
		return fmt.Errorf("join %s to %s: %w", p.Name, p.RoomName, err)
	}
	return nil
}

func (f *Fleet) told(p *Player, e client.Event) {
	if p.record != nil {
		p.record.told(e)
	}
	if f.cfg.OnEvent != nil {
		f.cfg.OnEvent(p, e)
	}
}

// Play lets every player send rate inputs a second until ctx is done. Sends
// follow the clock: after a stall the missed ones are sent at once.
func (f *Fleet) Play(ctx context.Context, rate float64) error {
	const step = 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	start, due := time.Now(), 0
	n := len(f.Players)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for want := int(time.Since(start).Seconds() * rate * float64(n)); due < want; due++ {
			if _, err := f.Players[due%n].Send(); err != nil {
				return err
			}
		}
	}
}

// Settle waits until every input of every player is durable.
func (f *Fleet) Settle(ctx context.Context) error {
	for _, p := range f.Players {
		if err := p.Room.Settle(ctx); err != nil {
			return fmt.Errorf("%s in %s (status %+v): %w", p.Name, p.RoomName, p.Room.Status(), err)
		}
	}
	return nil
}

// Books asks every room for its book, through a fresh member.
func (f *Fleet) Books(ctx context.Context) (map[string]ledger.Book, error) {
	var mu sync.Mutex
	books := map[string]ledger.Book{}
	c, err := client.Dial(ctx, client.Config{URLs: f.cfg.URLs, OnEvent: func(r *client.Room, e client.Event) {
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
		if err := f.ask(ctx, c, RoomName(i), func() bool { mu.Lock(); defer mu.Unlock(); _, ok := books[RoomName(i)]; return ok }); err != nil {
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

// enter joins a room at the pace that the gateway allows one connection.
func (f *Fleet) enter(ctx context.Context, c *client.Client, room string) (*client.Room, error) {
	for {
		r, err := c.Join(ctx, wire.ModeJoin, f.cfg.Kind, room, nil)
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Code != wire.CodeRateLimited {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(e.RetryMS) * time.Millisecond):
		}
	}
}

// Close ends all clients. Their rooms keep the places for the grace.
func (f *Fleet) Close() {
	var wg sync.WaitGroup
	for _, p := range f.Players {
		if p.Client != nil {
			wg.Go(p.Client.Close)
		}
	}
	wg.Wait()
}
