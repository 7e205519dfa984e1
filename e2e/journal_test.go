package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

// TestJournaledRoomsNeverGoBack kills hosts under journaled rooms, and Redis:
// no member is rewound or misses anything, each hears every input of its room
// exactly once and in one order, and every input is applied exactly once.
func TestJournaledRoomsNeverGoBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := startCluster(t, 3, 2)
	rec := newRecorder()
	notes := &noteBook{last: map[*load.Player]uint64{}}
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger-journal", Rooms: 60, PerRoom: 4, Record: true,
		OnEvent: func(p *load.Player, e client.Event) { rec.event(p, e); notes.event(p, e) }})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- fleet.Play(playing, 5) }()
	for _, victim := range []*cluster.Process{c.Hosts[0], c.Hosts[1], c.Redis, c.Hosts[2]} {
		pause(ctx, 3*time.Second)
		victim.Signal(syscall.SIGKILL)
		pause(ctx, time.Second)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
	}
	pause(ctx, 3*time.Second)
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
	var sent uint64
	for _, p := range fleet.Players {
		sent += p.Sent()
		if err := inOrderOnce(books[p.RoomName].Applied[p.Name].Numbers(), p.Sent()); err != nil {
			t.Errorf("%s in %s: %v", p.Name, p.RoomName, err)
		}
	}
	t.Logf("%d inputs sent; %s; %d notes", sent, rec.summary(), notes.heard)
	for _, p := range check.Check(fleet.History(books)) {
		t.Error(p)
	}
	for _, w := range notes.wrong {
		t.Error(w)
	}
	if rec.rewinds > 0 || rec.gaps > 0 {
		t.Errorf("%d rewinds and %d gaps in journaled rooms", rec.rewinds, rec.gaps)
	}
}

// noteBook checks that each player hears its room's inputs one by one.
type noteBook struct {
	mu    sync.Mutex
	last  map[*load.Player]uint64
	heard int
	wrong []string
}

func (n *noteBook) event(p *load.Player, e client.Event) {
	m, ok := e.(*client.Message)
	var note ledger.Note
	if !ok || json.Unmarshal(m.Payload, &note) != nil || note.Total == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard++
	if last := n.last[p]; last > 0 && note.Total != last+1 && len(n.wrong) < 10 {
		n.wrong = append(n.wrong, fmt.Sprintf("%s heard of input %d after %d", p.Name, note.Total, last))
	}
	n.last[p] = note.Total
}
