// Package arena is a real-time sample game: a tide pool. Limpets glide about,
// gather shells, and cling to a rock when the tide comes in: who holds on
// banks its string of shells, who doesn't is swept along and loses it.
//
// Movement is simulated here alone. One input is one step of its player's own
// clock, so a browser can run ahead with the same arithmetic (web/demo/step.js)
// and inputs that are sent again after a crash lead to the same place.
package arena

import (
	"time"

	"github.com/limpet-games/limpet/rooms"
)

// TickRate is ticks, and a player's steps, a second.
const TickRate = 20

// MaxPlayers is the seats of a pool.
const MaxPlayers = 50

// Kind is the arena as a kind of room.
func Kind() rooms.Kind {
	return rooms.Kind{
		Name:       "arena",
		New:        func() rooms.Handler { return newPool() },
		TickRate:   TickRate,
		MaxMembers: MaxPlayers,
		Durability: rooms.Checkpoint(time.Second),
	}
}
