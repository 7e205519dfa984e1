package directory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A thousand clients of four gateways and three hosts touch one room at once,
// a hundred times over.
func TestFirstTouchGivesOneActivation(t *testing.T) {
	c := newCluster(t, 3, 4)
	c.claims.delays.Store(int64(2 * time.Millisecond))
	rounds := 100
	if raceFactor > 1 {
		rounds = 5
	}
	var slowest time.Duration
	for round := range rounds {
		room := wire.RoomID(fmt.Sprint("arena/one-", round))
		var touches sync.WaitGroup
		var places sync.Map
		start := time.Now()
		for i := range 1000 {
			n := c.nodes[i%len(c.nodes)]
			touches.Go(func() {
				loc, err := resolve(n, Request{Room: room, Mode: wire.ModeJoinOrCreate})
				if err != nil {
					t.Errorf("touch %d: %v", i, err)
				}
				places.Store(loc, true)
			})
		}
		touches.Wait()
		slowest = max(slowest, time.Since(start))
		distinct := 0
		places.Range(func(k, _ any) bool { distinct++; return true })
		if _, taken := c.claims.counts(); distinct != 1 || taken != round+1 {
			t.Fatalf("round %d: %d places, %d activations in all, want 1 and %d", round, distinct, taken, round+1)
		}
	}
	t.Logf("%d rounds of 1000 first touches, the slowest took %s; %d claims asked", rounds, slowest, c.claims.asked)
}

func TestModesPassThrough(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	if _, err := resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoin}); wire.CodeOf(err) == nil || wire.CodeOf(err).Code != wire.CodeNoRoom {
		t.Errorf("join of a room that does not exist: %v", err)
	}
	loc := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeCreate})
	if _, err := resolve(g, Request{Room: "chat/a", Mode: wire.ModeCreate}); wire.CodeOf(err) == nil || wire.CodeOf(err).Code != wire.CodeRoomExists {
		t.Errorf("create of a room that exists: %v", err)
	}
	if got := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoin}); got != loc {
		t.Errorf("join found %+v, want %+v", got, loc)
	}
	for _, req := range []Request{{Room: "chat"}, {Room: "Chat/a"}, {Room: "chat/a b"}, {Room: "chat/a", Mode: 7}, {Room: "", Mode: wire.ModeAny}} {
		if _, err := resolve(g, req); wire.CodeOf(err) == nil || wire.CodeOf(err).Code != wire.CodeBadRequest {
			t.Errorf("%+v: %v, want bad_request", req, err)
		}
	}
}

// Of many who create one room, one does.
func TestCreateHasOneWinner(t *testing.T) {
	c := newCluster(t, 3, 2)
	c.claims.delays.Store(int64(time.Millisecond))
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			switch _, err := resolve(c.nodes[i%5], Request{Room: "chat/mine", Mode: wire.ModeCreate}); {
			case err == nil:
				won.Add(1)
			case wire.CodeOf(err).Code == wire.CodeRoomExists:
				lost.Add(1)
			default:
				t.Errorf("create: %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 59 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestUnknownKinds(t *testing.T) {
	c := newCluster(t, 2, 1)
	g := c.gateways()[0]
	code := func(req Request) wire.Code {
		t.Helper()
		_, err := resolve(g, req)
		if err == nil {
			t.Fatalf("%+v: no error", req)
		}
		return wire.CodeOf(err).Code
	}
	for _, mode := range []wire.Mode{wire.ModeJoinOrCreate, wire.ModeAny} {
		if got := code(Request{Room: "chess/a", Mode: mode}); got != wire.CodeUnknownKind {
			t.Errorf("mode %d, a kind that nobody serves: %s", mode, got)
		}
	}
	for _, h := range c.hosts() {
		h.Update(true, Load{})
	}
	c.until("draining is known", func() bool {
		for _, n := range c.nodes {
			for _, h := range n.View().Hosts {
				if !h.Draining {
					return false
				}
			}
		}
		return true
	})
	for _, mode := range []wire.Mode{wire.ModeJoinOrCreate, wire.ModeAny} {
		if got := code(Request{Room: "chat/a", Mode: mode}); got != wire.CodeKindUnavailable {
			t.Errorf("mode %d, all hosts drain: %s", mode, got)
		}
	}
}

// A host that turns a room down is not the end of it.
func TestActivationTriesOthers(t *testing.T) {
	c := newCluster(t, 3, 1)
	hosts := c.hosts()
	for _, code := range []wire.Code{wire.CodeBusy, wire.CodeUnavailable} {
		for _, h := range hosts[:2] {
			h.host.refuse.Store(wire.Refuse(code, "not now"))
		}
		loc := c.resolve(c.gateways()[0], Request{Room: wire.RoomID("chat/" + code.String()), Mode: wire.ModeJoinOrCreate})
		if loc.Node != hosts[2].Self() {
			t.Errorf("%s: room lives on %s", code, loc.Node)
		}
	}
	for _, h := range hosts {
		h.host.refuse.Store(wire.Refuse(wire.CodeUnavailable, "the store is down"))
		h.host.refused.Store(0)
	}
	start := time.Now()
	_, err := resolve(c.gateways()[0], Request{Room: "chat/none", Mode: wire.ModeJoinOrCreate})
	if e := wire.CodeOf(err); e == nil || e.Code != wire.CodeUnavailable || e.RetryMS == 0 || e.Text != "the store is down" {
		t.Errorf("nobody can take it: %v", err)
	}
	asked := hosts[0].host.refused.Load() + hosts[1].host.refused.Load() + hosts[2].host.refused.Load()
	if asked != 3 || time.Since(start) > 2*time.Second {
		t.Errorf("%d hosts asked in %s, want 3 and no waiting", asked, time.Since(start))
	}
}

// The room's owner has no entry; the claim names the host.
func TestClaimLeadsToTheHolder(t *testing.T) {
	c := newCluster(t, 3, 1)
	for i, h := range c.hosts() {
		room := wire.RoomID(fmt.Sprint("chat/held", i))
		want, err := h.host.Activate(context.Background(), room, wire.ModeJoinOrCreate, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.resolve(c.gateways()[0], Request{Room: room, Mode: wire.ModeJoinOrCreate}); got != want {
			t.Errorf("found %+v, want %+v", got, want)
		}
		_, err = resolve(c.gateways()[0], Request{Room: room, Mode: wire.ModeCreate})
		if wire.CodeOf(err) == nil || wire.CodeOf(err).Code != wire.CodeRoomExists {
			t.Errorf("create of a room that is held: %v", err)
		}
	}
}

// An answer's epoch is above what the asker knows to be over, whatever the
// entries and the claims say.
func TestAnswersAreNews(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	old := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if loc, err := g.resolver.Resolve(ctx, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate, After: old.Epoch}); err == nil {
		t.Errorf("answered %+v to one for whom epoch %d is over, while its lease runs", loc, old.Epoch)
	}
	// The lease ends while an asker waits.
	time.AfterFunc(300*time.Millisecond, func() { c.claims.endLease(context.Background(), old.Node) })
	got := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate, After: old.Epoch, Not: old.Node})
	if got.Epoch <= old.Epoch || got.Node == old.Node {
		t.Errorf("got %+v after %+v", got, old)
	}
	g.resolver.Learn(old)
	if got2 := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoin}); got2 != got {
		t.Errorf("the cache went back to %+v", got2)
	}
}

// Not says where the asker failed to find the room. The room is looked for
// anew, and found there again only if its host says so.
func TestNotIsVerified(t *testing.T) {
	c := newCluster(t, 3, 1)
	g := c.gateways()[0]
	first := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
	asked := c.claims.timesAsked()
	again := c.resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate, Not: first.Node})
	if again != first || c.claims.timesAsked() == asked {
		t.Errorf("found %+v with %d claims asked, want %+v confirmed by a claim", again, c.claims.timesAsked()-asked, first)
	}
}

func TestNoHosts(t *testing.T) {
	c := newCluster(t, 0, 1)
	g := c.nodes[0]
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := g.resolver.Resolve(ctx, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
	if e := wire.CodeOf(err); e == nil || e.Code != wire.CodeUnavailable || time.Since(start) < 150*time.Millisecond {
		t.Errorf("without hosts: %v after %s, want unavailable at the deadline", err, time.Since(start))
	}
	// A host that comes while somebody waits is used.
	found := make(chan error, 1)
	go func() {
		_, err := resolve(g, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
		found <- err
	}()
	c.start("h0", RoleHost, "chat")
	if err := <-found; err != nil {
		t.Errorf("with a host that came later: %v", err)
	}
}

// A leaver does not stop the search that others share.
func TestLeaverDoesNotStopTheSearch(t *testing.T) {
	c := newCluster(t, 1, 0)
	h := c.nodes[0]
	c.claims.delays.Store(int64(300 * time.Millisecond))
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := h.resolver.Resolve(ctx, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
		left <- err
	}()
	c.until("the search is under way", func() bool { return h.service.searches.len() == 1 })
	stayed := make(chan error, 1)
	go func() {
		_, err := resolve(h, Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate})
		stayed <- err
	}()
	leave()
	if err := <-left; err == nil {
		t.Error("who left was answered")
	}
	if err := <-stayed; err != nil {
		t.Errorf("who stayed: %v", err)
	}
	if _, taken := c.claims.counts(); taken != 1 {
		t.Errorf("%d activations", taken)
	}
}

func TestCachedHitDoesNotAllocate(t *testing.T) {
	c := newCluster(t, 1, 1)
	g := c.gateways()[0]
	req := Request{Room: "chat/a", Mode: wire.ModeJoinOrCreate}
	c.resolve(g, req)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := g.resolver.Resolve(ctx, req); err != nil {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("a cached hit allocates %.2f times", n)
	}
}

// Requests go through nodes whose views differ: each handles or forwards, and
// all end at one copy.
func TestDivergingViews(t *testing.T) {
	c := newCluster(t, 4, 1)
	hosts := c.hosts()
	room := c.roomOn(hosts[0], "chat")
	// Each host believes that another one is the only host.
	wrong := map[*testNode]*testNode{hosts[0]: hosts[1], hosts[1]: hosts[2], hosts[2]: hosts[3], hosts[3]: hosts[0]}
	for h, owner := range wrong {
		h.Members.mu.Lock()
		v := *h.View()
		v.Ring = newRing([]*Node{v.Node(owner.Self())})
		h.Members.view.Store(&v)
		h.Members.mu.Unlock()
	}
	var all sync.WaitGroup
	var places sync.Map
	for i := range 40 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			loc, err := hosts[i%4].service.Locate(ctx, Request{Room: room, Mode: wire.ModeJoinOrCreate})
			if err != nil {
				t.Errorf("locate at %s: %v", hosts[i%4].Self(), err)
			}
			places.Store(loc, true)
		})
	}
	all.Wait()
	distinct := 0
	places.Range(func(k, _ any) bool { distinct++; return true })
	if _, taken := c.claims.counts(); distinct != 1 || taken != 1 {
		t.Errorf("%d places, %d claims granted, want 1 and 1", distinct, taken)
	}
}
