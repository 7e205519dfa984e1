package check

import "slices"

// span is a stretch of a room's messages that one member saw without a break:
// all of an epoch that were addressed to it, behind from, up to to.
type span struct {
	epoch    uint64
	from, to uint64
	toAll    []uint64 // those to all members among them
}

// outputs holds the messages of one client against each other: in order, none
// twice, none missing by the room's own count, full state first where a place
// is not gone on from, and no epoch that goes back.
func (c *checker) outputs(rec *record) {
	o := output{c: c, rec: rec}
	for i, e := range rec.Events {
		o.expect(e.Kind)
		switch e.Kind {
		case Joined, Resumed, Attached:
			o.place(e, follows(rec.Events, i, Rewound) || follows(rec.Events, i, Gap))
		case Message:
			o.message(e)
		case Acked:
			if e.Count > o.count {
				o.report("the room counts %d messages to this member, %d came: a silent gap before message %d of epoch %d",
					e.Count, o.count, o.seq, o.epoch)
				o.count = e.Count
			}
		}
	}
}

// output is one member's place in its room's output.
type output struct {
	c                 *checker
	rec               *record
	joined            bool
	epoch, seq, count uint64
	incarnation       uint64
	afresh            string // why the next message must be full state; empty: it need not
}

func (o *output) report(format string, args ...any) {
	o.c.report("outputs", o.rec.Room, o.rec.Client, format, args...)
}

// expect notes what full state must follow on, at once, until something else
// comes between: the place may then be one that is gone on from.
func (o *output) expect(k Kind) {
	switch k {
	case Joined:
		o.afresh = "a join"
	case Rewound:
		o.afresh = "a rewind"
	case Gap:
		o.afresh = "a gap"
	case Resumed, Attached, Dropped:
		o.afresh = ""
	}
}

// place takes what a join, a resume or a new owner says.
func (o *output) place(e Event, announced bool) {
	switch {
	case e.Kind == Joined && o.joined:
		o.report("joined twice")
	case e.Kind != Joined && !o.joined:
		o.report("taken up again before it joined")
	case e.Epoch < o.epoch:
		o.c.report("epochs", o.rec.Room, o.rec.Client, "the epoch went from %d to %d", o.epoch, e.Epoch)
	case o.joined && e.Incarnation != o.incarnation:
		o.c.report("epochs", o.rec.Room, o.rec.Client, "the incarnation went from %d to %d", o.incarnation, e.Incarnation)
	case o.joined && !announced && e.Seq != o.seq:
		o.report("goes on behind message %d, but %d was the last: an unannounced gap", e.Seq, o.seq)
	case o.joined && !announced && e.Count != o.count:
		o.report("goes on with a count of %d, but %d came: an unannounced gap", e.Count, o.count)
	}
	o.joined, o.incarnation = true, e.Incarnation
	o.epoch, o.seq, o.count = e.Epoch, e.Seq, e.Count
	o.rec.spans = append(o.rec.spans, span{epoch: e.Epoch, from: e.Seq, to: e.Seq})
}

func (o *output) message(e Event) {
	if e.Seq == 0 {
		return // latest or ephemeral: see unnumbered
	}
	switch {
	case !o.joined:
		o.report("message %d before the join", e.Seq)
		return
	case e.Epoch != o.epoch:
		o.report("message %d of epoch %d in epoch %d", e.Seq, e.Epoch, o.epoch)
		return
	case e.Seq == o.seq:
		o.report("message %d of epoch %d came twice", e.Seq, e.Epoch)
		return
	case e.Seq < o.seq:
		o.report("message %d of epoch %d came after message %d", e.Seq, e.Epoch, o.seq)
		return
	}
	if o.afresh != "" && e.State == nil {
		o.report("message %d of epoch %d is no full state, although %s came before it", e.Seq, e.Epoch, o.afresh)
	}
	o.afresh = ""
	o.seq = e.Seq
	o.count++
	s := &o.rec.spans[len(o.rec.spans)-1]
	s.to = e.Seq
	if e.ToAll {
		s.toAll = append(s.toAll, e.Seq)
	}
}

type position struct{ epoch, seq uint64 }

// agreement holds what members of a room saw against each other: the same
// payload under the same number, and of what is for all, all.
func (c *checker) agreement(r *room) {
	payloads := map[position]string{}
	toAll := map[uint64][]uint64{} // by epoch
	for _, rec := range r.records {
		for _, e := range rec.Events {
			if e.Kind != Message || e.Seq == 0 {
				continue
			}
			at := position{e.Epoch, e.Seq}
			before, seen := payloads[at]
			if seen && before != e.Payload {
				c.report("outputs", r.Name, rec.Client, "message %d of epoch %d is %q here and %q elsewhere", e.Seq, e.Epoch, e.Payload, before)
			}
			payloads[at] = e.Payload
			if e.ToAll && !seen {
				toAll[e.Epoch] = append(toAll[e.Epoch], e.Seq)
			}
		}
	}
	for _, seqs := range toAll {
		slices.Sort(seqs)
	}
	for _, rec := range r.records {
		for _, s := range rec.spans {
			c.complete(r, rec, s, toAll[s.epoch])
		}
	}
}

// complete checks that a member saw all that was for all within a span.
func (c *checker) complete(r *room, rec *record, s span, all []uint64) {
	i, _ := slices.BinarySearch(all, s.from+1)
	for _, seq := range all[i:] {
		if seq > s.to {
			return
		}
		if _, saw := slices.BinarySearch(s.toAll, seq); !saw {
			c.report("outputs", r.Name, rec.Client, "message %d of epoch %d, which was for all, did not come although %d did", seq, s.epoch, s.to)
		}
	}
}
