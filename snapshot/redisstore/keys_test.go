package redisstore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

var big = bytes.Repeat([]byte("state"), 2000)

func claimRoom(t testing.TB, s *Store, r snapshot.ClaimRequest) snapshot.ClaimResult {
	t.Helper()
	res, err := s.Claim(t.Context(), []snapshot.ClaimRequest{r})
	if err != nil {
		t.Fatal(err)
	}
	return res[0]
}

func made(t testing.TB, s *Store, room wire.RoomID, nonce snapshot.Nonce) snapshot.Claim {
	t.Helper()
	r := claimRoom(t, s, snapshot.ClaimRequest{Room: room, Holder: "n#1.1", Nonce: nonce, Mode: wire.ModeJoinOrCreate})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Claim
}

func saved(t testing.TB, s *Store, c snapshot.Claim, seq uint64, data []byte) error {
	t.Helper()
	errs, err := s.Save(t.Context(), []snapshot.SaveRequest{{Claim: c, Seq: seq, Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	return errs[0]
}

// keys are all keys of the test's store, less its prefix.
func keys(t testing.TB, s *Store) []string {
	t.Helper()
	all, err := s.client.Keys(t.Context(), "*"+s.cfg.Prefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = strings.Replace(all[i], s.cfg.Prefix, "P", 1)
	}
	return all
}

func TestKeysOfARoom(t *testing.T) {
	s := dialed(t, shared.URL())
	c := made(t, s, "k/a", 77)
	want := func(what string, n int) {
		t.Helper()
		if all := keys(t, s); len(all) != n {
			t.Errorf("%s: keys %q, want %d", what, all, n)
		}
	}
	if err := saved(t, s, c, 1, []byte("small")); err != nil {
		t.Fatal(err)
	}
	want("a small checkpoint is in the hash", 1)
	if err := saved(t, s, c, 2, big); err != nil {
		t.Fatal(err)
	}
	want("a big one is beside it", 2)
	blob := s.blobKey(snapshot.SaveRequest{Claim: c, Seq: 2})
	if !strings.HasSuffix(blob, "}:blob:77:2") {
		t.Errorf("blob's key is %q", blob)
	}
	if ttl := s.client.PTTL(t.Context(), blob).Val(); ttl != -1 {
		t.Errorf("the blob that stands expires in %v", ttl)
	}
	if err := saved(t, s, c, 3, big); err != nil {
		t.Fatal(err)
	}
	want("the former blob is kept", 3)
	for range 2 { // the second time the older one is no longer the former
		if err := saved(t, s, c, 2, big); err != nil {
			t.Fatal(err)
		}
		want("an older blob that came late is not kept beside", 3)
		if err := saved(t, s, c, 4, big); err != nil {
			t.Fatal(err)
		}
	}
	forged := c
	forged.Nonce++
	if err := saved(t, s, forged, 9, big); !errors.Is(err, snapshot.ErrFenced) {
		t.Errorf("forged: %v", err)
	}
	want("a fenced blob is gone", 3)
	if err := saved(t, s, snapshot.Claim{Room: "k/none", Epoch: 1}, 9, big); !errors.Is(err, snapshot.ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	want("a blob without a room is gone", 3)
	for seq := range uint64(2) {
		if err := saved(t, s, c, 5+seq, []byte("small")); err != nil {
			t.Fatal(err)
		}
		want("small again", 2-int(seq))
	}
	if err := saved(t, s, c, 7, big); err != nil {
		t.Fatal(err)
	}
	if errs, err := s.Close(t.Context(), []snapshot.CloseRequest{{Claim: c}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	want("a tombstone", 1)
	if ttl := s.client.PTTL(t.Context(), s.roomKey("k/a")).Val(); ttl <= tombstone/2 || ttl > tombstone {
		t.Errorf("the tombstone stays for %v", ttl)
	}
	made(t, s, "k/a", 78)
	if ttl := s.client.PTTL(t.Context(), s.roomKey("k/a")).Val(); ttl != -1 {
		t.Errorf("a room made on a tombstone expires in %v", ttl)
	}
}

// The value of a big save can arrive alone: its connection broke before the
// script. Ahead of the script's first run it has to go by itself; after it,
// it must not put an expiry on what stands.
func TestBlobAlone(t *testing.T) {
	s := dialed(t, shared.URL())
	c := made(t, s, "k/a", 7)
	req := snapshot.SaveRequest{Claim: c, Seq: 1, Data: big}
	alone := func() time.Duration {
		t.Helper()
		sc := newScript("return 'OK'")
		s.run(t.Context(), s.rounds.take(s.client), []*call{{script: sc, blobKey: s.blobKey(req), blob: big}}, true)
		return s.client.PTTL(t.Context(), s.blobKey(req)).Val()
	}
	if ttl := alone(); ttl <= 0 || ttl > blobTTL {
		t.Errorf("an orphan stays for %v, want up to %v", ttl, blobTTL)
	}
	if err := saved(t, s, c, 1, big); err != nil {
		t.Fatal(err)
	}
	if ttl := alone(); ttl != -1 {
		t.Errorf("the checkpoint that stands expires in %v", ttl)
	}
}

// A room whose record outlived its checkpoint is lost, not empty; a live copy
// can write itself again.
func TestCheckpointLost(t *testing.T) {
	s := dialed(t, shared.URL())
	c := made(t, s, "k/a", 7)
	if err := saved(t, s, c, 1, big); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Del(t.Context(), s.blobKey(snapshot.SaveRequest{Claim: c, Seq: 1})).Err(); err != nil {
		t.Fatal(err)
	}
	ask := snapshot.ClaimRequest{Room: "k/a", Holder: "n#1.1", Nonce: 8, Mode: wire.ModeJoinOrCreate}
	if r := claimRoom(t, s, ask); !errors.Is(r.Err, snapshot.ErrMissing) {
		t.Errorf("claim: %+v", r)
	}
	ask.Nonce = 7
	if r := claimRoom(t, s, ask); !errors.Is(r.Err, snapshot.ErrMissing) {
		t.Errorf("repeated claim: %+v", r)
	}
	res, err := s.Load(t.Context(), []wire.RoomID{"k/a"})
	if err != nil || !errors.Is(res[0].Err, snapshot.ErrMissing) || res[0].Claim != c {
		t.Errorf("load: %+v, %v", res, err)
	}
	ask.Nonce, ask.Incarnation = 9, c.Incarnation
	r := claimRoom(t, s, ask)
	if r.Err != nil || r.Data != nil || r.Claim.Epoch <= c.Epoch {
		t.Fatalf("claim of the live copy: %+v", r)
	}
	if err := saved(t, s, r.Claim, 1, big); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrips(t *testing.T) {
	s := dialed(t, shared.URL())
	ctx := t.Context()
	var reqs []snapshot.ClaimRequest
	for i := range 100 {
		reqs = append(reqs, snapshot.ClaimRequest{Room: wire.Room("k", strings.Repeat("a", 1+i/10)+string(rune('0'+i%10))), Holder: "n#1.1", Nonce: 7, Mode: wire.ModeJoinOrCreate})
	}
	want := func(what string, n int, f func() error) {
		t.Helper()
		if got := counted(t, s, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		}); got != n {
			t.Errorf("%s took %d round trips, want %d", what, got, n)
		}
	}
	if err := s.TakeLease(ctx, "n#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	var saves []snapshot.SaveRequest
	claim := func() error {
		res, err := s.Claim(ctx, reqs)
		for _, r := range res {
			err = errors.Join(err, r.Err)
			saves = append(saves, snapshot.SaveRequest{Claim: r.Claim, Seq: 1, Data: big})
		}
		return err
	}
	save := func() error {
		errs, err := s.Save(ctx, saves)
		return errors.Join(append(errs, err)...)
	}
	if err := claim(); err != nil { // loads the scripts
		t.Fatal(err)
	}
	if err := save(); err != nil {
		t.Fatal(err)
	}
	saves = saves[:0]
	want("claiming 100 rooms", 1, claim)
	for i := range saves {
		saves[i].Seq = 2
	}
	want("saving 100 big checkpoints", 1, save)

	if err := s.TakeLease(ctx, "m#1.1", time.Minute); err != nil {
		t.Fatal(err)
	}
	for i := range reqs {
		reqs[i].Holder, reqs[i].Nonce = "m#1.1", 8
	}
	other := dialed(t, shared.URL())
	if err := other.EndLease(ctx, "n#1.1"); err != nil {
		t.Fatal(err)
	}
	want("taking over 100 rooms of a dead host", 3, claim)
	for i := range reqs {
		reqs[i].Holder, reqs[i].Nonce = "o#1.1", 9
	}
	want("ending a lease", 1, func() error { return s.EndLease(ctx, "m#1.1") })
	want("taking over 100 rooms of a host it knows to be dead", 1, claim)
}

// A server that lost the scripts, as after a restart, gets them again.
func TestScriptsGone(t *testing.T) {
	s := dialed(t, shared.URL())
	c := made(t, s, "k/a", 7)
	if err := s.client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := saved(t, s, c, 1, big); err != nil {
		t.Errorf("save: %v", err)
	}
	if err := s.client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.EndLease(t.Context(), "n#1.1"); err != nil {
		t.Errorf("end lease: %v", err)
	}
}
