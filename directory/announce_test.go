package directory

import (
	"math"
	"testing"
)

// Load reports leave half of what gossip can send, at any size, and are told
// every 2 s in small clusters.
func TestLoadIsPacedWithTheClustersSize(t *testing.T) {
	cfg := (&MembersConfig{}).gossip("a#1")
	most := float64(cfg.GossipNodes*cfg.UDPBufferSize) / cfg.GossipInterval.Seconds()
	for _, n := range []int{1, 10, 30, 100, 1000, maxNodes} {
		pace := LoadPace(n)
		sent := float64(n) / pace.Seconds() * loadSize * float64(cfg.RetransmitMult) * math.Ceil(math.Log10(float64(n+1)))
		t.Logf("%d nodes: a report each %s, %.0f bytes/s a node, %.0f %% of what gossip sends", n, pace, sent, 100*sent/most)
		if sent > 0.52*most {
			t.Errorf("%d nodes: reports take %.0f bytes/s of %.0f", n, sent, most)
		}
		if n <= 30 && pace != loadEvery {
			t.Errorf("%d nodes: a report each %s, want %s", n, pace, loadEvery)
		}
	}
}
