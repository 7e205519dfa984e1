// Package storetest holds snapshot.Store's implementations to its contract, and
// starts real Redis servers for tests.
package storetest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// Run runs the contract's tests. open gives a new handle on the store that
// belongs to its test: handles of one test share their data, as processes do;
// those of different tests don't. The store's limit of a checkpoint is the
// default. Run closes the handles.
func Run(t *testing.T, open func(t *testing.T) snapshot.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"leases", testLeases},
		{"lease expires", testLeaseExpires},
		{"lease bad requests", testLeaseBadRequests},
		{"claim modes", testClaimModes},
		{"claim repeated", testClaimRepeated},
		{"claim of a held room", testClaimHeld},
		{"claim of an expired holder", testClaimExpired},
		{"claim ahead of the lease", testClaimAheadOfLease},
		{"claim floor", testClaimFloor},
		{"claim of a lost room", testClaimLost},
		{"claim bad requests", testClaimBadRequests},
		{"fencing", testFencing},
		{"save counts", testSaveCounts},
		{"save sizes", testSaveSizes},
		{"save without a room", testMissing},
		{"late repetitions", testLate},
		{"journal", testJournal},
		{"journal fencing", testJournalFencing},
		{"journal cut by a save", testJournalCut},
		{"journal over claims", testJournalOverClaims},
		{"journal gap", testJournalGap},
		{"journal bounds", testJournalBounds},
		{"journal batches", testJournalBatches},
		{"tombstones", testTombstones},
		{"hand-off", testHandOff},
		{"hand-off with a checkpoint", testHandOffData},
		{"hand-off with a journal", testHandOffJournal},
		{"hand-off refused", testHandOffRefused},
		{"hold under a later lease", testHold},
		{"duel to hand off", testDuelHandOff},
		{"mend of a checkpoint", testMendCheckpoint},
		{"mend after repeated saves", testMendKeepsRepeats},
		{"mend of a journal", testMendJournal},
		{"mend after a hand-off", testMendAfterHandOff},
		{"batches", testBatches},
		{"load", testLoad},
		{"list", testList},
		{"beat", testBeat},
		{"note", testNote},
		{"a room that was seen is lost", testSeenRoomIsLost},
		{"a room claimed again and not saved is lost", testClaimedAgainIsLost},
		{"a room claimed again and not saved may be created", testClaimedAgainAndCreated},
		{"context done", testContextDone},
		{"duel to create", testDuelCreate},
		{"duel to take over", testDuelTakeOver},
		{"duel to write", testDuelWrite},
		{"random operations", testRandom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newFixture(t, open, false)) })
		if !underRace {
			t.Run(tt.name+", each twice", func(t *testing.T) { tt.run(t, newFixture(t, open, true)) })
		}
	}
}

// fixture is a store seen through two handles.
type fixture struct {
	a, b snapshot.Store
}

func newFixture(t *testing.T, open func(t *testing.T) snapshot.Store, repeat bool) *fixture {
	t.Helper()
	handle := func() snapshot.Store {
		s := open(t)
		t.Cleanup(func() {
			if err := s.Shut(); err != nil {
				t.Errorf("shut: %v", err)
			}
		})
		if repeat {
			return &twice{Store: s, t: t}
		}
		return s
	}
	return &fixture{a: handle(), b: handle()}
}

// ttl is a lease that does not run out within a test.
const ttl = 10 * time.Minute

func nonce() snapshot.Nonce { return snapshot.Nonce(rand.Uint64()) }

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// lease takes a lease under a new name.
func lease(t testing.TB, s snapshot.Store, name string) snapshot.Holder {
	t.Helper()
	h := snapshot.Holder(name + "#" + time.Now().Format("150405.000000000") + "/1")
	if err := s.TakeLease(timeout(t), h, ttl); err != nil {
		t.Fatalf("take lease: %v", err)
	}
	return h
}

// claim is one room's claim, its answer whatever it is.
func claim(t testing.TB, s snapshot.Store, r snapshot.ClaimRequest) snapshot.ClaimResult {
	t.Helper()
	if r.Nonce == 0 {
		r.Nonce = nonce()
	}
	res, err := s.Claim(timeout(t), []snapshot.ClaimRequest{r})
	if err != nil || len(res) != 1 {
		t.Fatalf("claim %s: %d results, %v", r.Room, len(res), err)
	}
	return res[0]
}

// take is a claim that has to succeed.
func take(t testing.TB, s snapshot.Store, room wire.RoomID, h snapshot.Holder) snapshot.ClaimResult {
	t.Helper()
	r := claim(t, s, snapshot.ClaimRequest{Room: room, Holder: h, Mode: wire.ModeJoinOrCreate})
	if r.Err != nil {
		t.Fatalf("claim %s for %s: %v", room, h, r.Err)
	}
	return r
}

func save(t testing.TB, s snapshot.Store, c snapshot.Claim, seq uint64, data []byte) error {
	t.Helper()
	errs, err := s.Save(timeout(t), []snapshot.SaveRequest{{Claim: c, Seq: seq, Data: data}})
	if err != nil || len(errs) != 1 {
		t.Fatalf("save %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func closeRoom(t testing.TB, s snapshot.Store, c snapshot.Claim) error {
	t.Helper()
	errs, err := s.Close(timeout(t), []snapshot.CloseRequest{{Claim: c}})
	if err != nil || len(errs) != 1 {
		t.Fatalf("close %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func check(t testing.TB, s snapshot.Store, c snapshot.Claim) error {
	t.Helper()
	errs, err := s.Check(timeout(t), []snapshot.Claim{c})
	if err != nil || len(errs) != 1 {
		t.Fatalf("check %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func load(t testing.TB, s snapshot.Store, room wire.RoomID) snapshot.LoadResult {
	t.Helper()
	res, err := s.Load(timeout(t), []wire.RoomID{room})
	if err != nil || len(res) != 1 {
		t.Fatalf("load %s: %d results, %v", room, len(res), err)
	}
	return res[0]
}

// eventually polls until ok, for at most 10 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}
