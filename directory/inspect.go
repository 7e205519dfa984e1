package directory

import "github.com/limpet-games/limpet/wire"

// Entry is what this host's part of the directory has of a room, for those who
// look into it.
func (s *Service) Entry(room wire.RoomID) (Location, bool) { return s.table.get(room) }

// Cached is where this process remembers a room to be, for those who look into
// it: the place may be one that Resolve would not give. Looking keeps it no longer.
func (r *Resolver) Cached(room wire.RoomID) (Location, bool) { return r.cache.get(room) }
