package check

import "maps"

// session checks what one client read against what it had read and written
// before. It rests on messages that tell of applied inputs (About) and on full
// states; where there are none, nothing is derived.
//
// A rewind voids what was read: the client was told to forget it.
func (c *checker) session(r *room, rec *record) {
	s := reader{c: c, r: r, rec: rec}
	for i, e := range rec.Events {
		switch e.Kind {
		case Joined, Resumed, Attached:
			s.own = e.Applied
			if follows(rec.Events, i, Rewound) {
				s.forget(e.Durable)
			}
		case Gap:
			s.whole = false
		case Acked:
			s.own = e.Applied
			s.readsOwn("an ack for it came")
		case Message:
			s.read(e)
		case Sent:
			s.write(e.N)
		}
	}
	if rec.Closed { // it may have missed a rewind
		s.forget(rec.durable)
	}
	rec.writes = s.writes
}

// write is an input and what its client had read when it sent it.
type write struct {
	n    uint64
	read map[string]uint64 // not to be changed
}

// reader is what one client knows at one moment.
type reader struct {
	c      *checker
	r      *room
	rec    *record
	view   map[string]uint64 // the last input read of each client
	shared bool              // view is in writes, too
	whole  bool              // view started from a full state and nothing is missing since
	own    uint64            // own inputs that the room is known to have applied
	writes []write
}

func (s *reader) report(rule, format string, args ...any) {
	s.c.report(rule, s.r.Name, s.rec.Client, format, args...)
}

// forget voids what was read, and the writes that the room has undone.
func (s *reader) forget(durable uint64) {
	s.view, s.shared, s.whole = nil, false, false
	for len(s.writes) > 0 && s.writes[len(s.writes)-1].n > durable {
		s.writes = s.writes[:len(s.writes)-1]
	}
}

func (s *reader) write(n uint64) {
	if len(s.view) > 0 {
		s.writes = append(s.writes, write{n, s.view})
		s.shared = true
	}
}

func (s *reader) know(client string, n uint64) {
	if s.shared || s.view == nil {
		fresh := map[string]uint64{}
		maps.Copy(fresh, s.view)
		s.view, s.shared = fresh, false
	}
	s.view[client] = n
}

func (s *reader) read(e Event) {
	if e.State != nil {
		for client, n := range s.view {
			if e.State[client] < n {
				s.report("monotonic reads", "a full state has %d inputs of %s, after input %d was read", e.State[client], client, n)
			}
		}
		s.view, s.shared, s.whole = maps.Clone(e.State), false, true
		s.readsOwn("the room had applied it")
		return
	}
	if e.About.N == 0 {
		return
	}
	client, n := e.About.Client, e.About.N
	last := s.view[client]
	switch {
	case n <= last:
		s.report("monotonic reads", "read of %s after %s:%d", e.About, client, last)
		return
	case s.whole && s.misses(client, last+1, n):
		s.report("monotonic writes", "read of %s after %s:%d, with inputs between them missing", e.About, client, last)
	}
	s.know(client, n)
}

// misses says whether one of the inputs from from up to, not including, to
// should have been read of.
func (s *reader) misses(client string, from, to uint64) bool {
	rec := s.r.byClient[client]
	for n := from; n < to; n++ {
		if rec == nil || !rec.excused[n] {
			return true
		}
	}
	return false
}

// readsOwn checks that what the room has of this client's inputs can be read.
func (s *reader) readsOwn(because string) {
	if seen := s.view[s.rec.Client]; s.whole && seen < s.own && s.misses(s.rec.Client, seen+1, s.own+1) {
		s.report("read your writes", "own input %d is not to be read, although %s", s.own, because)
		s.whole = false // told once
	}
}

// writesFollowReads checks that in the room's final order an input stands
// behind all that its client had read when it sent it.
func (c *checker) writesFollowReads(r *room) {
	place := r.places()
	for _, rec := range r.records {
		for _, w := range rec.writes {
			at, ok := place[Input{rec.Client, w.n}]
			if !ok {
				continue
			}
			for client, n := range w.read {
				if read := (Input{client, n}); place[read] > at {
					c.report("writes follow reads", r.Name, rec.Client, "input %d stands before %s, which was read before it was sent", w.n, read)
				}
			}
		}
	}
}

// places tells each input's place in the room's final order, from 1: by the
// room itself, else by what the messages of the last epochs say.
func (r *room) places() map[Input]uint64 {
	places := map[Input]uint64{}
	for i, in := range r.Order {
		places[in] = uint64(i + 1)
	}
	if r.Order != nil {
		return places
	}
	var total uint64
	for _, applied := range r.Applied {
		total += uint64(len(applied))
	}
	type claim struct {
		epoch uint64
		input Input
	}
	last := map[uint64]claim{}
	for _, rec := range r.records {
		for _, e := range rec.Events {
			if e.Kind == Message && e.About.N > 0 && e.Place > 0 && e.Place <= total && e.Epoch >= last[e.Place].epoch {
				last[e.Place] = claim{e.Epoch, e.About}
			}
		}
	}
	for at, c := range last {
		places[c.input] = at
	}
	return places
}
