package e2e

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/wire"
)

// TestFindFillsRooms lets a thousand players arrive in a second, through three
// gateways, who want any room of fifty: they fill twenty. Meanwhile seats that a
// group did not come for are given back, and the lobby tells.
func TestFindFillsRooms(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := startCluster(t, 3, 3)
	all := connect(ctx, t, c.URLs(), 1004)
	party := wire.Filter{Pool: "party", Labels: map[string]string{"map": "reef"}, Seats: 50}
	host := find(ctx, t, all[1000], party)
	elsewhere := find(ctx, t, all[1001], wire.Filter{Pool: "party"})
	if elsewhere.ID() == host.ID() {
		t.Errorf("both are in %s, whose seats are kept for a group", host.ID())
	}
	if _, err := all[1002].Join(ctx, wire.ModeJoin, "table", host.Name(), nil); err != nil {
		t.Errorf("one of the group: %v", err)
	}

	rush(ctx, t, all[:1000])
	surplus := 0.0
	for _, h := range c.Hosts {
		surplus += metric(ctx, t, h, "limpet_directory_open_surplus_total")
	}
	if surplus != 0 {
		t.Errorf("%v surplus rooms were counted while views agreed", surplus)
	}
	lobby(ctx, t, c, all[1003], host)

	relabelled(ctx, t, host, all[1003])
	private(ctx, t, elsewhere, all[1002])
}

// private takes a room out of searches and lists; by its name it can be joined.
func private(ctx context.Context, t *testing.T, room *client.Room, who *client.Client) {
	t.Helper()
	for _, input := range []string{"map=cove", "private"} {
		if _, err := room.Send([]byte(input)); err != nil {
			t.Fatal(err)
		}
	}
	if err := room.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	if r := find(ctx, t, who, wire.Filter{Pool: "party", Labels: map[string]string{"map": "cove"}}); r.ID() == room.ID() {
		t.Errorf("a search was sent to %s, which is private", r.ID())
	}
	page, err := who.Browse(ctx, "table", client.Query{Filter: wire.Filter{Pool: "party"}, Most: 200})
	if err != nil || len(page.Rooms) == 0 {
		t.Errorf("page: %+v, %v", page, err)
	}
	for _, r := range page.Rooms {
		if r.Room == room.ID() {
			t.Errorf("%s is listed, and private", r.Room)
		}
	}
	if _, err := who.Join(ctx, wire.ModeJoin, "table", room.Name(), nil); err != nil {
		t.Errorf("join by name: %v", err)
	}
}

func find(ctx context.Context, t *testing.T, c *client.Client, f wire.Filter) *client.Room {
	t.Helper()
	r, err := c.Find(ctx, "table", f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rush has all look for a room within a second, and counts who is where.
func rush(ctx context.Context, t *testing.T, all throng) {
	t.Helper()
	var mu sync.Mutex
	rooms := map[wire.RoomID]int{}
	var in errgroup.Group
	began := time.Now()
	for i, c := range all {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(len(all)))))
		in.Go(func() error {
			r, err := c.Find(ctx, "table", wire.Filter{Pool: "rush"}, nil)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				rooms[r.ID()]++
			}
			return err
		})
	}
	arrived := time.Since(began)
	if err := in.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d players arrived in %s and were in %d rooms after %s", len(all), arrived, len(rooms), time.Since(began))
	if len(rooms) != 20 {
		t.Errorf("%d rooms, want 20: %v", len(rooms), rooms)
	}
	for id, n := range rooms {
		if n != 50 {
			t.Errorf("%s has %d members, want 50", id, n)
		}
	}
}

// lobby watches the group's pool until the seats are given back, and sees that
// a host which does not answer is missing.
func lobby(ctx context.Context, t *testing.T, c *cluster.Cluster, who *client.Client, host *client.Room) {
	t.Helper()
	watching, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	back := false
	who.Watch(watching, "table", client.Query{Filter: wire.Filter{Pool: "party"}}, func(p client.Page) {
		for _, r := range p.Rooms {
			if r.Room == host.ID() && r.Members == 2 && r.Reserved == 0 {
				back = true
				cancel()
			}
		}
	})
	if !back {
		t.Error("the lobby never showed the group's room with its seats free again")
	}
	full, err := who.Browse(ctx, "table", client.Query{Filter: wire.Filter{Pool: "rush"}})
	if err != nil || len(full.Rooms) != 0 || full.Asked != 3 || full.Answered != 3 || full.Covered != 1 {
		t.Errorf("rooms of the rush with a seat: %+v, %v", full, err)
	}
	// How many rooms the silent host has is known from its reports, every 2 s.
	for began := time.Now(); ; {
		part, took := listWithout(ctx, t, c.Hosts[0], who)
		if part.Asked == 3 && part.Answered == 2 && part.Covered > 0 && part.Covered < 1 && took <= 2*time.Second {
			return
		}
		if time.Since(began) > 8*time.Second {
			t.Fatalf("with a host that stands still: %+v after %s", part, took)
		}
		pause(ctx, 300*time.Millisecond)
	}
}

// listWithout is a list that is asked for while a host stands still.
func listWithout(ctx context.Context, t *testing.T, h *cluster.Process, who *client.Client) (client.Page, time.Duration) {
	t.Helper()
	if err := h.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	part, err := who.Browse(ctx, "table", client.Query{})
	took := time.Since(began)
	h.Signal(syscall.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	return part, took
}

// relabelled finds a room by the label that it has now, and not by the one that
// it had, as soon as the input that changed it was applied.
func relabelled(ctx context.Context, t *testing.T, host *client.Room, who *client.Client) {
	t.Helper()
	if _, err := host.Send([]byte("map=desert")); err != nil {
		t.Fatal(err)
	}
	if err := host.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	desert := wire.Filter{Pool: "party", Labels: map[string]string{"map": "desert"}, Seats: 40}
	if r := find(ctx, t, who, desert); r.ID() != host.ID() {
		t.Errorf("a desert with 40 seats: %s, want %s", r.ID(), host.ID())
	}
	reef := wire.Filter{Pool: "party", Labels: map[string]string{"map": "reef"}}
	if r := find(ctx, t, who, reef); r.ID() == host.ID() {
		t.Errorf("a reef: %s, which is a desert by now", r.ID())
	}
}

func metric(ctx context.Context, t *testing.T, p *cluster.Process, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ops("/metrics"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no metric %s", p.Name, name)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
