package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-games/limpet/wire"
)

// Placement is how hosts are chosen for the rooms of a kind. Hosts tell it of
// each kind that they serve.
type Placement struct {
	How PlacementHow
	// Labels are the keys by which PlaceByLabels matches: a room that is made
	// with one of these labels goes to a host with the same.
	Labels []string
}

// PlacementHow is a strategy of placement.
type PlacementHow uint8

// The strategies.
const (
	PlaceLeastLoaded PlacementHow = iota // the less loaded of two that are drawn at random
	PlaceByHash                          // the one with the highest hash with the room: the same for a name, while hosts stay
	PlaceAtRandom
	PlaceByLabels // the less loaded of two whose labels match the room's
)

const maxPlacement = 96 // bytes of a placement's text

// ParsePlacement reads what String writes.
func ParsePlacement(s string) (Placement, error) {
	how, keys, labelled := strings.Cut(s, ":")
	switch {
	case len(s) > maxPlacement:
		return Placement{}, fmt.Errorf("placement of %d bytes: want at most %d", len(s), maxPlacement)
	case how == "labels" && labelled && keys != "":
		return Placement{How: PlaceByLabels, Labels: strings.Split(keys, ",")}, nil
	case labelled:
	case how == "" || how == "least-loaded":
		return Placement{}, nil
	case how == "hash":
		return Placement{How: PlaceByHash}, nil
	case how == "random":
		return Placement{How: PlaceAtRandom}, nil
	}
	return Placement{}, fmt.Errorf("placement %q: want least-loaded, hash, random or labels and their keys", s)
}

// String is the strategy's name: least-loaded, hash, random, or labels:KEY,...
func (p Placement) String() string {
	switch p.How {
	case PlaceByHash:
		return "hash"
	case PlaceAtRandom:
		return "random"
	case PlaceByLabels:
		return "labels:" + strings.Join(p.Labels, ",")
	}
	return "least-loaded"
}

// Placement is how the node would have rooms of a kind placed.
func (n *Node) Placement(kind string) Placement {
	p, _ := ParsePlacement(n.Placements[kind])
	return p
}

// Want is what a room needs of its host.
type Want struct {
	Room   wire.RoomID
	Labels map[string]string // that it has, or is made with
	Build  string            // of the host's program; "": any
}

// fits reports whether a host may take a room now.
func (n *Node) fits(w *Want) bool {
	return !n.Draining && !n.Load.Full && n.suits(w)
}

// Takes reports whether the node is a host that may take a room now: it serves
// the room's kind, has the labels that the room is placed by, and neither drains
// nor is full.
func (n *Node) Takes(w Want) bool { return n.fits(&w) }

// suits is fits for a host that has room.
func (n *Node) suits(w *Want) bool {
	if !n.Serves(w.Room.Kind()) || w.Build != "" && n.Build != w.Build {
		return false
	}
	if p := n.Placement(w.Room.Kind()); p.How == PlaceByLabels {
		for _, key := range p.Labels {
			if v, ok := w.Labels[key]; ok && n.Labels[key] != v {
				return false
			}
		}
	}
	return true
}

// home is the host whose hash with the room is the highest. Hosts are hashed
// by name, so that a restarted one keeps its rooms.
func home(hosts []*Node, room wire.RoomID) *Node {
	var best *Node
	var top uint64
	key := xxhash.Sum64String(string(room))
	for _, n := range hosts {
		if s := mix(xxhash.Sum64String(n.ID.Name()) ^ key); best == nil || s > top {
			best, top = n, s
		}
	}
	return best
}

// Score is how loaded a host counts: one for each room and member, and up to
// three times that where processors or memory run short. Lower is better.
func (l Load) Score() int {
	return (1 + int(l.Rooms) + int(l.Members)) * l.Pressure() / 100
}

// Pressure is what a room or member counts on the host, in percent: 100 to 300.
func (l Load) Pressure() int {
	return min(100+4*max(0, int(l.CPU)-50)+6*max(0, int(l.Memory)-70), 300)
}

// Host labels. They travel in gossip, so they are few and short.
const (
	maxHostLabels  = 8
	maxLabelBytes  = 64
	maxPlacedKinds = maxKinds
)

// CheckLabels says what is wrong with the labels of a host.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxHostLabels {
		return fmt.Errorf("%d labels: a host has at most %d", len(labels), maxHostLabels)
	}
	for k, v := range labels {
		if k == "" {
			return errors.New("a label has no key")
		}
		if len(k) > maxLabelBytes || len(v) > maxLabelBytes {
			return fmt.Errorf("label %.20s: want at most %d bytes for key and value each", k, maxLabelBytes)
		}
	}
	return nil
}

// appendPlacing is the part of the metadata that came later. It is left out
// where it says nothing.
func appendPlacing(b []byte, n *Node) []byte {
	if n.Load.Memory == 0 && !n.Load.Full && len(n.Placements) == 0 && len(n.Labels) == 0 {
		return b
	}
	var full byte
	if n.Load.Full {
		full = 1
	}
	b = append(b, n.Load.Memory, full, byte(len(n.Placements)))
	for _, k := range slices.Sorted(maps.Keys(n.Placements)) {
		at, _ := slices.BinarySearch(n.Kinds, k)
		b = wire.AppendStr8(append(b, byte(at)), n.Placements[k])
	}
	b = append(b, byte(len(n.Labels)))
	for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
		b = wire.AppendStr8(wire.AppendStr8(b, k), n.Labels[k])
	}
	return b
}

func readPlacing(r *wire.Reader, n *Node) {
	if r.Err() != nil || r.Len() == 0 {
		return
	}
	n.Load.Memory = r.U8("memory")
	n.Load.Full = r.U8("full")&1 != 0
	count := int(r.U8("placements"))
	if count > maxPlacedKinds {
		r.Fail(fmt.Errorf("%d placements: want at most %d", count, maxPlacedKinds))
	}
	for range count {
		at, text := int(r.U8("kind")), r.Str8("placement", maxPlacement)
		if r.Err() != nil {
			return
		}
		if at >= len(n.Kinds) {
			r.Fail(fmt.Errorf("placement of kind %d of %d", at, len(n.Kinds)))
			return
		}
		if n.Placements == nil {
			n.Placements = map[string]string{}
		}
		n.Placements[n.Kinds[at]] = text // one that a later build invented counts as least-loaded
	}
	count = int(r.U8("labels"))
	if count > maxHostLabels {
		r.Fail(fmt.Errorf("%d labels: want at most %d", count, maxHostLabels))
	}
	for range count {
		k, v := r.Str8("label", maxLabelBytes), r.Str8("label", maxLabelBytes)
		if r.Err() != nil {
			return
		}
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[k] = v
	}
}
