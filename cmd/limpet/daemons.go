package main

import (
	"os"

	"github.com/limpet-games/limpet/games/arena"
	"github.com/limpet-games/limpet/internal/gatewayd"
	"github.com/limpet-games/limpet/rooms/host"
)

// The daemons are in this program too, so that limpet dev needs no other.

func runGatewayd(args []string) int { return gatewayd.Run(args) }

func runRoomd(args []string) int {
	return host.Command(args, os.Stdout, os.Stderr, arena.Kind())
}
