package storetest

import (
	"fmt"
	"testing"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

func testList(t *testing.T, f *fixture) {
	if got := listAll(t, f.a, 10); len(got) != 0 {
		t.Fatalf("an empty store lists %d rooms", len(got))
	}
	h := lease(t, f.a, "n1")
	want := make(map[wire.RoomID]snapshot.Entry)
	for i := range 60 {
		room := wire.RoomID(fmt.Sprintf("k%d/room.%d", i%3, i))
		e := snapshot.Entry{Claim: take(t, f.a, room, h).Claim, Holder: h}
		if i%4 > 0 {
			e.Bytes = int64(i * 150)
			if err := save(t, f.a, e.Claim, 1, make([]byte, e.Bytes)); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 == 0 {
			if err := closeRoom(t, f.b, e.Claim); err != nil {
				t.Fatal(err)
			}
			e.Closed, e.Bytes = true, 0
		}
		want[room] = e
	}
	for _, most := range []int{1, 7, 1000} {
		got := listAll(t, f.b, most)
		if len(got) != len(want) {
			t.Errorf("pages of %d list %d rooms, want %d", most, len(got), len(want))
		}
		for room, e := range want {
			if got[room] != e {
				t.Errorf("%s: listed as %+v, want %+v", room, got[room], e)
			}
		}
	}
}

func listAll(t *testing.T, s snapshot.Store, most int) map[wire.RoomID]snapshot.Entry {
	t.Helper()
	all := make(map[wire.RoomID]snapshot.Entry)
	cursor := ""
	for range 10_000 {
		page, next, err := s.List(timeout(t), cursor, most)
		if err != nil {
			t.Fatalf("list from %q: %v", cursor, err)
		}
		for _, e := range page {
			all[e.Claim.Room] = e
		}
		if next == "" {
			return all
		}
		cursor = next
	}
	t.Fatal("the listing does not end")
	return nil
}
