// Command fewer is a later build of the end-to-end tests' room host that serves
// the ledger no longer.
package main

import (
	"slices"

	"github.com/limpet-games/limpet/e2e/roomd/served"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() {
	host.Main(slices.DeleteFunc(served.Kinds(), func(k rooms.Kind) bool { return k.Name == "ledger" })...)
}
