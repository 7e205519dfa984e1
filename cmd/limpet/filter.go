package main

import (
	"fmt"
	"strings"

	"github.com/limpet-games/limpet/internal/daemon"
	"github.com/limpet-games/limpet/wire"
)

// filterFlags say which rooms of a kind will do.
type filterFlags struct {
	pool, build string
	labels      []string
	seats       int

	asks wire.Filter // set by check
}

func (s *filterFlags) register(f *daemon.Flags) {
	f.String(&s.pool, "pool", "", "POOL", "the part of the kind's rooms that will do; empty: rooms of no pool, in a list all")
	f.List(&s.labels, "room-label", "KEY=VALUE", "a label that the room must have; a room that is made gets it", checkLabel)
	f.Int(&s.seats, "seats", 0, 0, wire.MaxFilterSeats, "open seats that it must have; 0: one")
	f.String(&s.build, "build", "", "VERSION", "the version of the host's program; empty: any")
}

func checkLabel(s string) error {
	if key, _, ok := strings.Cut(s, "="); !ok || key == "" {
		return fmt.Errorf("%q: want KEY=VALUE", s)
	}
	return nil
}

// check makes the filter of the flags.
func (s *filterFlags) check() error {
	s.asks = wire.Filter{Pool: s.pool, Seats: s.seats, Build: s.build}
	for _, l := range s.labels {
		key, value, _ := strings.Cut(l, "=")
		if s.asks.Labels == nil {
			s.asks.Labels = map[string]string{}
		}
		s.asks.Labels[key] = value
	}
	return s.asks.Check()
}
