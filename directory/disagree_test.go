package directory

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Each test here is one disagreement between views, claims and the truth. Each
// ends with one live copy or none, and nobody waits longer than a lookup may.

const (
	disputed = wire.RoomID("chat/disputed")
	// mayTake bounds a lookup: 5 s at the owner, and the asker's own 5 s.
	mayTake = 6 * time.Second
)

// dispute runs a test in a cluster without clients of its own, whose members
// see each other.
func dispute(t *testing.T, hosts int, test func(s *simulation)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, 1, 0)
		defer s.end()
		s.cluster(hosts)
		if took, last := s.await(simHealWithin, s.oneMembership); last != "" {
			t.Fatalf("after %s: %s", took, last)
		}
		time.Sleep(3 * time.Second) // leases are taken
		test(s)
	})
}

// ask looks the room up at a node, and fails the test when that takes too long
// or the answer is not a live copy.
func (s *simulation) ask(n *simNode, req Request) (Location, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	start := time.Now()
	loc, err := n.resolver.Resolve(ctx, req)
	took := time.Since(start)
	s.t.Logf("%s after %s: %s epoch %d, %v", n.Self(), took, loc.Node, loc.Epoch, err)
	if took > mayTake {
		s.t.Errorf("%s was answered after %s", n.Self(), took)
	}
	return loc, err
}

func (s *simulation) mustAsk(n *simNode, req Request) Location {
	s.t.Helper()
	loc, err := s.ask(n, req)
	if err != nil {
		s.t.Fatalf("ask %s for %+v: %v", n.Self(), req, err)
	}
	return loc
}

// copies are the live copies of the room.
func (s *simulation) copies() (all []Location) {
	for _, h := range s.hosts() {
		for _, c := range h.host.copies() {
			if c.loc.Room == disputed {
				all = append(all, c.loc)
			}
		}
	}
	return all
}

// one checks that the room has one copy, and that everybody finds it.
func (s *simulation) one() Location {
	s.t.Helper()
	all := s.copies()
	if len(all) != 1 {
		s.t.Fatalf("copies: %+v, want one", all)
	}
	for _, n := range s.running() {
		if got := s.mustAsk(n, Request{Room: disputed, Mode: wire.ModeJoinOrCreate}); got != all[0] {
			s.t.Errorf("%s found %+v, the copy is %+v", n.Self(), got, all[0])
		}
	}
	return all[0]
}

func (s *simulation) node(id NodeID) *simNode {
	for _, n := range s.running() {
		if n.Self() == id {
			return n
		}
	}
	s.t.Fatalf("%s does not run", id)
	return nil
}

// others are the hosts but one.
func (s *simulation) others(than NodeID) (all []*simNode) {
	for _, h := range s.hosts() {
		if h.Self() != than {
			all = append(all, h)
		}
	}
	return all
}

// owner is the room's first owner as all see it.
func (s *simulation) owner() *simNode {
	return s.node(s.running()[0].View().Ring.Primary(disputed).ID)
}

// isolate cuts a node off from all others but the store.
func (s *simulation) isolate(ip string) {
	s.cut(ip+" isolated", func(a, b string) bool { return (a == ip) != (b == ip) && a != simStoreIP && b != simStoreIP })
}

var anyMode = Request{Room: disputed, Mode: wire.ModeJoinOrCreate}

// Two hosts believe that they own the room, and both see the store: one claim
// is granted. The other side hears of a holder that it can't reach, in bounded
// time, and finds it when the split heals.
func TestDuelingOwners(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		hosts := s.hosts()
		left := map[string]bool{hosts[0].proc.ip: true, hosts[1].proc.ip: true}
		s.cut("dueling", func(a, b string) bool { return a != simStoreIP && b != simStoreIP && left[a] != left[b] })
		s.await(10*time.Second, func() string {
			for _, h := range hosts {
				if len(h.View().Hosts) != 2 {
					return "not split yet"
				}
			}
			return ""
		})
		answers := make(chan error, 2)
		for _, h := range []*simNode{hosts[0], hosts[2]} {
			go func() {
				_, err := s.ask(h, anyMode)
				answers <- err
			}()
		}
		a, b := <-answers, <-answers
		if (a == nil) == (b == nil) {
			t.Errorf("answers: %v and %v, want one copy", a, b)
		}
		if got := s.copies(); len(got) != 1 || s.store.grants != 1 {
			t.Errorf("copies %+v, %d claims granted", got, s.store.grants)
		}
		s.heal()
		s.one()
	})
}

// The owner has no entry; the claim leads to its holder.
func TestClaimOfALiveHost(t *testing.T) {
	dispute(t, 3, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		for _, h := range s.hosts() {
			h.service.table.drop(func(Location) bool { return true })
		}
		for _, n := range s.running() {
			n.resolver.Forget(disputed, loc.Epoch)
		}
		if got := s.one(); got != loc || s.store.grants != 1 {
			t.Errorf("found %+v with %d claims granted, want %+v", got, s.store.grants, loc)
		}
	})
}

// The holder's process was killed. Its machine refuses connections, which is
// proof: nobody waits for its lease.
func TestClaimOfADeadProcess(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		s.kill(s.node(loc.Node), false)
		start := time.Now()
		got := s.mustAsk(s.hosts()[0], Request{Room: disputed, Mode: wire.ModeJoinOrCreate, After: loc.Epoch})
		if took := time.Since(start); took > 300*time.Millisecond || got.Node == loc.Node {
			t.Errorf("found %+v after %s", got, took)
		}
		s.one()
	})
}

// The holder's machine is gone without a word: its lease has to end.
func TestClaimOfALostMachine(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		s.kill(s.node(loc.Node), true)
		start := time.Now()
		got := s.mustAsk(s.hosts()[0], Request{Room: disputed, Mode: wire.ModeJoinOrCreate, After: loc.Epoch, Not: loc.Node})
		if took := time.Since(start); took > simLeaseTTL+time.Second || got.Node == loc.Node {
			t.Errorf("found %+v after %s, want elsewhere soon after a lease of %s", got, took, simLeaseTTL)
		}
		s.one()
	})
}

// The holder was killed and started again at once, under its name and address.
func TestClaimOfARestartedHost(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		old := s.node(loc.Node)
		s.kill(old, false)
		s.start(old.name, RoleHost, old.proc.ip, -time.Hour) // its clock went back, too
		got := s.mustAsk(s.others("")[0], Request{Room: disputed, Mode: wire.ModeJoinOrCreate, After: loc.Epoch})
		if got.Node == loc.Node || got.Epoch <= loc.Epoch {
			t.Errorf("found %+v after %+v", got, loc)
		}
		s.heal()
		s.one()
	})
}

// A host dies while it activates the room: after its claim was granted, before
// it could say so.
func TestHostDiesDuringActivation(t *testing.T) {
	for name, machine := range map[string]bool{"process": false, "machine": true} {
		t.Run(name, func(t *testing.T) {
			dispute(t, 4, func(s *simulation) {
				granted := make(chan NodeID, 1)
				s.store.mu.Lock()
				s.store.granted = func(r simRecord) {
					select {
					case granted <- r.loc.Node:
					default:
					}
				}
				s.store.slow = 100 * time.Millisecond
				s.store.mu.Unlock()
				answer := make(chan error, 1)
				asker := s.running()[4] // the gateway
				go func() {
					_, err := s.ask(asker, anyMode)
					answer <- err
				}()
				s.kill(s.node(<-granted), machine)
				if err := <-answer; err != nil {
					t.Logf("the asker heard: %v", err)
				}
				s.heal()
				s.mustAsk(asker, anyMode)
				s.one()
			})
		})
	}
}

// The host has claimed the room and its answer does not reach the owner: all
// that asked hear so in bounded time, and there is the one copy.
func TestReplyIsLost(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		cut := make(chan string, 1)
		s.store.mu.Lock()
		s.store.granted = func(r simRecord) {
			select {
			case cut <- r.loc.Addr:
			default:
			}
		}
		s.store.slow = 100 * time.Millisecond
		s.store.mu.Unlock()
		owner := s.owner()
		answer := make(chan error, 1)
		go func() {
			_, err := s.ask(owner, anyMode)
			answer <- err
		}()
		addr := <-cut
		ip := addr[:len(addr)-len(":"+simLinks)]
		s.cut("the reply", func(a, b string) bool { return a == ip && b != simStoreIP && b != ip })
		<-answer
		if got := s.copies(); len(got) != 1 {
			t.Errorf("copies %+v", got)
		}
		s.heal()
		if loc := s.one(); s.store.grants != 1 {
			t.Errorf("%d claims granted, at the end %+v", s.store.grants, loc)
		}
	})
}

// A link broke for a while and the room is where it was: who asks for it at
// the epoch it knows finds it there.
func TestRoomThatWasCutOffIsFoundAgain(t *testing.T) {
	dispute(t, 3, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		s.isolate(s.node(loc.Node).proc.ip)
		time.Sleep(20 * time.Second)
		again := Request{Room: disputed, Mode: wire.ModeJoin, After: loc.Epoch - 1, Not: loc.Node}
		if got, err := s.ask(s.others(loc.Node)[0], again); err == nil {
			t.Errorf("found %+v while its holder lives and is cut off", got)
		}
		s.heal()
		for _, n := range s.running() {
			if got := s.mustAsk(n, again); got != loc {
				t.Errorf("%s found %+v, want %+v", n.Self(), got, loc)
			}
		}
	})
}

// A host that is cut off from the store only goes on with its copy. When others
// take the room over, the directory tells it so, and the copy ends although the
// store can't be asked.
func TestDuplicateEndsWithoutTheStore(t *testing.T) {
	dispute(t, 4, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		stale := s.node(loc.Node)
		ip := stale.proc.ip
		s.cut("from the store", func(a, b string) bool { return a == ip && b == simStoreIP || a == simStoreIP && b == ip })
		time.Sleep(5 * time.Second)
		taken := s.mustAsk(s.others(loc.Node)[0], Request{Room: disputed, Mode: wire.ModeJoinOrCreate, After: loc.Epoch, Not: loc.Node})
		start := time.Now()
		took, last := s.await(time.Second, func() string {
			if len(s.copies()) != 1 {
				return "two copies"
			}
			return ""
		})
		t.Logf("the copy at the lower epoch ended after %s", time.Since(start))
		if last != "" {
			t.Fatalf("after %s: %s", took, last)
		}
		if got := s.one(); got != taken {
			t.Errorf("the copy is %+v, want %+v", got, taken)
		}
	})
}

// A duplicate's host registers it again and again: each time it is told of the
// higher epoch, also by an owner that was not there when that came.
func TestAntiEntropyFindsDuplicates(t *testing.T) {
	dispute(t, 3, func(s *simulation) {
		loc := s.mustAsk(s.hosts()[0], anyMode)
		stale := s.node(loc.Node)
		stale.host.mu.Lock() // a copy that the store and the entries have gone past
		old := stale.host.live[disputed]
		delete(stale.host.live, disputed)
		stale.host.mu.Unlock()
		s.store.end(context.Background(), stale.proc.ip, "nobody")
		s.store.mu.Lock()
		s.store.rooms[disputed].holder = ""
		s.store.mu.Unlock()
		taken := s.mustAsk(s.others(loc.Node)[0], Request{Room: disputed, Mode: wire.ModeJoinOrCreate, After: loc.Epoch, Not: loc.Node})
		time.Sleep(2 * time.Second) // all that was told at the takeover has been
		ip := stale.proc.ip
		s.cut("from the store", func(a, b string) bool { return a == ip && b == simStoreIP || a == simStoreIP && b == ip })
		stale.resolver.Forget(disputed, loc.Epoch)
		stale.host.mu.Lock()
		stale.host.live[disputed] = old
		stale.host.mu.Unlock()
		took, last := s.await(40*time.Second, func() string { // a round of anti-entropy and a question
			if got := s.copies(); len(got) != 1 {
				return "two copies"
			}
			return ""
		})
		t.Logf("found after %s", took)
		if last != "" {
			t.Fatal(last)
		}
		if got := s.one(); got != taken {
			t.Errorf("the copy is %+v, want %+v", got, taken)
		}
	})
}

// An owner dies: lookups of its rooms are answered by the other owners at once,
// from their entries.
func TestLookupSurvivesItsOwner(t *testing.T) {
	dispute(t, 5, func(s *simulation) {
		owner := s.owner()
		away := s.others(owner.Self())[0] // the copy does not die with its owner
		loc, err := away.host.Activate(context.Background(), disputed, wire.ModeJoinOrCreate, 0)
		if err != nil {
			t.Fatal(err)
		}
		away.service.Register(loc)
		time.Sleep(time.Second)
		grants := s.store.grants
		asker := s.running()[5]
		asker.resolver.Forget(disputed, s.copies()[0].Epoch)
		s.kill(owner, false)
		start := time.Now()
		s.mustAsk(asker, anyMode)
		if took := time.Since(start); took > 50*time.Millisecond || s.store.grants != grants {
			t.Errorf("answered after %s, with %d more claims", took, s.store.grants-grants)
		}
	})
}
