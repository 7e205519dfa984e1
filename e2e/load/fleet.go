// Package load plays many clients against a cluster's ledger rooms, and keeps
// what each of them sent and was told.
package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/wire"
)

// Config says how many play, and where.
type Config struct {
	URLs    []string // gateways
	Kind    string   // of the ledger rooms
	Prefix  string   // of the rooms' names; default "room-"
	Rooms   int
	PerRoom int
	AtOnce  int // joins under way at a time; default 64
	TLS     *tls.Config
	NetDial dialer // nil: net.Dialer's
	// OnEvent is told of every player's events, on that player's own
	// goroutine; the event is valid during the call only.
	OnEvent func(p *Player, e client.Event)
	Record  bool      // keep what History needs: some 250 bytes an event
	Began   time.Time // from when the records count their time; default now
	// Rejoin has a new player take the seat of each whose membership ended.
	Rejoin bool
	// Fleeting rooms end with their host, and another of the name may follow.
	Fleeting bool
	// Journaled rooms never go back.
	Journaled bool
}

// Fleet is all the players.
type Fleet struct {
	cfg     Config
	Players []*Player // those that joined at first, by seat

	life      context.Context
	end       context.CancelFunc
	replacing sync.WaitGroup

	mu    sync.Mutex
	seats []*Player // who plays now; guarded by mu
	later []*Player // those that took a seat later; guarded by mu
}

// RoomName is the i-th room's name, without a Config.Prefix.
func RoomName(i int) string { return fmt.Sprintf("room-%d", i) }

func (f *Fleet) roomName(i int) string { return fmt.Sprintf("%s%d", f.cfg.Prefix, i) }

// Join connects all players and joins their rooms.
func Join(ctx context.Context, cfg Config) (*Fleet, error) {
	cfg.AtOnce, cfg.Prefix = cmp.Or(cfg.AtOnce, 64), cmp.Or(cfg.Prefix, "room-")
	if cfg.Began.IsZero() {
		cfg.Began = time.Now()
	}
	f := &Fleet{cfg: cfg}
	f.life, f.end = context.WithCancel(context.Background())
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.AtOnce)
	for i := range cfg.Rooms * cfg.PerRoom {
		p := f.player(i, 0, &Silence{})
		f.Players = append(f.Players, p)
		g.Go(func() error { return f.join(gctx, p) })
	}
	f.mu.Lock()
	f.seats = append([]*Player(nil), f.Players...)
	f.mu.Unlock()
	if err := g.Wait(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Fleet) player(seat, turn int, s *Silence) *Player {
	p := &Player{Name: fmt.Sprintf("c%d", seat), RoomName: f.roomName(seat % f.cfg.Rooms), Silence: s, seat: seat, turn: turn, net: f.cfg.NetDial}
	if turn > 0 {
		p.Name = fmt.Sprintf("c%d.%d", seat, turn)
	}
	if f.cfg.Record {
		p.record = &record{began: f.cfg.Began}
	}
	p.joined = make(chan struct{})
	return p
}

func (f *Fleet) join(ctx context.Context, p *Player) error {
	defer close(p.joined)
	c, err := client.Dial(ctx, client.Config{
		URLs:          f.cfg.URLs,
		OnEvent:       func(_ *client.Room, e client.Event) { f.told(p, e) },
		MaxInputBytes: 4 << 20,
		MaxInputs:     1 << 14,
		NetDial:       p.dial,
		TLS:           f.cfg.TLS,
	})
	if err != nil {
		return fmt.Errorf("connect %s: %w", p.Name, err)
	}
	p.Client = c
	p.Room, err = c.Join(ctx, wire.ModeJoinOrCreate, f.cfg.Kind, p.RoomName, nil)
	if err != nil {
		return fmt.Errorf("join %s to %s: %w", p.Name, p.RoomName, err)
	}
	return nil
}

func (f *Fleet) told(p *Player, e client.Event) {
	if p.record != nil {
		p.record.told(e)
	}
	switch e.(type) {
	case *client.Message:
		p.Silence.heard(time.Now())
	case *client.Left:
		if f.cfg.Rejoin && !p.closed.Load() {
			f.replacing.Go(func() { f.replace(p) })
		}
	}
	if f.cfg.OnEvent != nil {
		f.cfg.OnEvent(p, e)
	}
}

// CloseTab ends a player as a closed tab would, and lets a new one take the seat.
func (f *Fleet) CloseTab(p *Player) {
	p.closed.Store(true)
	f.replacing.Go(func() { f.replace(p) })
}

// replace has a new player take the seat of p, as soon as one gets in.
func (f *Fleet) replace(p *Player) {
	<-p.joined
	if p.Client != nil {
		p.Client.Close()
	}
	for turn := p.turn + 1; f.life.Err() == nil; turn++ {
		next := f.player(p.seat, turn, p.Silence)
		ctx, cancel := context.WithTimeout(f.life, 15*time.Second)
		err := f.join(ctx, next)
		cancel()
		f.mu.Lock()
		f.later = append(f.later, next)
		if err == nil {
			f.seats[p.seat] = next
		}
		f.mu.Unlock()
		if err == nil {
			return
		}
		next.closed.Store(true) // may have got in after all
		if next.Client != nil {
			next.Client.Close()
		}
	}
}

// Now is who plays at this moment, by seat.
func (f *Fleet) Now() []*Player {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Player(nil), f.seats...)
}

func (f *Fleet) seat(i int) *Player {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seats[i]
}

// all is everyone who ever played.
func (f *Fleet) all() []*Player {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(append([]*Player(nil), f.Players...), f.later...)
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
			_, err := f.seat(due % n).Send()
			if err != nil && !(f.cfg.Rejoin && errors.Is(err, client.ErrOver)) {
				return err
			}
		}
	}
}

// Settle waits until every input of everyone who plays is durable.
func (f *Fleet) Settle(ctx context.Context) error {
	for i := range f.Players {
		for {
			p := f.seat(i)
			err := p.Room.Settle(ctx)
			if err == nil {
				break
			}
			if over := p.closed.Load() || p.Room.Status().Over != nil; !f.cfg.Rejoin || !over || ctx.Err() != nil {
				return fmt.Errorf("%s in %s (status %+v): %w", p.Name, p.RoomName, p.Room.Status(), err)
			}
			select { // until another has taken the seat
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// Close ends all clients. Their rooms keep the places for the grace.
func (f *Fleet) Close() {
	f.end()
	f.replacing.Wait()
	var wg sync.WaitGroup
	for _, p := range f.all() {
		if p.Client != nil {
			wg.Go(p.Client.Close)
		}
	}
	wg.Wait()
}
