package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func handOff(t testing.TB, s snapshot.Store, r snapshot.HandOffRequest) snapshot.HandOffResult {
	t.Helper()
	if r.Nonce == 0 {
		r.Nonce = nonce()
	}
	res, err := s.HandOff(timeout(t), []snapshot.HandOffRequest{r})
	if err != nil || len(res) != 1 {
		t.Fatalf("hand %s off: %d results, %v", r.Claim.Room, len(res), err)
	}
	return res[0]
}

func testHandOff(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	old := take(t, f.a, "k/a", h1).Claim
	if err := save(t, f.a, old, 7, []byte("state")); err != nil {
		t.Fatal(err)
	}
	req := snapshot.HandOffRequest{Claim: old, Holder: h2, Nonce: nonce()}
	got := handOff(t, f.a, req)
	if got.Err != nil || got.Claim.Epoch <= old.Epoch || got.Claim.Incarnation != old.Incarnation ||
		got.Claim.Nonce != req.Nonce || got.Claim.Room != "k/a" {
		t.Fatalf("hand-off: %+v after %+v", got, old)
	}
	if again := handOff(t, f.b, req); again != got {
		t.Errorf("again: %+v, first %+v", again, got)
	}
	wantErr(t, "old claim", check(t, f.a, old), snapshot.ErrFenced)
	wantErr(t, "save under the old claim", save(t, f.a, old, 8, []byte("late")), snapshot.ErrFenced)
	wantErr(t, "another hand-off of the old claim",
		handOff(t, f.a, snapshot.HandOffRequest{Claim: old, Holder: h1}).Err, snapshot.ErrFenced)
	if r := load(t, f.b, "k/a"); r.Claim != got.Claim || r.Holder != h2 || string(r.Data) != "state" {
		t.Errorf("stored: %+v", r)
	}
	// The new holder finds its claim by its nonce, as if it had claimed.
	mine := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2, Nonce: req.Nonce})
	if mine.Err != nil || mine.Claim != got.Claim || mine.Created || string(mine.Data) != "state" {
		t.Errorf("claim by nonce: %+v", mine)
	}
	// Save counts begin anew with the epoch.
	if err := save(t, f.b, got.Claim, 1, []byte("next")); err != nil {
		t.Fatal(err)
	}
	if again := handOff(t, f.a, req); again != got {
		t.Errorf("again after a save: %+v, first %+v", again, got)
	}
	if r := load(t, f.b, "k/a"); string(r.Data) != "next" {
		t.Errorf("a late repetition undid a save: %q", r.Data)
	}
	back := handOff(t, f.b, snapshot.HandOffRequest{Claim: got.Claim, Holder: h1})
	if back.Err != nil || back.Claim.Epoch <= got.Claim.Epoch {
		t.Errorf("back: %+v", back)
	}
	wantErr(t, "the first hand-off, late", handOff(t, f.a, req).Err, snapshot.ErrFenced)
	wantHeld(t, "claim what was handed back",
		claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2}).Err, h1, back.Claim.Epoch)
}

func testHandOffData(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	big := func(b byte) []byte { return bytes.Repeat([]byte{b}, 200_000) }
	next := take(t, f.a, "k/a", h1).Claim
	for i, data := range [][]byte{big(1), []byte("small"), big(2), big(3), {}} {
		req := snapshot.HandOffRequest{Claim: next, Holder: []snapshot.Holder{h2, h1}[i%2], Nonce: nonce(), Seq: uint64(i + 1), Data: data}
		got := handOff(t, f.a, req)
		if got.Err != nil || got.Claim.Epoch <= next.Epoch {
			t.Fatalf("hand-off %d: %+v", i, got)
		}
		if r := load(t, f.b, "k/a"); r.Data == nil || !bytes.Equal(r.Data, data) || r.Claim != got.Claim {
			t.Fatalf("hand-off %d stored %d bytes under %+v, want %d under %+v", i, len(r.Data), r.Claim, len(data), got.Claim)
		}
		next = got.Claim
	}
	// What travelled counts as a save.
	if err := save(t, f.a, next, 5, []byte("same count")); err != nil {
		t.Fatal(err)
	}
	if r := load(t, f.a, "k/a"); len(r.Data) != 0 {
		t.Errorf("a save at the count of the hand-off was written: %q", r.Data)
	}
	if err := save(t, f.a, next, 6, []byte("next")); err != nil {
		t.Fatal(err)
	}
	if r := load(t, f.a, "k/a"); string(r.Data) != "next" {
		t.Errorf("stored %q", r.Data)
	}
}

func testHandOffRefused(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	c := take(t, f.a, "k/a", h1).Claim
	gone := snapshot.Claim{Room: "k/none", Incarnation: 1, Epoch: 5, Nonce: 9}
	wantErr(t, "no such room", handOff(t, f.a, snapshot.HandOffRequest{Claim: gone, Holder: h2}).Err, snapshot.ErrMissing)
	ahead := c
	ahead.Epoch += 10
	wantErr(t, "an epoch that the store lost", handOff(t, f.a, snapshot.HandOffRequest{Claim: ahead, Holder: h2}).Err, snapshot.ErrMissing)
	other := c
	other.Nonce = nonce()
	wantErr(t, "another nonce", handOff(t, f.a, snapshot.HandOffRequest{Claim: other, Holder: h2}).Err, snapshot.ErrFenced)
	tooBig := snapshot.HandOffRequest{Claim: c, Holder: h2, Seq: 1, Data: make([]byte, snapshot.DefaultMaxBytes+1)}
	wantErr(t, "too big", handOff(t, f.a, tooBig).Err, snapshot.ErrTooBig)
	wantErr(t, "no holder", handOff(t, f.a, snapshot.HandOffRequest{Claim: c}).Err, snapshot.ErrBadRequest)
	wantErr(t, "its own nonce", handOff(t, f.a, snapshot.HandOffRequest{Claim: c, Holder: h2, Nonce: c.Nonce}).Err, snapshot.ErrBadRequest)
	if err := check(t, f.a, c); err != nil {
		t.Errorf("the claim after refused hand-offs: %v", err)
	}
	if err := closeRoom(t, f.a, c); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a closed room", handOff(t, f.a, snapshot.HandOffRequest{Claim: c, Holder: h2}).Err, snapshot.ErrFenced)
}

// Of hand-offs of one claim to many holders one succeeds.
func testDuelHandOff(t *testing.T, f *fixture) {
	h1 := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h1).Claim
	var mu sync.Mutex
	var won []snapshot.Claim
	var wg sync.WaitGroup
	for i := range 16 {
		s := []snapshot.Store{f.a, f.b}[i%2]
		req := snapshot.HandOffRequest{Claim: c, Holder: h1, Nonce: nonce(), Seq: 1, Data: []byte{byte(i)}}
		wg.Go(func() {
			r := handOff(t, s, req)
			mu.Lock()
			defer mu.Unlock()
			if r.Err == nil {
				won = append(won, r.Claim)
			} else if !errors.Is(r.Err, snapshot.ErrFenced) {
				t.Errorf("loser: %v", r.Err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d hand-offs succeeded", len(won))
	}
	if err := check(t, f.b, won[0]); err != nil {
		t.Errorf("the winner: %v", err)
	}
}

// A journal goes with its room, less what the checkpoint of the hand-off covers.
func testHandOffJournal(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	for _, data := range [][]byte{[]byte("small"), bytes.Repeat([]byte("big"), 5000)} {
		for covers := range uint64(6) {
			room := wire.RoomID(fmt.Sprintf("k/%d.%d", len(data), covers))
			c := take(t, f.a, room, h1).Claim
			must(t, appendTo(t, f.a, c, 1, "1", "2", "3", "4"))
			req := snapshot.HandOffRequest{Claim: c, Holder: h2, Nonce: nonce(), Seq: 1, Data: data, Journal: covers}
			got := handOff(t, f.a, req)
			if got.Err != nil {
				t.Fatalf("hand-off that covers %d: %v", covers, got.Err)
			}
			if again := handOff(t, f.a, req); again != got {
				t.Errorf("again: %+v, first %+v", again, got)
			}
			want := snapshot.Journal{Entries: [][]byte{[]byte("1"), []byte("2"), []byte("3"), []byte("4")}}.After(covers)
			if r := load(t, f.b, room); r.Err != nil || !sameJournal(r.Journal, want) || !bytes.Equal(r.Data, data) {
				t.Errorf("a hand-off that covers %d left %+v, want %+v", covers, r.Journal, want)
			}
			wantErr(t, "append under the old claim", appendTo(t, f.a, c, want.Last()+1, "late"), snapshot.ErrFenced)
			if err := appendTo(t, f.b, got.Claim, want.Last()+1, "next"); err != nil {
				t.Errorf("append after a hand-off that covers %d: %v", covers, err)
			}
		}
	}
	// One without a checkpoint covers nothing.
	c := take(t, f.a, "k/bare", h1).Claim
	must(t, appendTo(t, f.a, c, 1, "1", "2"))
	if got := handOff(t, f.a, snapshot.HandOffRequest{Claim: c, Holder: h2, Journal: 2}); got.Err != nil {
		t.Fatal(got.Err)
	}
	if r := load(t, f.b, "k/bare"); len(r.Journal.Entries) != 2 {
		t.Errorf("left %+v", r.Journal)
	}
}
