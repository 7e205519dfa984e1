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

// What a host's CPU and memory do while nothing happens is told to nobody.
func TestSwayIsNotTold(t *testing.T) {
	m, err := NewMembers(MembersConfig{Name: "a", Boot: 1, Role: RoleHost, Kinds: []string{"chat"}})
	if err != nil {
		t.Fatal(err)
	}
	told := func(l Load) bool {
		m.Update(false, l)
		select {
		case <-m.soon:
			return true
		default:
			return false
		}
	}
	at := Load{Rooms: 3, Members: 100, CPU: 20, Memory: 30}
	for _, step := range []struct {
		what string
		load Load
		want bool
	}{
		{"the first", at, true},
		{"the same", at, false},
		{"a little CPU more", Load{Rooms: 3, Members: 100, CPU: 24, Memory: 30}, false},
		{"a little less", Load{Rooms: 3, Members: 100, CPU: 16, Memory: 26}, false},
		{"CPU", Load{Rooms: 3, Members: 100, CPU: 25, Memory: 30}, true},
		{"memory", Load{Rooms: 3, Members: 100, CPU: 25, Memory: 25}, true},
		{"a member", Load{Rooms: 3, Members: 101, CPU: 25, Memory: 25}, true},
		{"a room", Load{Rooms: 2, Members: 101, CPU: 25, Memory: 25}, true},
		{"full", Load{Rooms: 2, Members: 101, CPU: 25, Memory: 25, Full: true}, true},
	} {
		if got := told(step.load); got != step.want {
			t.Errorf("%s: told %v, want %v", step.what, got, step.want)
		}
	}
}
