// Command next is a later build of the end-to-end tests' room host: the ledger's
// state has another form, which it can write as the former build did.
package main

import (
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/roomd/served"
	"github.com/limpet-games/limpet/rooms/host"
)

func main() {
	kinds := served.Kinds()
	for i, k := range kinds {
		if k.Name == "ledger" {
			kinds[i] = ledger.Next(k)
		}
	}
	host.Main(kinds...)
}
