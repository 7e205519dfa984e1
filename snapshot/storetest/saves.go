package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// big is above every store's limit of what it keeps in place.
var big = bytes.Repeat([]byte("0123456789abcdef"), 1000)

func wantData(t testing.TB, s snapshot.Store, room wire.RoomID, want []byte) {
	t.Helper()
	r := load(t, s, room)
	if r.Err != nil || !bytes.Equal(r.Data, want) || (r.Data == nil) != (want == nil) {
		t.Errorf("%s holds %d bytes (nil: %t), want %d: %v", room, len(r.Data), r.Data == nil, len(want), r.Err)
	}
}

func testFencing(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	old := take(t, f.a, "k/a", h)
	if err := save(t, f.a, old.Claim, 1, []byte("one")); err != nil {
		t.Fatal(err)
	}
	now := take(t, f.b, "k/a", h)
	for _, data := range [][]byte{[]byte("small"), big} {
		wantErr(t, "save of an older claim", save(t, f.a, old.Claim, 9, data), snapshot.ErrFenced)
	}
	wantErr(t, "check of an older claim", check(t, f.a, old.Claim), snapshot.ErrFenced)
	wantErr(t, "close of an older claim", closeRoom(t, f.a, old.Claim), snapshot.ErrFenced)
	wantData(t, f.a, "k/a", []byte("one"))
	if err := check(t, f.b, now.Claim); err != nil {
		t.Errorf("the claim that stands: %v", err)
	}

	forged := now.Claim
	forged.Nonce++
	wantErr(t, "save with another nonce", save(t, f.b, forged, 9, big), snapshot.ErrFenced)
	wantErr(t, "check with another nonce", check(t, f.b, forged), snapshot.ErrFenced)
	wantErr(t, "close with another nonce", closeRoom(t, f.b, forged), snapshot.ErrFenced)
	if err := save(t, f.b, now.Claim, 1, []byte("two")); err != nil {
		t.Errorf("a new claim counts its saves anew: %v", err)
	}
	wantData(t, f.a, "k/a", []byte("two"))
}

func testSaveCounts(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	steps := []struct {
		seq        uint64
		data, want []byte
	}{
		{5, []byte("five"), []byte("five")},
		{5, []byte("not five"), []byte("five")},
		{4, big, []byte("five")},
		{10, big, big},
		{9, []byte("nine"), big},
		{10, big, big},
		{1 << 40, []byte("far"), []byte("far")},
		{10, big, []byte("far")},
		{1<<53 - 2, big, big},
		{1<<53 - 1, []byte("end"), []byte("end")},
		{1<<53 - 2, big, []byte("end")},
	}
	for _, s := range steps {
		if err := save(t, f.a, c, s.seq, s.data); err != nil {
			t.Errorf("save %d: %v", s.seq, err)
		}
		wantData(t, f.b, "k/a", s.want)
	}
}

func testSaveSizes(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	limit := snapshot.DefaultMaxBytes
	c := take(t, f.a, "k/a", h).Claim
	wantData(t, f.a, "k/a", nil)
	for i, n := range []int{0, 1, 4095, 4096, 4097, 0, 65536, limit - 1, limit, 10} {
		data := bytes.Repeat([]byte{byte(i), 0xff, 0}, n/3+1)[:n]
		if err := save(t, f.a, c, uint64(i+1), data); err != nil {
			t.Errorf("save %d bytes: %v", n, err)
		}
		wantData(t, f.b, "k/a", data)
		if c = take(t, f.b, "k/a", h).Claim; i%2 == 0 {
			continue
		}
		if r := take(t, f.a, "k/a", h); !bytes.Equal(r.Data, data) || r.Data == nil {
			t.Errorf("claim with %d bytes gives %d", n, len(r.Data))
		} else {
			c = r.Claim
		}
	}
	wantErr(t, "above the limit", save(t, f.a, c, 100, make([]byte, limit+1)), snapshot.ErrTooBig)
	if r := load(t, f.a, "k/a"); len(r.Data) != 10 {
		t.Errorf("a refused save left %d bytes", len(r.Data))
	}
	if err := save(t, f.a, c, 101, nil); err != nil {
		t.Errorf("save nil: %v", err)
	}
	wantData(t, f.a, "k/a", []byte{})
}

func testMissing(t *testing.T, f *fixture) {
	c := snapshot.Claim{Room: "k/gone", Incarnation: 5, Epoch: 6, Nonce: 7}
	wantErr(t, "save small", save(t, f.a, c, 1, []byte("x")), snapshot.ErrMissing)
	wantErr(t, "save big", save(t, f.a, c, 1, big), snapshot.ErrMissing)
	wantErr(t, "check", check(t, f.a, c), snapshot.ErrMissing)
	wantErr(t, "close", closeRoom(t, f.a, c), snapshot.ErrMissing)
	wantErr(t, "load", load(t, f.a, c.Room).Err, snapshot.ErrNoRoom)

	// A store that fell back to an older epoch has lost the claim as well.
	h := lease(t, f.a, "n1")
	old := take(t, f.a, "k/a", h).Claim
	if err := save(t, f.a, old, 1, big); err != nil {
		t.Fatal(err)
	}
	ahead := snapshot.Claim{Room: "k/a", Incarnation: old.Incarnation, Epoch: old.Epoch + 1000, Nonce: nonce()}
	wantErr(t, "save ahead of the store", save(t, f.a, ahead, 2, big), snapshot.ErrMissing)
	wantErr(t, "check ahead of the store", check(t, f.a, ahead), snapshot.ErrMissing)
	wantErr(t, "close ahead of the store", closeRoom(t, f.a, ahead), snapshot.ErrMissing)
	wantData(t, f.a, "k/a", big)
}

// Operations whose answers were lost may be executed long after others.
func testLate(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	first := take(t, f.a, "k/a", h)
	if err := save(t, f.a, first.Claim, 3, big); err != nil {
		t.Fatal(err)
	}
	next := take(t, f.b, "k/a", h) // still stands on what the first one saved
	if !bytes.Equal(next.Data, big) {
		t.Fatalf("takeover gives %d bytes", len(next.Data))
	}
	wantErr(t, "the first one's save again", save(t, f.a, first.Claim, 3, big), snapshot.ErrFenced)
	wantErr(t, "its save that never arrived", save(t, f.a, first.Claim, 4, big), snapshot.ErrFenced)
	wantData(t, f.b, "k/a", big)
	wantErr(t, "its close", closeRoom(t, f.a, first.Claim), snapshot.ErrFenced)

	if err := save(t, f.b, next.Claim, 1, []byte("small")); err != nil {
		t.Fatal(err)
	}
	if err := closeRoom(t, f.b, next.Claim); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "save after the close", save(t, f.b, next.Claim, 2, big), snapshot.ErrFenced)
	again := take(t, f.a, "k/a", h)
	if !again.Created || again.Data != nil {
		t.Fatalf("recreated: %+v", again)
	}
	wantErr(t, "close of the former incarnation", closeRoom(t, f.b, next.Claim), snapshot.ErrFenced)
	wantErr(t, "save of the former incarnation", save(t, f.b, next.Claim, 9, big), snapshot.ErrFenced)
	wantData(t, f.b, "k/a", nil)
}

func testTombstones(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	last := take(t, f.a, "k/a", h).Claim
	for i := range 3 {
		if err := save(t, f.a, last, 1, big); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := closeRoom(t, f.a, last); err != nil {
				t.Fatalf("close: %v", err)
			}
		}
		wantErr(t, "check", check(t, f.a, last), snapshot.ErrFenced)
		wantErr(t, "save", save(t, f.a, last, 2, []byte("x")), snapshot.ErrFenced)
		if r := load(t, f.b, "k/a"); r.Err != nil || !r.Closed || r.Data != nil || r.Claim != last {
			t.Errorf("tombstone: %+v", r)
		}
		wantErr(t, "join", claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h}).Err, snapshot.ErrNoRoom)

		mode := []wire.Mode{wire.ModeCreate, wire.ModeJoinOrCreate}[i%2]
		other := lease(t, f.b, "n2") // the tombstone's holder is alive: that does not matter
		r := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: other, Mode: mode})
		if r.Err != nil || !r.Created || r.Data != nil || r.Claim.Epoch <= last.Epoch || r.Claim.Incarnation <= last.Incarnation {
			t.Fatalf("recreate: %+v after %+v", r, last)
		}
		last, h = r.Claim, other
	}
}

func testBatches(t *testing.T, f *fixture) {
	const n = 300
	ctx := timeout(t)
	h := lease(t, f.a, "n1")
	reqs := make([]snapshot.ClaimRequest, n)
	for i := range reqs {
		reqs[i] = snapshot.ClaimRequest{Room: wire.RoomID(fmt.Sprintf("k/r%d", i)), Holder: h, Nonce: nonce(), Mode: wire.ModeCreate}
		if i%3 == 2 {
			reqs[i].Mode = wire.ModeJoin
		}
	}
	res, err := f.a.Claim(ctx, reqs)
	if err != nil || len(res) != n {
		t.Fatalf("%d results, %v", len(res), err)
	}
	saves := make([]snapshot.SaveRequest, n)
	for i, r := range res {
		if i%3 == 2 {
			wantErr(t, "join", r.Err, snapshot.ErrNoRoom)
			r.Claim = snapshot.Claim{Room: reqs[i].Room, Epoch: 1}
		} else if r.Err != nil || r.Claim.Room != reqs[i].Room {
			t.Fatalf("claim %d: %+v", i, r)
		}
		saves[i] = snapshot.SaveRequest{Claim: r.Claim, Seq: 1, Data: big[:i*20]}
		if i%3 == 1 {
			saves[i].Claim.Nonce++
		}
	}
	errs, err := f.b.Save(ctx, saves)
	if err != nil || len(errs) != n {
		t.Fatalf("%d answers, %v", len(errs), err)
	}
	for i, want := range []error{nil, snapshot.ErrFenced, snapshot.ErrMissing} {
		for k := i; k < n; k += 3 {
			if !errors.Is(errs[k], want) {
				t.Fatalf("save %d: %v, want %v", k, errs[k], want)
			}
		}
	}
	for k := 0; k < n; k += 57 {
		wantData(t, f.a, saves[k].Claim.Room, big[:k*20])
	}
	if res, err := f.a.Claim(ctx, nil); err != nil || len(res) != 0 {
		t.Errorf("empty batch: %v, %v", res, err)
	}
	if errs, err := f.a.Save(ctx, nil); err != nil || len(errs) != 0 {
		t.Errorf("empty batch: %v, %v", errs, err)
	}
}

func testLoad(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	if err := save(t, f.a, c, 1, big); err != nil {
		t.Fatal(err)
	}
	res, err := f.b.Load(timeout(t), []wire.RoomID{"k/none", "k/a"})
	if err != nil || len(res) != 2 {
		t.Fatal(res, err)
	}
	wantErr(t, "load none", res[0].Err, snapshot.ErrNoRoom)
	if r := res[1]; r.Err != nil || r.Claim != c || r.Holder != h || r.Closed || !bytes.Equal(r.Data, big) {
		t.Errorf("load: %+v", r)
	}
	if err := check(t, f.b, c); err != nil {
		t.Errorf("a load changed the claim: %v", err)
	}
}

func testBeat(t *testing.T, f *fixture) {
	beat := func(s snapshot.Store, process string, n uint64) snapshot.Beat {
		t.Helper()
		b, err := s.Beat(timeout(t), process, n)
		if err != nil || b.Mark == "" {
			t.Fatalf("beat %d: %+v, %v", n, b, err)
		}
		return b
	}
	process := fmt.Sprintf("n1#%d", nonce())
	first := beat(f.a, process, 1)
	for n := uint64(2); n < 5; n++ {
		if b := beat([]snapshot.Store{f.a, f.b}[n%2], process, n); b.Mark != first.Mark || b.Last < n-1 {
			t.Errorf("beat %d after %d: %+v, first %+v", n, n-1, b, first)
		}
	}
	// One that comes late, and one that only asks, take nothing back.
	beat(f.b, process, 2)
	beat(f.b, process, 0)
	if b := beat(f.a, process, 5); b.Last < 4 {
		t.Errorf("beat 5: %+v", b)
	}
	if b := beat(f.b, process+"2", 1); b.Mark != first.Mark {
		t.Errorf("another process sees another store: %+v, %+v", b, first)
	}
}

// A room that was seen and of which the store knows nothing is lost, not new.
func testSeenRoomIsLost(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	for _, mode := range []wire.Mode{wire.ModeJoin, wire.ModeJoinOrCreate} {
		got := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: mode, Floor: 5})
		wantErr(t, "claim of a room that was seen", got.Err, snapshot.ErrMissing)
	}
	got := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: wire.ModeCreate, Floor: 5})
	if got.Err != nil || !got.Created {
		t.Fatalf("create: %+v", got)
	}
	// One that is known to be closed is no longer there, and may be made anew.
	if err := closeRoom(t, f.a, got.Claim); err != nil {
		t.Fatal(err)
	}
	floor := got.Claim.Epoch
	wantErr(t, "join of a closed room",
		claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: wire.ModeJoin, Floor: floor}).Err, snapshot.ErrNoRoom)
	if again := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h, Mode: wire.ModeJoinOrCreate, Floor: floor}); again.Err != nil || !again.Created {
		t.Errorf("made anew: %+v", again)
	}
}

// A room that its live copy has claimed again, and that it could not save before
// it ended, is lost: its record alone is no empty room.
func testClaimedAgainIsLost(t *testing.T, f *fixture) {
	h1, h1b, h2 := lease(t, f.a, "n1"), lease(t, f.a, "n1b"), lease(t, f.b, "n2")
	again := snapshot.ClaimRequest{Room: "k/a", Holder: h1, Floor: 9, Incarnation: 5}
	c := claim(t, f.a, again)
	if c.Err != nil || c.Claim.Incarnation != 5 {
		t.Fatalf("claimed again: %+v", c)
	}
	if err := f.a.EndLease(t.Context(), h1); err != nil {
		t.Fatal(err)
	}
	// Neither a second try nor a move without a checkpoint makes it one.
	again.Nonce, again.Holder = nonce(), h1b
	if c = claim(t, f.a, again); c.Err != nil {
		t.Fatalf("claimed once more: %+v", c)
	}
	moved, err := f.a.HandOff(timeout(t), []snapshot.HandOffRequest{{Claim: c.Claim, Holder: h1b, Nonce: nonce()}})
	if err != nil || moved[0].Err != nil {
		t.Fatalf("handed off: %+v, %v", moved, err)
	}
	c.Claim = moved[0].Claim
	if err := f.a.EndLease(t.Context(), h1b); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []wire.Mode{wire.ModeJoin, wire.ModeJoinOrCreate} {
		got := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2, Mode: mode})
		wantErr(t, "claim of a room that was not saved again", got.Err, snapshot.ErrMissing)
	}
	res, err := f.b.Load(timeout(t), []wire.RoomID{"k/a"})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "load of a room that was not saved again", res[0].Err, snapshot.ErrMissing)
	if err := save(t, f.a, c.Claim, 1, []byte("all")); err != nil {
		t.Fatalf("its copy lives after all: %v", err)
	}
	got := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2})
	if got.Err != nil || string(got.Data) != "all" {
		t.Errorf("claim once it is saved: %+v", got)
	}
}

// Who means to make a room anew may, where nothing of the lost one came back.
func testClaimedAgainAndCreated(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	c := claim(t, f.a, snapshot.ClaimRequest{Room: "k/a", Holder: h1, Floor: 9, Incarnation: 5})
	if c.Err != nil {
		t.Fatal(c.Err)
	}
	create := snapshot.ClaimRequest{Room: "k/a", Holder: h2, Mode: wire.ModeCreate}
	if _, held := errors.AsType[*snapshot.HeldError](claim(t, f.b, create).Err); !held {
		t.Error("a room was made anew under its live copy")
	}
	if err := f.a.EndLease(t.Context(), h1); err != nil {
		t.Fatal(err)
	}
	got := claim(t, f.b, create)
	if got.Err != nil || !got.Created || got.Claim.Incarnation == 5 || got.Claim.Epoch <= c.Claim.Epoch {
		t.Fatalf("created: %+v after %+v", got, c)
	}
	wantErr(t, "save of the lost copy", save(t, f.a, c.Claim, 1, []byte("old")), snapshot.ErrFenced)
	if res, err := f.b.Load(timeout(t), []wire.RoomID{"k/a"}); err != nil || res[0].Err != nil {
		t.Errorf("the new room: %+v, %v", res, err)
	}
}

func testContextDone(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	if _, err := f.a.Save(ctx, []snapshot.SaveRequest{{Claim: c, Seq: 1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("save: %v", err)
	}
	if _, err := f.a.Claim(ctx, []snapshot.ClaimRequest{{Room: "k/b", Holder: h}}); !errors.Is(err, context.Canceled) {
		t.Errorf("claim: %v", err)
	}
	if err := f.a.RenewLease(ctx, h, ttl); err == nil || errors.Is(err, snapshot.ErrLeaseEnded) {
		t.Errorf("renew: %v, which must not read as the lease's end", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}
