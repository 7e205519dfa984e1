// Command roomd is a room host that serves the sample games. To make one for
// games of your own, copy this and list them: see docs/plugins.md.
package main

import (
	"github.com/limpet-games/limpet/rooms/host"
)

func main() { host.Main(games()...) }
