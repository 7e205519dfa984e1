package rooms

import (
	"fmt"
	"strings"
)

// Placement is how hosts are chosen for the rooms of a kind, among those that
// serve it, don't drain and aren't full. The zero value is LeastLoaded.
type Placement struct{ text string }

// LeastLoaded places a room on the less loaded of two hosts drawn at random:
// members, rooms, processors and memory count.
func LeastLoaded() Placement { return Placement{} }

// ByHash places a room of a name on the same host for as long as the same hosts
// are there, whatever they carry: for rooms that find something of their own on
// their host, like a cache.
func ByHash() Placement { return Placement{text: "hash"} }

// AtRandom places a room on any host.
func AtRandom() Placement { return Placement{text: "random"} }

// ByLabels places a room that is made with one of these labels (a search asked
// for them) on a host that was started with the same, as --label region=eu. A
// room without the label may be anywhere.
func ByLabels(keys ...string) Placement {
	return Placement{text: "labels:" + strings.Join(keys, ",")}
}

// String names it: least-loaded, hash, random, or labels:KEY,...
func (p Placement) String() string {
	if p.text == "" {
		return "least-loaded"
	}
	return p.text
}

// maxPlacementLabels bounds ByLabels: all hosts' placements travel in gossip.
const maxPlacementLabels = 4

func (p Placement) check() error {
	_, keys, ok := strings.Cut(p.text, ":")
	if !ok {
		return nil
	}
	all := strings.Split(keys, ",")
	if len(all) > maxPlacementLabels {
		return fmt.Errorf("placement by %d labels: want at most %d", len(all), maxPlacementLabels)
	}
	for _, k := range all {
		if k == "" || len(k) > 20 {
			return fmt.Errorf("placement by label %q: want keys of 1 to 20 bytes", k)
		}
	}
	return nil
}
