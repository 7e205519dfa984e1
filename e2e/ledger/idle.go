package ledger

import (
	"strconv"
	"strings"
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// IdleKind makes rooms that do nothing and stay for an hour without members, to
// be counted: each has a label, one of ten maps, and a number drawn at its start.
func IdleKind(name string) rooms.Kind {
	return rooms.Kind{
		Name: name, New: func() rooms.Handler { return &idle{} },
		EmptyAfter: time.Hour, Durability: rooms.None(),
	}
}

type idle struct{ score float64 }

func (i *idle) Start(r rooms.Room, _ rooms.Start) {
	i.score = r.Rand().Float64() * 1e6
	r.SetLabels(map[string]string{"map": strconv.Itoa(r.Rand().IntN(10))})
}

func (i *idle) Measure(_ rooms.Room, set func(string, float64)) { set("score", i.score) }

func (*idle) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (*idle) Input(rooms.Room, rooms.Member, []byte)       {}
func (*idle) Leave(rooms.Room, rooms.Member, rooms.Reason) {}

// TableKind makes rooms of fifty seats. An input KEY=VALUE sets a label, "private"
// keeps the room out of searches.
func TableKind(name string) rooms.Kind {
	return rooms.Kind{Name: name, New: func() rooms.Handler { return &table{} }, MaxMembers: 50, Durability: rooms.Checkpoint(time.Second)}
}

type table struct{ state struct{ Inputs int } }

func (t *table) State() any { return &t.state }

func (t *table) Input(r rooms.Room, _ rooms.Member, data []byte) {
	t.state.Inputs++
	if string(data) == "private" {
		r.SetPrivate(true)
	} else if key, value, ok := strings.Cut(string(data), "="); ok {
		labels := r.Labels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
		r.SetLabels(labels)
	}
}

func (*table) Join(rooms.Room, rooms.Member, []byte) error  { return nil }
func (*table) Leave(rooms.Room, rooms.Member, rooms.Reason) {}
