//go:build linux

package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Stats is what the clients saw.
type Stats struct {
	For        time.Duration
	Playing    bool // rather than joining
	Joined     int  // memberships at the end
	Deliveries uint64
	Bytes      uint64 // of payloads
	Lost       uint64 // holes in the numbers of states
	Duplicated uint64 // numbers that came again
	Inputs     uint64 // sent
	Joins      uint64 // during the measurement
	Refused    uint64 // joins
	Expected   uint64 // inputs that a room asked for again
	Broken     uint64 // connections that ended without being asked to

	Lateness *hdrhistogram.Histogram // from the tick's begin in the room to the client, in ns
	Input    *hdrhistogram.Histogram // from when an input was due to the state (or answer) that tells of it, in ns
	Join     *hdrhistogram.Histogram // from connect to joined, in ns
}

// newHistogram takes 1 us to 60 s with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(time.Minute), 3) }

func newStats() Stats {
	return Stats{Lateness: newHistogram(), Input: newHistogram(), Join: newHistogram()}
}

// record keeps values inside what a histogram takes.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1000), int64(time.Minute))) // in range: no error
}
