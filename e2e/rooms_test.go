package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/wire"
)

// TestFirstTouch lets a thousand clients join one new room through four
// gateways at once, again and again: each time all are in the same activation.
func TestFirstTouch(t *testing.T) {
	rounds := 5
	if os.Getenv("LIMPET_SOAK") != "" {
		rounds = 100
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(rounds)*20*time.Second)
	defer cancel()
	c := startCluster(t, 3, 4)
	all := connect(ctx, t, c.URLs(), 1000)
	var slowest time.Duration
	for i := range rounds {
		began := time.Now()
		epochs := all.touch(ctx, t, fmt.Sprint("touch-", i))
		slowest = max(slowest, time.Since(began))
		if len(epochs) != 1 {
			t.Fatalf("round %d: members of one room by epoch: %v, want one epoch", i, epochs)
		}
	}
	t.Logf("%d rounds, in the slowest all were in after %s", rounds, slowest)
}

// throng are clients that do the same at the same time.
type throng []*client.Client

func connect(ctx context.Context, t *testing.T, urls []string, n int) throng {
	t.Helper()
	all := make(throng, n)
	var g errgroup.Group
	g.SetLimit(64)
	for i := range all {
		g.Go(func() (err error) {
			all[i], err = client.Dial(ctx, client.Config{URLs: urls[i%len(urls) : i%len(urls)+1]})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	return all
}

// touch has all join a room at once and leave it, and counts them by the epoch
// at which they were in it.
func (all throng) touch(ctx context.Context, t *testing.T, room string) map[wire.Epoch]int {
	t.Helper()
	var mu sync.Mutex
	epochs := map[wire.Epoch]int{}
	var in errgroup.Group
	rooms := make([]*client.Room, len(all))
	for i, c := range all {
		in.Go(func() (err error) {
			if rooms[i], err = c.Join(ctx, wire.ModeJoinOrCreate, "ledger", room, nil); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			epochs[rooms[i].Status().Epoch]++
			return nil
		})
	}
	if err := in.Wait(); err != nil {
		t.Fatal(err)
	}
	var out errgroup.Group
	for _, r := range rooms {
		out.Go(func() error { return r.Leave(ctx) })
	}
	if err := out.Wait(); err != nil {
		t.Fatal(err)
	}
	return epochs
}

// TestAllHostsRestart kills every host and starts them again: the first to
// come back finds the room as it was.
func TestAllHostsRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := startCluster(t, 3, 1)
	cfg := load.Config{URLs: c.URLs(), Kind: "ledger", Rooms: 20, PerRoom: 2}
	fleet, err := load.Join(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	for range 10 {
		for _, p := range fleet.Players {
			if _, err := p.Send(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := fleet.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	fleet.Close() // nobody is left who could send anything again
	for _, h := range c.Hosts {
		h.Signal(syscall.SIGKILL)
	}
	for _, h := range c.Hosts {
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range c.Hosts {
		if err := h.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	books, err := fleet.Books(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range fleet.Players {
		if err := inOrderOnce(books[p.RoomName].Applied[p.Name].Numbers(), p.Sent()); err != nil {
			t.Errorf("%s in %s: %v", p.Name, p.RoomName, err)
		}
	}
}

// TestEmptyRoomsComeBack lets rooms go out of memory and asks for them again,
// wherever they are placed then.
func TestEmptyRoomsComeBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := startCluster(t, 3, 2)
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger-brief", Rooms: 30, PerRoom: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	for _, p := range fleet.Players {
		if _, err := p.Send(); err != nil {
			t.Fatal(err)
		}
	}
	if err := fleet.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range fleet.Players {
		if err := p.Room.Leave(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range c.Hosts {
		for live := -1; live != 0; pause(ctx, 50*time.Millisecond) {
			var list struct{ Rooms []struct{} }
			if err := h.Admin(ctx, "/v1/rooms", nil, &list); err != nil {
				t.Fatal(err)
			}
			live = len(list.Rooms)
		}
	}
	began := time.Now()
	books, err := fleet.Books(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rooms came back in %s", len(books), time.Since(began))
	for _, p := range fleet.Players {
		if err := inOrderOnce(books[p.RoomName].Applied[p.Name].Numbers(), 1); err != nil {
			t.Errorf("%s in %s: %v", p.Name, p.RoomName, err)
		}
	}
}
