// Command gatewayd is a gateway: it keeps players' WebSocket connections and
// ships their inputs to the rooms' hosts.
package main

import (
	"os"

	"github.com/limpet-games/limpet/internal/gatewayd"
)

func main() { os.Exit(gatewayd.Run(os.Args[1:])) }
