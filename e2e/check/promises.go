package check

import "fmt"

// membership checks that no membership ended but by its client or with its room.
func (c *checker) membership(r *room, rec *record) {
	for _, e := range rec.Events {
		if e.Kind == Left && !rec.Closed && !r.Lost {
			c.report("membership", r.Name, rec.Client, "was told that the membership is over: %s", e.Text)
		}
	}
}

// ends checks that nothing came of a room behind the end of the connection, until
// the member is back, nor behind that of the membership.
func (c *checker) ends(rec *record) {
	var end string
	var left bool
	for _, e := range rec.Events {
		switch {
		case e.Kind == Left:
			end, left = "the membership had ended", true
		case e.Kind == Dropped && !left:
			end = "the connection was lost"
		case e.Kind == Resumed && !left:
			end = ""
		}
		if end == "" {
			continue
		}
		if what := e.news(); what != "" {
			c.report("epochs", rec.Room, rec.Client, "%s came although %s", what, end)
		}
	}
}

// news names what can come of an owner on a connection only.
func (e *Event) news() string {
	switch e.Kind {
	case Message:
		return fmt.Sprintf("message %d of epoch %d", e.Seq, e.Epoch)
	case Acked:
		return "an ack"
	case Resumed:
		return "a new place"
	case Attached:
		return "a new owner"
	}
	return ""
}

// gaps checks that no gap is told of messages that the room has kept: those
// within its window, while its owner stays or where it journals.
func (c *checker) gaps(r *room, rec *record) {
	var epoch, before uint64
	for _, e := range rec.Events {
		switch e.Kind {
		case Joined, Resumed, Attached:
			before, epoch = epoch, e.Epoch
		case Gap:
			kept := r.Journaled || before == epoch
			if n := e.To - e.From + 1; kept && e.From > 0 && n < r.Window {
				c.report("window", r.Name, rec.Client, "messages %d to %d of epoch %d are lost to it, although the room keeps the last %d",
					e.From, e.To, epoch, r.Window)
			}
		}
	}
}

// noRollback checks that no member was rewound, and that a message number means
// one message, whichever owner said it.
func (c *checker) noRollback(r *room) {
	payloads := map[uint64]string{}
	for _, rec := range r.records {
		for _, e := range rec.Events {
			switch {
			case e.Kind == Rewound:
				c.report("rollback", r.Name, rec.Client, "was rewound in epoch %d, messages %d to %d", e.Epoch, e.From, e.To)
			case e.Kind == Message && e.Seq > 0:
				before, seen := payloads[e.Seq]
				if seen && before != e.Payload {
					c.report("rollback", r.Name, rec.Client, "message %d is %q in epoch %d and %q in another", e.Seq, e.Payload, e.Epoch, before)
				}
				payloads[e.Seq] = e.Payload
			}
		}
	}
}
