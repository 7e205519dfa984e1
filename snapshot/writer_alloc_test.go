//go:build !race

package snapshot

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// A save costs the writer nothing but its call.
func TestSavesAllocateNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterConfig{Store: nothing{answers: make([]error, 64)}, BatchRooms: 64, Gather: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		var reqs []SaveRequest
		for i := range 64 {
			reqs = append(reqs, SaveRequest{Claim: Claim{Room: wire.RoomID(fmt.Sprint("k/", i)), Epoch: 1, Nonce: 1}, Data: make([]byte, 100)})
		}
		told := func(SaveRequest, error) {}
		perCall := testing.AllocsPerRun(200, func() {
			for i := range reqs {
				reqs[i].Seq++
				w.SubmitLater(reqs[i], told)
			}
			synctest.Wait()
		})
		if perCall > 16 {
			t.Errorf("a call for %d rooms allocates %v times", len(reqs), perCall)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// nothing is a store that takes all saves.
type nothing struct {
	Store
	answers []error
}

func (n nothing) Save(_ context.Context, reqs []SaveRequest) ([]error, error) {
	return n.answers[:len(reqs)], nil
}
