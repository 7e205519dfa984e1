package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func appendTo(t testing.TB, s snapshot.Store, c snapshot.Claim, first uint64, entries ...string) error {
	t.Helper()
	req := snapshot.AppendRequest{Claim: c, First: first}
	for _, e := range entries {
		req.Entries = append(req.Entries, []byte(e))
	}
	errs, err := s.Append(timeout(t), []snapshot.AppendRequest{req})
	if err != nil || len(errs) != 1 {
		t.Fatalf("append to %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func saveCovering(t testing.TB, s snapshot.Store, c snapshot.Claim, seq uint64, data []byte, covers uint64) error {
	t.Helper()
	errs, err := s.Save(timeout(t), []snapshot.SaveRequest{{Claim: c, Seq: seq, Data: data, Journal: covers}})
	if err != nil || len(errs) != 1 {
		t.Fatalf("save %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func wantJournal(t testing.TB, got snapshot.Journal, base uint64, entries ...string) {
	t.Helper()
	want := snapshot.Journal{Base: base}
	for _, e := range entries {
		want.Entries = append(want.Entries, []byte(e))
	}
	if !sameJournal(got, want) {
		t.Errorf("journal is %q after %d, want %q after %d", got.Entries, got.Base, entries, base)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testJournal(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	wantJournal(t, load(t, f.b, "k/a").Journal, 0)
	must(t, appendTo(t, f.a, c, 1, "one", "two\x00\xff", ""))
	must(t, appendTo(t, f.a, c, 2, "two\x00\xff", "", "four"))
	must(t, appendTo(t, f.a, c, 1, "one"))
	must(t, appendTo(t, f.a, c, 5))
	wantJournal(t, load(t, f.b, "k/a").Journal, 0, "one", "two\x00\xff", "", "four")
	wantData(t, f.b, "k/a", nil)
	must(t, closeRoom(t, f.a, c))
	wantErr(t, "append to a closed room", appendTo(t, f.a, c, 5, "five"), snapshot.ErrFenced)
	wantJournal(t, load(t, f.b, "k/a").Journal, 0)
	again := take(t, f.b, "k/a", h)
	wantJournal(t, again.Journal, 0)
	must(t, appendTo(t, f.b, again.Claim, 1, "anew"))
	wantJournal(t, load(t, f.b, "k/a").Journal, 0, "anew")
}

func testJournalFencing(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	old := take(t, f.a, "k/a", h).Claim
	must(t, appendTo(t, f.a, old, 1, "one"))
	now := take(t, f.b, "k/a", h)
	wantJournal(t, now.Journal, 0, "one")
	wantErr(t, "append under an older claim", appendTo(t, f.a, old, 2, "two"), snapshot.ErrFenced)
	wantErr(t, "repeated append under an older claim", appendTo(t, f.a, old, 1, "one"), snapshot.ErrFenced)
	forged := now.Claim
	forged.Nonce++
	wantErr(t, "append with another nonce", appendTo(t, f.b, forged, 2, "two"), snapshot.ErrFenced)
	ahead := now.Claim
	ahead.Epoch += 1000
	wantErr(t, "append ahead of the store", appendTo(t, f.b, ahead, 2, "two"), snapshot.ErrMissing)
	gone := snapshot.Claim{Room: "k/gone", Incarnation: 5, Epoch: 6, Nonce: 7}
	wantErr(t, "append to no room", appendTo(t, f.b, gone, 1, "one"), snapshot.ErrMissing)
	wantJournal(t, load(t, f.a, "k/a").Journal, 0, "one")
}

func testJournalCut(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	must(t, appendTo(t, f.a, c, 1, "1", "2", "3", "4"))
	must(t, saveCovering(t, f.a, c, 1, []byte("upto 2"), 2))
	wantJournal(t, load(t, f.b, "k/a").Journal, 2, "3", "4")
	must(t, saveCovering(t, f.a, c, 1, []byte("upto 2"), 2))
	wantErr(t, "append of what is covered", appendTo(t, f.a, c, 1, "1", "2", "3", "4", "5"), nil)
	wantJournal(t, load(t, f.b, "k/a").Journal, 2, "3", "4", "5")
	must(t, saveCovering(t, f.a, c, 2, big, 5))
	wantJournal(t, load(t, f.b, "k/a").Journal, 5)
	must(t, appendTo(t, f.a, c, 6, "6"))
	// A checkpoint may reach the store ahead of the entries that it covers.
	must(t, saveCovering(t, f.a, c, 3, []byte("upto 9"), 9))
	wantJournal(t, load(t, f.b, "k/a").Journal, 9)
	must(t, appendTo(t, f.a, c, 7, "7", "8", "9", "10"))
	wantJournal(t, load(t, f.b, "k/a").Journal, 9, "10")
	must(t, saveCovering(t, f.a, c, 4, []byte("older"), 3))
	must(t, save(t, f.a, c, 5, []byte("without")))
	wantJournal(t, load(t, f.b, "k/a").Journal, 9, "10")
	wantData(t, f.b, "k/a", []byte("without"))
	must(t, saveCovering(t, f.a, c, 2, []byte("repeated late"), 10))
	wantJournal(t, load(t, f.b, "k/a").Journal, 9, "10")
}

func testJournalOverClaims(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	must(t, saveCovering(t, f.a, c, 1, big, 0))
	must(t, appendTo(t, f.a, c, 1, "1", "2"))
	for n := uint64(3); n < 6; n++ {
		req := snapshot.ClaimRequest{Room: "k/a", Holder: h, Nonce: nonce(), Mode: wire.ModeJoin}
		first, second := claim(t, f.b, req), claim(t, f.a, req)
		if !sameJournal(first.Journal, second.Journal) || first.Journal.Last() != n-1 || !bytes.Equal(first.Data, big) {
			t.Fatalf("claims give journals %q and %q", first.Journal.Entries, second.Journal.Entries)
		}
		must(t, appendTo(t, f.b, first.Claim, n, fmt.Sprint(n)))
	}
	wantJournal(t, load(t, f.a, "k/a").Journal, 0, "1", "2", "3", "4", "5")
}

func testJournalGap(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	wantErr(t, "append to an empty journal", appendTo(t, f.a, c, 2, "2"), snapshot.ErrGap)
	must(t, appendTo(t, f.a, c, 1, "1"))
	wantErr(t, "append behind a gap", appendTo(t, f.a, c, 3, "3", "4"), snapshot.ErrGap)
	wantJournal(t, load(t, f.b, "k/a").Journal, 0, "1")
	must(t, saveCovering(t, f.a, c, 1, []byte("upto 2"), 2))
	must(t, appendTo(t, f.a, c, 3, "3", "4"))
	wantJournal(t, load(t, f.b, "k/a").Journal, 2, "3", "4")
	wantErr(t, "number 0", appendTo(t, f.a, c, 0, "0"), snapshot.ErrBadRequest)
	wantErr(t, "number out of range", appendTo(t, f.a, c, 1<<53, "x"), snapshot.ErrBadRequest)
}

func testJournalBounds(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	largest := string(bytes.Repeat([]byte{0xfe}, snapshot.MaxEntryBytes))
	wantErr(t, "entry above the limit", appendTo(t, f.a, c, 1, largest+"x"), snapshot.ErrTooBig)
	must(t, appendTo(t, f.a, c, 1, largest))
	for n := 2; n <= snapshot.MaxJournalEntries; n += 1 << 12 { // no call should take seconds
		many := make([]string, min(1<<12, snapshot.MaxJournalEntries+1-n))
		must(t, appendTo(t, f.a, c, uint64(n), many...))
	}
	next := uint64(snapshot.MaxJournalEntries + 1)
	wantErr(t, "one entry too many", appendTo(t, f.a, c, next, "x"), snapshot.ErrTooBig)
	wantErr(t, "a repetition", appendTo(t, f.a, c, next-1, ""), nil)
	must(t, saveCovering(t, f.a, c, 1, []byte("upto 1"), 1))
	must(t, appendTo(t, f.a, c, next, "x"))
	if j := load(t, f.b, "k/a").Journal; j.Base != 1 || j.Last() != next || string(j.Entries[len(j.Entries)-1]) != "x" {
		t.Errorf("journal goes from %d to %d", j.Base, j.Last())
	}
}

func testJournalBatches(t *testing.T, f *fixture) {
	const n = 300
	h := lease(t, f.a, "n1")
	reqs := make([]snapshot.AppendRequest, n)
	for i := range reqs {
		c := take(t, f.a, wire.RoomID(fmt.Sprintf("k/r%d", i)), h).Claim
		if i%3 == 1 {
			c.Nonce++
		}
		reqs[i] = snapshot.AppendRequest{Claim: c, First: 1 + uint64(i%3/2), Entries: [][]byte{[]byte("a"), fmt.Append(nil, i)}}
	}
	errs, err := f.b.Append(timeout(t), reqs)
	if err != nil || len(errs) != n {
		t.Fatalf("%d answers, %v", len(errs), err)
	}
	for i, want := range []error{nil, snapshot.ErrFenced, snapshot.ErrGap} {
		for k := i; k < n; k += 3 {
			if !errors.Is(errs[k], want) {
				t.Fatalf("append %d: %v, want %v", k, errs[k], want)
			}
		}
	}
	wantJournal(t, load(t, f.a, "k/r297").Journal, 0, "a", "297")
	wantJournal(t, load(t, f.a, "k/r298").Journal, 0)
}
