package main

import (
	"github.com/limpet-games/limpet/games/arena"
	"github.com/limpet-games/limpet/games/board"
	"github.com/limpet-games/limpet/games/chat"
	"github.com/limpet-games/limpet/rooms"
)

// games are the kinds of room that this host serves.
func games() []rooms.Kind {
	return []rooms.Kind{arena.Kind(), board.Kind(), chat.Kind()}
}
