package directory

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestSimulation breaks small clusters for LIMPET_SIM_HOURS virtual hours, a
// few minutes where it isn't set. LIMPET_SIM_SEED is the first seed.
func TestSimulation(t *testing.T) {
	hours, seed := simHours(), uint64(1)
	if hours == 0 {
		hours = 0.1
	}
	if v, err := strconv.ParseUint(os.Getenv("LIMPET_SIM_SEED"), 10, 64); err == nil {
		seed = v
	}
	for i := range 2 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			left := time.Duration(hours * float64(time.Hour) / 2)
			for seed := seed + uint64(i); left > 0 && !t.Failed(); seed += 2 {
				left -= simulate(t, seed, 2+int(seed)%3, 10*time.Minute)
			}
		})
	}
}

// simHours are the hours asked for, 0 where none were.
func simHours() float64 {
	v, err := strconv.ParseFloat(os.Getenv("LIMPET_SIM_HOURS"), 64)
	if err != nil {
		return 0
	}
	return v
}

// TestSimulationOfMany breaks a cluster of 30 for 10 virtual minutes, or, where
// no hours are asked for, one of 8 for 2.
func TestSimulationOfMany(t *testing.T) {
	t.Parallel()
	hosts, long := 7, 2*time.Minute
	if simHours() > 0 {
		hosts, long = 29, 10*time.Minute
	}
	simulate(t, 7, hosts, long)
}

// keptSeeds are runs that find a mistake again when it is put back: each takes a
// rule of the directory away, and the run fails within its time.
var keptSeeds = []struct {
	seed  uint64
	hosts int
	long  time.Duration
	found string
}{
	// supersedeLocked without "!newcomer": the first word of a boot whose clock was
	// set back, or of one that is gone already, was taken at its face.
	{4, 3, 2 * time.Minute, "a living host is buried, because its restart has an earlier clock"},
	// hearLocked burying whom gossip believes dead.
	{1, 3, time.Minute, "gossip's word alone keeps a living host out for good"},
	// rejoin without missing(): memberlist forgets whom it believes dead.
	{2, 4, 4 * time.Minute, "views are never one again after a split"},
}

func TestSimulationKeptSeeds(t *testing.T) {
	for _, k := range keptSeeds {
		t.Run(k.found, func(t *testing.T) { simulate(t, k.seed, k.hosts, k.long) })
	}
}

// simulate breaks one cluster for a time, and returns how long it was.
func simulate(t *testing.T, seed uint64, hosts int, long time.Duration) (took time.Duration) {
	wall := time.Now()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := newSimulation(t, seed, 12)
		s.most = max(s.most, hosts+1)
		s.cluster(hosts)
		for time.Since(start) < long && !s.over() {
			s.trouble()
		}
		took = time.Since(start)
		s.end()
		t.Logf("seed %d: %s, %d hosts: %d lookups, %d answered, slowest %s; %d claims, %d proofs of death; one membership within %s, entries mended within %s",
			seed, took.Round(time.Second), hosts, s.lookups, s.answers, s.slowest.Round(time.Millisecond), s.store.grants, s.store.proofs,
			s.healed.Round(time.Millisecond), s.mended.Round(time.Millisecond))
	})
	t.Logf("%.0f times as fast as the clock", float64(took)/float64(time.Since(wall)))
	return took
}
