package e2e

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
)

// TestNothingIsLost plays a thousand members in two hundred rooms while a
// host, a gateway and Redis are killed, and then holds every room's book
// against what its clients sent and saw.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c := startCluster(t, 3, 2)
	rec := newRecorder()
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger", Rooms: 200, PerRoom: 5, OnEvent: rec.event, Record: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	t.Logf("%d members have joined", len(fleet.Players))
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- fleet.Play(playing, 5) }()
	breakThings(ctx, t, c)
	stop()
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	if err := fleet.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	books, err := fleet.Books(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range check.Check(fleet.History(books)) {
		t.Error(p)
	}
	var sent uint64
	for _, p := range fleet.Players {
		sent += p.Sent()
		if err := inOrderOnce(books[p.RoomName].Applied[p.Name].Numbers(), p.Sent()); err != nil {
			t.Errorf("%s in %s: %v", p.Name, p.RoomName, err)
		}
	}
	t.Logf("%d inputs sent; %s", sent, rec.summary())
	if rec.rewinds == 0 || rec.drops == 0 {
		t.Errorf("nothing was broken: %s", rec.summary())
	}
}

// breakThings kills a host, a gateway and Redis, one after the other.
func breakThings(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	for _, victim := range []*cluster.Process{c.Hosts[0], c.Gateways[0], c.Redis} {
		pause(ctx, 4*time.Second)
		victim.Signal(syscall.SIGKILL)
		pause(ctx, 2*time.Second)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
	}
	pause(ctx, 4*time.Second)
}

func inOrderOnce(applied []uint64, sent uint64) error {
	for i, n := range applied {
		if n != uint64(i+1) {
			return fmt.Errorf("input %d was applied at place %d", n, i+1)
		}
	}
	if uint64(len(applied)) != sent {
		return fmt.Errorf("%d of %d inputs were applied", len(applied), sent)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// recorder counts what clients were told.
type recorder struct {
	mu                   sync.Mutex
	messages, acks       int
	drops, rewinds, gaps int
	first, last          time.Time // drops
}

func newRecorder() *recorder { return &recorder{} }

func (r *recorder) event(_ *load.Player, e client.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.(type) {
	case *client.Message:
		r.messages++
	case *client.Ack:
		r.acks++
	case *client.Dropped:
		if r.drops++; r.first.IsZero() {
			r.first = time.Now()
		}
		r.last = time.Now()
	case *client.Rewound:
		r.rewinds++
	case *client.Gap:
		r.gaps++
	}
}

func (r *recorder) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d messages, %d acks, %d connections dropped, %d rewinds, %d gaps",
		r.messages, r.acks, r.drops, r.rewinds, r.gaps)
}
