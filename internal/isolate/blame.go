package isolate

// Guilty is a room whose code brought its process down, and on what input, where
// that is known.
type Guilty struct {
	Room  string
	Input *Input
}

// Death is the end of a child that nobody asked for, or not in this way.
type Death struct {
	Node   string // NAME#BOOT; "" where it died before it had one
	Why    string // a label: start, crash, silence, memory, overrun, killed or ended
	Detail string
	Guilty []Guilty
}

// verdict is what the death says about the next one.
func (d Death) verdict() verdict {
	switch {
	case len(d.Guilty) > 0:
		return blamed
	case d.Why == "ended" || d.Why == "start":
		return unknown
	}
	return blameless
}

// blame finds the rooms at fault: in a crash the one on whose goroutine it
// happened, or whose code started that goroutine; otherwise those whose code had
// been in one and the same call at the watcher's last two looks already.
func blame(places []place, c crash, crashed bool, lasting map[int]uint64) (guilty []Guilty) {
	for _, p := range places {
		switch {
		case !crashed && p.call != 0 && lasting[p.at] == p.call,
			crashed && p.goroutine == c.goroutine && p.call != 0:
			g := Guilty{Room: p.room}
			if p.blamed {
				g.Input = p.input
			}
			guilty = append(guilty, g)
		case crashed && p.goroutine == c.creator && c.creator != 0:
			// Which input started the goroutine is not written down. A room's last
			// one is the likeliest, and passing it over costs least: it is skipped
			// only where it is not durable yet.
			guilty = append(guilty, Guilty{Room: p.room, Input: p.input})
		}
	}
	return guilty
}
