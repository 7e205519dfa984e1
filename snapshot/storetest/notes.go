package storetest

import (
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func note(t testing.TB, s snapshot.Store, c snapshot.Claim, n uint64, text string) error {
	t.Helper()
	errs, err := s.Note(timeout(t), []snapshot.NoteRequest{{Claim: c, Number: n, Note: []byte(text)}})
	if err != nil || len(errs) != 1 {
		t.Fatalf("note %s: %d answers, %v", c.Room, len(errs), err)
	}
	return errs[0]
}

func testNote(t *testing.T, f *fixture) {
	h1, h2 := lease(t, f.a, "n1"), lease(t, f.b, "n2")
	first := take(t, f.a, "k/a", h1)
	if first.Note != nil {
		t.Errorf("a new room has the note %q", first.Note)
	}
	must(t, note(t, f.a, first.Claim, 5, "five"))
	must(t, note(t, f.b, first.Claim, 4, "four, which comes late"))
	if r := load(t, f.b, "k/a"); string(r.Note) != "five" || r.Data != nil {
		t.Errorf("loaded %q, %q", r.Note, r.Data)
	}
	must(t, save(t, f.a, first.Claim, 1, []byte("state")))
	wantErr(t, "too long", note(t, f.a, first.Claim, 6, string(make([]byte, snapshot.MaxNoteBytes+1))), snapshot.ErrTooBig)
	wantErr(t, "no number", note(t, f.a, first.Claim, 0, ""), snapshot.ErrBadRequest)
	lost := first.Claim
	lost.Epoch++
	wantErr(t, "an epoch that the store lost", note(t, f.a, lost, 6, "x"), snapshot.ErrMissing)
	// It goes with the room, and outlives claims.
	moved := handOff(t, f.a, snapshot.HandOffRequest{Claim: first.Claim, Holder: h2, Seq: 1, Data: []byte("moved")})
	wantErr(t, "under the old claim", note(t, f.a, first.Claim, 7, "x"), snapshot.ErrFenced)
	must(t, note(t, f.b, moved.Claim, 6, "six\x00\xff"))
	next := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2})
	if next.Err != nil || string(next.Note) != "six\x00\xff" || string(next.Data) != "moved" {
		t.Errorf("claimed: %+v", next)
	}
	// The next incarnation has none.
	must(t, closeRoom(t, f.b, next.Claim))
	wantErr(t, "a closed room", note(t, f.b, next.Claim, 8, "x"), snapshot.ErrFenced)
	again := claim(t, f.b, snapshot.ClaimRequest{Room: "k/a", Holder: h2, Mode: wire.ModeCreate})
	if again.Err != nil || again.Note != nil {
		t.Errorf("created anew: %+v", again)
	}
	must(t, note(t, f.b, again.Claim, 1, "one"))
	if r := load(t, f.a, "k/a"); string(r.Note) != "one" {
		t.Errorf("loaded %q", r.Note)
	}
}
