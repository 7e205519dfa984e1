package roomtest

import "github.com/limpet-games/limpet/rooms/internal/actor"

// journal is what a room of a journaled kind has recorded since it was saved.
// Everything is stored at once.
type journal struct {
	base    uint64
	entries [][]byte
	seen    map[moment]uint64 // sums of the room, by when they were taken

	ended     uint64 // the sum of the room as it crashed
	replaying bool
	atEnd     bool   // the replay has come to where the room crashed
	before    string // the last event whose outcome was the same
	differs   string // the first one whose was not
}

// moment is ahead of an entry, or, where that is 0, of a tick.
type moment struct{ entry, tick uint64 }

// keep stores what the room has recorded.
func (rt *Room) keep() {
	rt.t.Helper()
	for {
		_, entries := rt.actor.Entries()
		if len(entries) == 0 {
			return
		}
		rt.journal.entries = append(rt.journal.entries, entries...)
		rt.actor.Appended(rt.now, rt.actor.Recorded())
		rt.check()
	}
}

// crashed keeps what the room has come to, which no event follows.
func (rt *Room) crashed() {
	rt.t.Helper()
	sum, err := rt.actor.Digest()
	if err != nil {
		rt.t.Fatalf("encode state: %v", err)
	}
	rt.journal.ended = sum
}

// trace compares a replayed room with what it was, ahead of each event. The
// first event that the room did not live to see, a tick that was reserved or the
// new owner, shows it as it was at its end.
func (rt *Room) trace(e actor.Entry, r *actor.Room) {
	j := &rt.journal
	sum, err := r.Digest()
	if err != nil {
		rt.t.Fatalf("encode state: %v", err)
	}
	at := moment{entry: e.Number}
	if e.Kind == actor.EntryTick {
		at = moment{tick: e.Tick + 1}
	}
	if !j.replaying {
		j.seen[at] = sum
		return
	}
	was, known := j.seen[at]
	if !known {
		j.seen[at] = sum
		was, known, j.atEnd = j.ended, !j.atEnd, true
	}
	if known && was != sum && j.differs == "" {
		j.differs = j.before
	}
	j.before = e.String()
}

// replayed reports a replay that went another way.
func (rt *Room) replayed() {
	rt.t.Helper()
	rt.journal.replaying = false
	why := rt.journal.differs
	if why == "" {
		why = rt.actor.Diverged()
	}
	if why != "" {
		rt.t.Fatalf("the kind is not deterministic: replayed, its first event with another outcome is %s", why)
	}
}
