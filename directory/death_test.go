package directory

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A host's process ends: its rooms are found elsewhere long before gossip or
// the lease's end would say so.
func TestDeadHostIsBuried(t *testing.T) {
	c := newCluster(t, 3, 2)
	g := c.gateways()[0]
	places := map[wire.RoomID]Location{}
	for i := range 30 {
		room := wire.RoomID(fmt.Sprint("chat/r", i))
		places[room] = c.resolve(g, Request{Room: room, Mode: wire.ModeJoinOrCreate})
	}
	dead := c.hosts()[1]
	start := time.Now()
	c.remove(dead)
	dead.cutLinks()
	if !g.coroner.Suspect(context.Background(), dead.Self()) {
		t.Error("refused at its address by two, but not proven gone")
	}
	t.Logf("proven after %s", time.Since(start))
	for room, old := range places {
		if old.Node != dead.Self() {
			continue
		}
		loc := c.resolve(g, Request{Room: room, Mode: wire.ModeJoinOrCreate, After: old.Epoch})
		if loc.Node == dead.Self() || loc.Epoch <= old.Epoch || loc.Incarnation != old.Incarnation {
			t.Errorf("room was at %+v, is at %+v", old, loc)
		}
	}
	t.Logf("all its rooms live elsewhere after %s", time.Since(start))
	if took := time.Since(start); took > 1500*time.Millisecond*raceFactor {
		t.Errorf("took %s", took)
	}
	c.until("all have buried it", func() bool {
		for _, n := range c.nodes {
			if !n.Buried(dead.Self()) || n.View().Node(dead.Self()) != nil {
				return false
			}
		}
		return true
	})
	for _, h := range c.hosts() {
		if n := h.service.table.drop(func(l Location) bool { return l.Node == dead.Self() }); n != 0 {
			t.Errorf("%s keeps %d entries of the dead host", h.Self(), n)
		}
	}
	if !c.claims.hasEnded(dead.Self()) {
		t.Error("its lease was not ended")
	}
}

// Nobody calls Suspect: links break, and that is enough.
func TestBrokenLinkStartsAnInquiry(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	dead := c.hosts()[0]
	if _, err := g.mesh.Link(context.Background(), string(dead.Self()), dead.addr); err != nil {
		t.Fatal(err)
	}
	dead.cutLinks()
	c.until("it is buried", func() bool { return g.Buried(dead.Self()) })
}

// A host that answers, or only keeps silent, is not proven gone.
func TestLivingHostIsNotBuried(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	if g.coroner.Suspect(context.Background(), c.hosts()[0].Self()) {
		t.Error("a living host was buried")
	}
	// It accepts connections and says nothing, as a stopped process does.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	paused := &Node{ID: MakeNodeID("h9", 1), Role: RoleHost, Link: silent.Addr().String()}
	g.Members.mu.Lock()
	g.Members.gone.put(paused.ID, paused)
	g.Members.mu.Unlock()
	if g.coroner.Suspect(context.Background(), paused.ID) {
		t.Error("a silent host was buried")
	}
	if g.coroner.Suspect(context.Background(), MakeNodeID("h8", 1)) {
		t.Error("a node that was never heard of was buried")
	}
}

// One witness does not do: a gateway that is refused where hosts are not.
func TestOneWitnessIsNotProof(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	alive := c.hosts()[0]
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close() // connections to it are refused from now on
	wrong := *g.View().Node(alive.Self())
	wrong.Link = nobody.Addr().String()
	if g.coroner.inquire(context.Background(), &wrong) {
		t.Error("a host was buried on one node's word")
	}
	if c.claims.hasEnded(alive.Self()) {
		t.Error("its lease was ended")
	}
}

// With a single other host, it is a gateway that seconds.
func TestGatewaySecondsTheLastHost(t *testing.T) {
	c := newCluster(t, 2, 1)
	dead, last := c.hosts()[0], c.hosts()[1]
	dead.cutLinks()
	if !last.coroner.Suspect(context.Background(), dead.Self()) {
		t.Error("not proven by a host and a gateway")
	}
	c.until("the gateway has buried it", func() bool { return c.gateways()[0].Buried(dead.Self()) })
}

// All who lose a link at once make few inquiries of it.
func TestSuspicionsAreShared(t *testing.T) {
	c := newCluster(t, 3, 2)
	dead := c.hosts()[2]
	c.remove(dead)
	dead.cutLinks()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if !c.nodes[i%len(c.nodes)].coroner.Suspect(context.Background(), dead.Self()) {
				t.Error("not proven")
			}
		})
	}
	all.Wait()
}

// A restart under the same name at the same address is proof by itself.
func TestRestartBuriesTheBootBefore(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	before := c.hosts()[0]
	var rooms []wire.RoomID
	for i := range 20 {
		room := wire.RoomID(fmt.Sprint("chat/r", i))
		if c.resolve(g, Request{Room: room, Mode: wire.ModeJoinOrCreate}).Node == before.Self() {
			rooms = append(rooms, room)
		}
	}
	c.remove(before)
	before.cutLinks()
	var ln net.Listener
	c.until("its address is free", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", before.addr)
		return err == nil
	})
	after := c.startOn(ln, "h0", RoleHost, "chat", "arena")
	c.until("the boot before is gone from all views", func() bool {
		for _, n := range c.nodes {
			if n != after && !n.Buried(before.Self()) || n.View().Node(before.Self()) != nil && n != after {
				return false
			}
		}
		return true
	})
	c.until("the lease of the boot before is ended", func() bool { return c.claims.hasEnded(before.Self()) })
	for _, room := range rooms {
		if loc := c.resolve(g, Request{Room: room, Mode: wire.ModeJoinOrCreate}); loc.Node == before.Self() {
			t.Errorf("room %s is still at the boot before", room)
		}
	}
}

// The owner of a room's partition dies while the room lives elsewhere: another
// replica answers, with the room where it was.
func TestOwnerDies(t *testing.T) {
	c := newCluster(t, 4, 1)
	g := c.gateways()[0]
	for _, owner := range c.hosts()[:2] {
		room := c.roomOn(owner, "arena")
		var home *testNode
		for _, h := range c.hosts() {
			if h != owner {
				home = h
			}
		}
		want, err := home.host.Activate(context.Background(), room, wire.ModeJoinOrCreate, 0)
		if err != nil {
			t.Fatal(err)
		}
		home.service.Register(want)
		c.until("the owner knows", func() bool { _, ok := owner.service.table.get(room); return ok })
		c.remove(owner)
		owner.cutLinks()
		if got := c.resolve(g, Request{Room: room, Mode: wire.ModeJoin}); got != want {
			t.Errorf("found %+v, want %+v", got, want)
		}
		if _, taken := c.claims.counts(); taken > 2 {
			t.Errorf("%d activations", taken)
		}
	}
}
