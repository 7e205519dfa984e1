//go:build !race

package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// What a process asks the store for all the time is made in memory that is used
// again. What is left is the client library's, and the answers.
func TestWhatCallsAllocate(t *testing.T) {
	s := dialed(t, shared.URL())
	const rooms = 64
	var reqs []snapshot.SaveRequest
	for i := range rooms {
		c := made(t, s, wire.RoomID(fmt.Sprint("k/", i)), 7)
		reqs = append(reqs, snapshot.SaveRequest{Claim: c, Data: make([]byte, 1000)})
	}
	save := func(n int) func() error {
		return func() error {
			for i := range reqs {
				reqs[i].Seq++
			}
			errs, err := s.Save(t.Context(), reqs[:n])
			if err == nil {
				err = errs[0]
			}
			return err
		}
	}
	if err := s.TakeLease(t.Context(), "n#1/1", time.Minute); err != nil {
		t.Fatal(err)
	}
	beat := uint64(0)
	for _, c := range []struct {
		what string
		most float64
		do   func() error
	}{
		{"a save", 16, save(1)},
		{"a save of 64 rooms", 16 + 1.25*rooms, save(rooms)},
		{"a beat", 16, func() error { beat++; _, err := s.Beat(t.Context(), "n#1", beat); return err }},
		{"a renewal", 10, func() error { return s.RenewLease(t.Context(), "n#1/1", time.Minute) }},
	} {
		got := testing.AllocsPerRun(200, func() {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v allocations, of which 6 are its deadline's", c.what, got)
		if got > c.most {
			t.Errorf("%s: %v allocations, want at most %v", c.what, got, c.most)
		}
	}
}
