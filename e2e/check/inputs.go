package check

import "slices"

// inputs holds a room's final state against what its clients sent: exactly
// once and in each client's order, but for what was announced and for the tail
// of a closed client.
func (c *checker) inputs(r *room) {
	for client := range r.Applied {
		if r.byClient[client] == nil {
			c.report("inputs", r.Name, client, "the room has inputs of a client that there was not")
		}
	}
	for _, rec := range r.records {
		c.exactlyOnce(r, rec)
	}
	if r.Order != nil {
		c.sameOrder(r)
	}
}

func (c *checker) exactlyOnce(r *room, rec *record) {
	have := map[uint64]bool{}
	var last uint64
	for _, n := range r.Applied[rec.Client] {
		switch {
		case have[n]:
			rec.twice++
			c.report("inputs", r.Name, rec.Client, "input %d was applied twice", n)
		case n == 0 || n > rec.sent:
			c.report("inputs", r.Name, rec.Client, "input %d was applied, but 1 to %d were sent", n, rec.sent)
		case n < last:
			rec.disordered++
			c.report("inputs", r.Name, rec.Client, "input %d was applied after input %d", n, last)
		}
		have[n] = true
		last = max(last, n)
	}
	rec.applied = uint64(len(have))
	for n := uint64(1); n <= rec.sent; n++ {
		if have[n] || rec.excused[n] {
			continue
		}
		if rec.Closed && n > rec.durable && n > last {
			rec.undone++
			continue
		}
		rec.missing++
		switch {
		case n <= rec.durable:
			c.report("durable", r.Name, rec.Client, "input %d is missing although it was confirmed as durable", n)
		case !rec.Closed:
			c.report("inputs", r.Name, rec.Client, "input %d is missing and was not announced as skipped", n)
		default:
			c.report("inputs", r.Name, rec.Client, "input %d is missing although input %d, sent after it, is there", n, last)
		}
	}
}

// sameOrder checks that the two forms of the final state agree.
func (c *checker) sameOrder(r *room) {
	by := map[string][]uint64{}
	for _, in := range r.Order {
		by[in.Client] = append(by[in.Client], in.N)
	}
	for client, applied := range r.Applied {
		if !slices.Equal(applied, by[client]) {
			c.report("history", r.Name, client, "the room's order has other inputs of the client than its list")
		}
	}
}

// acks holds the acks of one client against what it sent: they don't go back
// but by an announced rewind, and what was durable stays so.
func (c *checker) acks(rec *record) {
	var sent, applied, durable uint64
	for i, e := range rec.Events {
		switch e.Kind {
		case Sent:
			sent = e.N
			continue
		case Acked, Joined, Resumed, Attached:
		default:
			continue
		}
		back := e.Kind != Acked && follows(rec.Events, i, Rewound)
		if e.Applied < applied && !back {
			c.report("acks", rec.Room, rec.Client, "applied went from %d to %d without a rewind", applied, e.Applied)
		}
		if e.Durable < durable {
			c.report("durable", rec.Room, rec.Client, "durable went from %d to %d", durable, e.Durable)
		}
		if e.Durable > e.Applied {
			c.report("acks", rec.Room, rec.Client, "durable %d is above applied %d", e.Durable, e.Applied)
		}
		if e.Applied > sent {
			c.report("acks", rec.Room, rec.Client, "applied %d, but only %d were sent", e.Applied, sent)
		}
		applied, durable = e.Applied, max(durable, e.Durable)
	}
}

// follows says whether what the client was told next after event i is of a
// kind. What it sent meanwhile is of another goroutine, and may stand between.
func follows(events []Event, i int, k Kind) bool {
	for _, e := range events[i+1:] {
		if e.Kind != Sent {
			return e.Kind == k
		}
	}
	return false
}
