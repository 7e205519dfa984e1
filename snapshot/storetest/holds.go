package storetest

import (
	"strings"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
)

func hold(t testing.TB, s snapshot.Store, c snapshot.Claim, h snapshot.Holder) error {
	t.Helper()
	errs, err := s.Hold(timeout(t), []snapshot.HoldRequest{{Claim: c, Holder: h}})
	if err != nil || len(errs) != 1 {
		t.Fatalf("hold %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func testHold(t *testing.T, f *fixture) {
	first, other := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	later := func(n string) snapshot.Holder {
		h := snapshot.Holder(strings.TrimSuffix(string(first), "1") + n)
		if err := f.a.TakeLease(timeout(t), h, ttl); err != nil {
			t.Fatal(err)
		}
		return h
	}
	c := take(t, f.a, "k/a", first).Claim
	if err := save(t, f.a, c, 1, []byte("state")); err != nil {
		t.Fatal(err)
	}
	if err := f.a.EndLease(timeout(t), first); err != nil {
		t.Fatal(err)
	}
	third, tenth := later("3"), later("10")
	if err := hold(t, f.a, c, tenth); err != nil {
		t.Fatal(err)
	}
	// It is the same claim, which others can't take any more.
	if r := load(t, f.b, "k/a"); r.Claim != c || r.Holder != tenth || string(r.Data) != "state" {
		t.Errorf("stored: %+v", r)
	}
	wantHeld(t, "a claim that is held again",
		claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: other}).Err, tenth, c.Epoch)
	if err := save(t, f.a, c, 2, []byte("next")); err != nil {
		t.Error(err)
	}
	// An earlier one's repetition comes late.
	if err := hold(t, f.b, c, third); err != nil {
		t.Error(err)
	}
	if r := load(t, f.b, "k/a"); r.Holder != tenth {
		t.Errorf("held by %s", r.Holder)
	}
	wantErr(t, "for another process", hold(t, f.b, c, other), snapshot.ErrFenced)
	stranger := c
	stranger.Nonce = nonce()
	wantErr(t, "another nonce", hold(t, f.a, stranger, tenth), snapshot.ErrFenced)
	stranger = c
	stranger.Epoch++
	wantErr(t, "an epoch that the store lost", hold(t, f.a, stranger, tenth), snapshot.ErrMissing)
	stranger.Room = "k/none"
	wantErr(t, "no such room", hold(t, f.a, stranger, tenth), snapshot.ErrMissing)
	for _, bad := range []snapshot.Holder{"", "n1", "/1", "n1/", "n1/0", "n1/x", "n1/+1", "n1/99999999999999999999"} {
		wantErr(t, "holder "+string(bad), hold(t, f.a, c, bad), snapshot.ErrBadRequest)
	}
	if err := closeRoom(t, f.a, c); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a closed room", hold(t, f.a, c, tenth), snapshot.ErrFenced)
}
