package storetest

import (
	"bytes"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func mend(t testing.TB, s snapshot.Store, c snapshot.Claim, entry uint64) snapshot.MendResult {
	t.Helper()
	res, err := s.Mend(timeout(t), []snapshot.MendRequest{{Claim: c, Entry: entry}})
	if err != nil || len(res) != 1 {
		t.Fatalf("mend %s: %d results, %v", c.Room, len(res), err)
	}
	return res[0]
}

// testMendCheckpoint: the checkpoint before takes the place of the one that is
// set aside, once a claim, whatever their sizes.
func testMendCheckpoint(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	small, big := []byte("small"), bytes.Repeat([]byte("big"), 5000)
	for name, pair := range map[string][2][]byte{
		"small.small": {small, []byte("other")}, "small.big": {small, big}, "big.small": {big, small}, "big.big": {big, bytes.Repeat([]byte("bog"), 6000)},
	} {
		c := take(t, f.a, wire.RoomID("k/"+name), h).Claim
		wantErr(t, "mend of nothing", mend(t, f.b, c, 0).Err, snapshot.ErrMissing)
		for i, data := range [][]byte{[]byte("first"), pair[0], pair[1]} {
			if err := save(t, f.a, c, uint64(i+1), data); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				wantErr(t, "mend without an older one", mend(t, f.b, c, 0).Err, snapshot.ErrMissing)
			}
		}
		for range 2 { // the second time gives what the first gave
			if r := mend(t, f.b, c, 0); r.Err != nil || !bytes.Equal(r.Data, pair[0]) {
				t.Errorf("%s: mended to %.20q, %v", name, r.Data, r.Err)
			}
		}
		if r := load(t, f.a, c.Room); !bytes.Equal(r.Data, pair[0]) {
			t.Errorf("%s: loaded %.20q", name, r.Data)
		}
		// The room goes on, under the next claim too.
		if err := save(t, f.a, c, 4, pair[1]); err != nil {
			t.Fatal(err)
		}
		next := take(t, f.b, c.Room, h)
		if !bytes.Equal(next.Data, pair[1]) {
			t.Errorf("%s: claimed %.20q", name, next.Data)
		}
		wantErr(t, "mend under the old claim", mend(t, f.a, c, 0).Err, snapshot.ErrFenced)
		if r := mend(t, f.a, next.Claim, 0); r.Err != nil || !bytes.Equal(r.Data, pair[0]) {
			t.Errorf("%s: mended under the next claim to %.20q, %v", name, r.Data, r.Err)
		}
	}
}

// testMendKeepsRepeats: a save that comes again after a later one must not take
// the older checkpoint away.
func testMendKeepsRepeats(t *testing.T, f *fixture) {
	c := take(t, f.a, "k/a", lease(t, f.a, "n1")).Claim
	one, two := bytes.Repeat([]byte{1}, 9000), bytes.Repeat([]byte{2}, 9000)
	for _, s := range []struct {
		seq  uint64
		data []byte
	}{{1, one}, {2, two}, {1, one}, {2, two}} {
		if err := save(t, f.a, c, s.seq, s.data); err != nil {
			t.Fatal(err)
		}
	}
	if r := mend(t, f.b, c, 0); r.Err != nil || !bytes.Equal(r.Data, one) {
		t.Errorf("mended to %.3v, %v", r.Data, r.Err)
	}
}

// testMendJournal: entries after an older checkpoint are of no use; a damaged
// entry takes those after it along.
func testMendJournal(t *testing.T, f *fixture) {
	h := lease(t, f.a, "n1")
	c := take(t, f.a, "k/a", h).Claim
	add := func(first uint64, entries ...string) {
		t.Helper()
		wantErr(t, "append", appendTo(t, f.a, c, first, entries...), nil)
	}
	if err := save(t, f.a, c, 1, []byte("one")); err != nil {
		t.Fatal(err)
	}
	add(1, "a", "b", "c", "d")
	r := mend(t, f.b, c, 3)
	if r.Err != nil || string(r.Data) != "one" || !sameJournal(r.Journal, snapshot.Journal{Entries: [][]byte{[]byte("a"), []byte("b")}}) {
		t.Errorf("mended from entry 3: %+v", r)
	}
	add(3, "C")
	if r := load(t, f.a, "k/a"); r.Journal.Last() != 3 || string(r.Journal.Entries[2]) != "C" {
		t.Errorf("journal goes on as %q", r.Journal.Entries)
	}
	if errs, err := f.a.Save(timeout(t), []snapshot.SaveRequest{{Claim: c, Seq: 2, Data: []byte("two"), Journal: 2}}); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	if r := mend(t, f.b, c, 0); r.Err != nil || string(r.Data) != "one" || !sameJournal(r.Journal, snapshot.Journal{Base: 3}) {
		t.Errorf("mended checkpoint: %+v", r)
	}
	add(4, "D")
	if next := take(t, f.b, "k/a", h); string(next.Data) != "one" || next.Journal.Last() != 4 {
		t.Errorf("claimed %q with %+v", next.Data, next.Journal)
	}
}

// testMendAfterHandOff: a room that moved with a checkpoint has an older one.
func testMendAfterHandOff(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	c := take(t, f.a, "k/a", h1).Claim
	big := bytes.Repeat([]byte("x"), 9000)
	if err := save(t, f.a, c, 1, big); err != nil {
		t.Fatal(err)
	}
	next := handOff(t, f.a, snapshot.HandOffRequest{Claim: c, Holder: h2, Seq: 1, Data: []byte("moved")})
	if next.Err != nil {
		t.Fatal(next.Err)
	}
	if r := mend(t, f.b, next.Claim, 0); r.Err != nil || !bytes.Equal(r.Data, big) {
		t.Errorf("mended to %.9q, %v", r.Data, r.Err)
	}
	if err := closeRoom(t, f.b, next.Claim); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "mend of a closed room", mend(t, f.b, next.Claim, 0).Err, snapshot.ErrFenced)
	again := take(t, f.a, "k/a", h1)
	wantErr(t, "mend of a new incarnation", mend(t, f.a, again.Claim, 0).Err, snapshot.ErrMissing)
}
