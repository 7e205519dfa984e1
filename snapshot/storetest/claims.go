package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantHeld(t testing.TB, what string, err error, by snapshot.Holder, epoch wire.Epoch) {
	t.Helper()
	held, ok := errors.AsType[*snapshot.HeldError](err)
	if !ok || held.Holder != by || held.Epoch != epoch {
		t.Errorf("%s: %v, want held by %s in epoch %d", what, err, by, epoch)
	}
}

func testClaimModes(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	ask := func(room wire.RoomID, m wire.Mode) snapshot.ClaimResult {
		return claim(t, f.a, snapshot.ClaimRequest{Room: room, Holder: h, Mode: m})
	}
	wantErr(t, "join a room that is not there", ask("k/a", wire.ModeJoin).Err, snapshot.ErrNoRoom)
	if r := load(t, f.b, "k/a"); !errors.Is(r.Err, snapshot.ErrNoRoom) {
		t.Errorf("a refused claim left a room: %+v", r)
	}

	before := wire.Epoch(time.Now().Add(-time.Minute).UnixMilli())
	made := ask("k/a", wire.ModeCreate)
	if made.Err != nil || !made.Created || made.Data != nil || made.Claim.Epoch < before ||
		made.Claim.Incarnation != wire.Incarnation(made.Claim.Epoch) || made.Claim.Room != "k/a" {
		t.Fatalf("create: %+v", made)
	}
	wantErr(t, "create it again", ask("k/a", wire.ModeCreate).Err, snapshot.ErrExists)

	for _, m := range []wire.Mode{wire.ModeJoin, wire.ModeJoinOrCreate} {
		r := ask("k/a", m)
		if r.Err != nil || r.Created || r.Claim.Incarnation != made.Claim.Incarnation || r.Claim.Epoch <= made.Claim.Epoch {
			t.Errorf("mode %d: %+v after %+v", m, r, made)
		}
	}
	if r := ask("k/b", wire.ModeJoinOrCreate); r.Err != nil || !r.Created {
		t.Errorf("join or create: %+v", r)
	}
}

func testClaimRepeated(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	req := snapshot.ClaimRequest{Room: "k/a", Holder: h, Nonce: nonce(), Mode: wire.ModeCreate}
	first := claim(t, f.a, req)
	if again := claim(t, f.b, req); again.Err != nil || again.Claim != first.Claim || !again.Created {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	if err := save(t, f.a, first.Claim, 7, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if again := claim(t, f.a, req); again.Claim != first.Claim || string(again.Data) != "x" {
		t.Errorf("again after a save: %+v", again)
	}
	if err := save(t, f.a, first.Claim, 6, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if r := load(t, f.a, "k/a"); string(r.Data) != "x" {
		t.Errorf("a repeated claim let an older save through: %q", r.Data)
	}

	next := take(t, f.a, "k/a", h)
	if next.Claim.Epoch <= first.Claim.Epoch || next.Created || string(next.Data) != "x" {
		t.Errorf("new nonce: %+v", next)
	}
	wantErr(t, "first claim", check(t, f.a, first.Claim), snapshot.ErrFenced)
	if err := closeRoom(t, f.a, next.Claim); err != nil {
		t.Fatal(err)
	}
	late := snapshot.ClaimRequest{Room: "k/a", Holder: h, Nonce: next.Claim.Nonce, Mode: wire.ModeJoinOrCreate}
	wantErr(t, "a claim that was closed, again", claim(t, f.a, late).Err, snapshot.ErrNoRoom)
}

func testClaimHeld(t *testing.T, f *fixture) {
	ctx := timeout(t)
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	first := take(t, f.a, "k/a", h1)
	if err := save(t, f.a, first.Claim, 1, []byte("state")); err != nil {
		t.Fatal(err)
	}
	ask := snapshot.ClaimRequest{Room: "k/a", Holder: h2, Mode: wire.ModeJoin}
	wantHeld(t, "claim", claim(t, f.b, ask).Err, h1, first.Claim.Epoch)
	ask.Mode = wire.ModeCreate
	wantErr(t, "create", claim(t, f.b, ask).Err, snapshot.ErrExists)
	if err := check(t, f.a, first.Claim); err != nil {
		t.Errorf("the holder after refused claims: %v", err)
	}

	if err := f.b.EndLease(ctx, h1); err != nil {
		t.Fatal(err)
	}
	if err := check(t, f.a, first.Claim); err != nil {
		t.Errorf("the end of a lease alone took the room: %v", err)
	}
	second := take(t, f.b, "k/a", h2)
	if second.Created || second.Claim.Epoch <= first.Claim.Epoch || string(second.Data) != "state" ||
		second.Claim.Incarnation != first.Claim.Incarnation {
		t.Errorf("takeover: %+v after %+v", second, first)
	}
	back := lease(t, f.a, "n1")
	wantHeld(t, "claim it back", claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: back}).Err, h2, second.Claim.Epoch)
}

func testClaimExpired(t *testing.T, f *fixture) {
	h1, h2 := snapshot.Holder("short#1.1"), lease(t, f.b, "n2")
	if err := f.a.TakeLease(timeout(t), h1, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	first := take(t, f.a, "k/a", h1)
	var r snapshot.ClaimResult
	held := 0
	eventually(t, "takeover", func() bool {
		r = claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2, Mode: wire.ModeJoin})
		held++
		return r.Err == nil
	})
	if r.Claim.Epoch <= first.Claim.Epoch || r.Created {
		t.Errorf("takeover: %+v after %+v", r, first)
	}
	if held == 1 && alive(t, f.a, h1) {
		t.Error("taken while the lease was alive")
	}
	wantEnded(t, "renew", f.a.RenewLease(timeout(t), h1, ttl))
	wantErr(t, "save", save(t, f.a, first.Claim, 1, []byte("x")), snapshot.ErrFenced)
}

// A process may claim rooms before it has a lease. Whoever finds it without one
// may take them, and then it never gets that lease.
func testClaimAheadOfLease(t *testing.T, f *fixture) {
	h2 := lease(t, f.b, "n2")
	first := take(t, f.a, "k/a", "eager#1.1")
	second := take(t, f.b, "k/a", h2)
	if second.Claim.Epoch <= first.Claim.Epoch {
		t.Errorf("epochs %d, then %d", first.Claim.Epoch, second.Claim.Epoch)
	}
	wantEnded(t, "take the lease afterwards", f.a.TakeLease(timeout(t), "eager#1.1", ttl))
}

func testClaimFloor(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	floor := wire.Epoch(time.Now().Add(1000 * time.Hour).UnixMilli())
	r := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: wire.ModeCreate, Floor: floor})
	if r.Err != nil || r.Claim.Epoch <= floor {
		t.Fatalf("floor %d: %+v", floor, r)
	}
	next := take(t, f.b, "k/a", h)
	if next.Claim.Epoch <= r.Claim.Epoch {
		t.Errorf("epoch %d after %d", next.Claim.Epoch, r.Claim.Epoch)
	}
	top := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Floor: snapshot.MaxFloor - 1})
	after := take(t, f.b, "k/a", h)
	if top.Err != nil || top.Claim.Epoch != snapshot.MaxFloor || after.Claim.Epoch != snapshot.MaxFloor+1 {
		t.Errorf("at the bound: %+v, then %+v", top, after)
	}
	wantErr(t, "save", save(t, f.a, top.Claim, 1, nil), snapshot.ErrFenced)
	if err := save(t, f.a, after.Claim, 1<<53-1, []byte("x")); err != nil {
		t.Errorf("save with the highest count: %v", err)
	}
}

// A live copy writes itself again into a store that lost it.
func testClaimLost(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	again := func(inc wire.Incarnation, floor wire.Epoch) snapshot.ClaimResult {
		return claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: wire.ModeJoin, Floor: floor, Incarnation: inc})
	}
	floor := wire.Epoch(time.Now().Add(time.Hour).UnixMilli())
	r := again(12345, floor)
	if r.Err != nil || !r.Created || r.Claim.Incarnation != 12345 || r.Claim.Epoch <= floor {
		t.Fatalf("into an empty store: %+v", r)
	}
	if err := save(t, f.a, r.Claim, 1, bytes.Repeat([]byte("old"), 3000)); err != nil {
		t.Fatal(err)
	}
	if same := again(12345, 0); same.Err != nil || same.Created || len(same.Data) != 9000 || same.Claim.Epoch <= r.Claim.Epoch {
		t.Errorf("an incarnation that is known: %+v", same)
	}
	wantErr(t, "an earlier incarnation", again(12344, 0).Err, snapshot.ErrNoRoom)
	later := again(12346, 0)
	if later.Err != nil || !later.Created || later.Data != nil || later.Claim.Incarnation != 12346 {
		t.Errorf("a later incarnation: %+v", later)
	}
	if err := closeRoom(t, f.a, later.Claim); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a closed incarnation", again(12346, 0).Err, snapshot.ErrNoRoom)
	if r := again(12347, 0); r.Err != nil || !r.Created || r.Claim.Epoch <= later.Claim.Epoch {
		t.Errorf("an incarnation after the tombstone: %+v", r)
	}
	h2 := lease(t, f.b, "n2")
	held := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2, Incarnation: 12348})
	if _, ok := errors.AsType[*snapshot.HeldError](held.Err); !ok {
		t.Errorf("a later incarnation of a held room: %+v", held)
	}
}

func testClaimBadRequests(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	good := snapshot.ClaimRequest{Room: "k/a", Holder: h, Nonce: 1, Mode: wire.ModeCreate}
	bad := []func(r *snapshot.ClaimRequest){
		func(r *snapshot.ClaimRequest) { r.Room = "k" },
		func(r *snapshot.ClaimRequest) { r.Room = "k/{a}" },
		func(r *snapshot.ClaimRequest) { r.Holder = "" },
		func(r *snapshot.ClaimRequest) { r.Mode = wire.ModeAny },
		func(r *snapshot.ClaimRequest) { r.Floor = snapshot.MaxFloor },
		func(r *snapshot.ClaimRequest) { r.Incarnation = 1 << 53 },
	}
	reqs := []snapshot.ClaimRequest{}
	for _, spoil := range bad {
		r := good
		spoil(&r)
		reqs = append(reqs, r)
	}
	res, err := f.a.Claim(timeout(t), append(reqs, good))
	if err != nil {
		t.Fatal(err)
	}
	for i := range reqs {
		wantErr(t, "bad claim", res[i].Err, snapshot.ErrBadRequest)
	}
	if last := res[len(reqs)]; last.Err != nil || !last.Created {
		t.Errorf("the good one among them: %+v", last)
	}
	c := res[len(reqs)].Claim
	wantErr(t, "save 0", save(t, f.a, c, 0, nil), snapshot.ErrBadRequest)
	wantErr(t, "save 2^53", save(t, f.a, c, 1<<53, nil), snapshot.ErrBadRequest)
	c.Epoch = 0
	wantErr(t, "check epoch 0", check(t, f.a, c), snapshot.ErrBadRequest)
	wantErr(t, "close epoch 0", closeRoom(t, f.a, c), snapshot.ErrBadRequest)
}
