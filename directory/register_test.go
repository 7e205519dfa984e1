package directory

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// owners counts the owners of a room that have its entry.
func (c *cluster) owners(room wire.RoomID) (have, all int) {
	for o := range c.nodes[0].View().Ring.Owners(PartitionOf(room)) {
		all++
		if _, ok := c.node(o.ID).service.table.get(room); ok {
			have++
		}
	}
	return have, all
}

func TestEntriesAreReplicated(t *testing.T) {
	c := newCluster(t, 5, 1)
	g := c.gateways()[0]
	start := time.Now()
	loc := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
	c.until("all owners have the entry", func() bool { have, all := c.owners("chat/a"); return have == all && all == Replicas })
	t.Logf("replicated after %s", time.Since(start))
	host := c.node(loc.Node)
	c.claims.mu.Lock()
	delete(c.claims.rooms, "chat/a") // it is unloaded
	c.claims.mu.Unlock()
	host.service.Unregister("chat/a", loc.Epoch-1)
	host.service.Unregister("chat/a", loc.Epoch)
	host.service.pass(change{place: place(loc)}) // late news
	c.until("no owner has the entry", func() bool { have, _ := c.owners("chat/a"); return have == 0 })
	if _, err := resolve(c.hosts()[0], Request{Room: "chat/a", Mode: wire.ModeJoin, Not: loc.Node}); err == nil || wire.CodeOf(err).Code != wire.CodeNoRoom {
		t.Errorf("the room is gone, but: %v", err)
	}
}

// A host that joins gets the entries of the partitions that it now owns, from
// the hosts whose rooms they are.
func TestRingChangeRegisters(t *testing.T) {
	c := newCluster(t, 3, 0)
	const rooms = 3000
	for i := range rooms {
		h := c.nodes[i%3]
		loc, err := h.host.Activate(context.Background(), wire.RoomID(fmt.Sprint("chat/r", i)), wire.ModeJoinOrCreate, 0)
		if err != nil {
			t.Fatal(err)
		}
		h.service.Register(loc)
	}
	joined := c.start("h3", RoleHost, "chat")
	c.agree()
	want := 0
	for i := range rooms {
		if joined.View().Ring.owns(PartitionOf(wire.RoomID(fmt.Sprint("chat/r", i))), joined.Self()) {
			want++
		}
	}
	start := time.Now()
	c.until("the new host has its entries", func() bool { return joined.service.table.len() >= want })
	t.Logf("%d entries registered with the new owner %s after all saw it", want, time.Since(start))
	if want < rooms/2 {
		t.Errorf("the new host owns only %d of %d rooms", want, rooms)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	lost := 0
	o := newOutbox(10, func(context.Context, NodeID, []change) error { return nil }, func(n int) { lost += n })
	for i := range 15 {
		o.put("h1", change{place: place{Room: wire.RoomID(fmt.Sprint("chat/", i)), Epoch: 5}})
	}
	if o.len() != 10 || lost != 5 {
		t.Errorf("%d wait, %d lost", o.len(), lost)
	}
	o.put("h1", change{place: place{Room: "chat/3", Epoch: 4}, Gone: true})
	if c := o.to["h1"].changes["chat/3"]; c.Gone {
		t.Error("an older change replaced a newer one")
	}
	o.put("h1", change{place: place{Room: "chat/3", Epoch: 5}, Gone: true})
	if c := o.to["h1"].changes["chat/3"]; !c.Gone {
		t.Error("a newer change did not replace an older one")
	}
}

func TestFlightsAreBounded(t *testing.T) {
	f := newFlights(1, 2, time.Minute)
	hold := make(chan struct{})
	search := func(context.Context) (Location, error) { <-hold; return at("chat/a", "h1", 5), nil }
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := f.do(context.Background(), Request{Room: "chat/a", Mode: wire.ModeJoin}, search)
			results <- err
		}()
	}
	until(t, "two wait", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.m["chat/a"] != nil && f.m["chat/a"].waiting == 2
	})
	for _, room := range []wire.RoomID{"chat/a", "chat/b"} {
		_, err := f.do(context.Background(), Request{Room: room, Mode: wire.ModeJoin}, search)
		if e := wire.CodeOf(err); e == nil || e.Code != wire.CodeBusy {
			t.Errorf("one too many for %s: %v", room, err)
		}
	}
	close(hold)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	f.end()
	if _, err := f.do(context.Background(), Request{Room: "chat/a"}, search); err == nil {
		t.Error("a search began after the end")
	}
}
