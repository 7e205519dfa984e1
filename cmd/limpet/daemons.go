package main

import (
	"context"

	"github.com/limpet-games/limpet/games/arena"
	"github.com/limpet-games/limpet/games/board"
	"github.com/limpet-games/limpet/games/chat"
	"github.com/limpet-games/limpet/internal/gatewayd"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/host"
)

// The daemons are in this program too, so that limpet dev needs no other.

func runGatewayd(_ context.Context, args []string, s streams) int {
	return gatewayd.Command(args, s.out, s.err)
}

func runRoomd(_ context.Context, args []string, s streams) int {
	return host.Command(args, s.out, s.err, kinds()...)
}

func kinds() []rooms.Kind { return []rooms.Kind{arena.Kind(), board.Kind(), chat.Kind()} }
