package query

import (
	"math"
	"slices"
)

// spread is a distribution that merges: the values themselves with their
// counts, up to MaxExact distinct ones, then bins whose bounds grow by a fixed
// factor, as in DDSketch. A bin's middle is within RelativeError of all in it.
type spread struct {
	exact map[float64]uint64 // nil once there are bins
	bins  map[int32]uint64   // see binOf
}

const (
	smallest = 1e-9 // what is nearer to 0 counts as 0
	largest  = 1e18 // what is above counts as this
)

var (
	gamma    = (1 + RelativeError) / (1 - RelativeError)
	logGamma = math.Log(gamma)
	firstBin = int32(math.Floor(math.Log(smallest)/logGamma)) - 1 // bin 0 is for 0
	lastBin  = binOf(largest)
)

// binOf numbers the bins by the values in them: negative ones below 0.
func binOf(v float64) int32 {
	a := math.Min(math.Abs(v), largest)
	if a < smallest {
		return 0
	}
	i := int32(math.Ceil(math.Log(a)/logGamma)) - firstBin
	if v < 0 {
		return -i
	}
	return i
}

// middle is the value that stands for a bin.
func middle(bin int32) float64 {
	switch {
	case bin == 0:
		return 0
	case bin < 0:
		return -middle(-bin)
	}
	return 2 * math.Exp(float64(bin+firstBin)*logGamma) / (gamma + 1)
}

func (s *spread) add(v float64, n uint64) {
	if s.bins == nil {
		if s.exact == nil {
			s.exact = map[float64]uint64{}
		}
		if s.exact[v] += n; len(s.exact) <= MaxExact {
			return
		}
		s.toBins()
		return
	}
	s.bins[binOf(v)] += n
}

func (s *spread) toBins() {
	s.bins = make(map[int32]uint64, len(s.exact))
	for v, n := range s.exact {
		s.bins[binOf(v)] += n
	}
	s.exact = nil
}

func (s *spread) merge(o *spread) {
	if o.bins != nil && s.bins == nil {
		s.toBins()
	}
	for v, n := range o.exact {
		s.add(v, n)
	}
	for b, n := range o.bins {
		s.bins[b] += n
	}
}

// at is the value of a rank: the smallest one that at least q percent of all
// are not above. n is how many there are.
func (s *spread) at(q float64, n uint64) float64 {
	rank := max(1, uint64(math.Ceil(q/100*float64(n))))
	if s.bins == nil {
		return nth(s.exact, rank)
	}
	return middle(nth(s.bins, rank))
}

// nth is the key at a rank, counted from 1, in the keys' order.
func nth[K int32 | float64](counts map[K]uint64, rank uint64) (last K) {
	keys := make([]K, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var seen uint64
	for _, k := range keys {
		last = k
		if seen += counts[k]; seen >= rank {
			break
		}
	}
	return last
}
