package e2e

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/wire"
)

// TestFirstTouch lets a thousand clients join one new room through three
// gateways at once: all of them must be in the same activation.
func TestFirstTouch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := startCluster(t, 3, 3)
	var mu sync.Mutex
	epochs := map[wire.Epoch]int{}
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger", Rooms: 1, PerRoom: 1000, AtOnce: 1000,
		OnEvent: func(_ *load.Player, e client.Event) {
			if j, ok := e.(*client.Joined); ok {
				mu.Lock()
				epochs[j.Epoch]++
				mu.Unlock()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	mu.Lock()
	defer mu.Unlock()
	if len(epochs) != 1 {
		t.Errorf("members of one room by epoch: %v, want one epoch", epochs)
	}
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
