package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// What a membership does by itself. All of it runs under Client.mu; what emits
// events runs in the client's run loop.

func (r *Room) join(ref uint32) []byte {
	if r.filter.IsZero() {
		return r.plainJoin(ref)
	}
	return r.find(ref)
}

func (r *Room) find(ref uint32) []byte {
	return wire.Find{Ref: ref, Kind: r.kind, Filter: r.filter, Data: r.data}.Append(nil)
}

func (r *Room) plainJoin(ref uint32) []byte {
	return wire.Join{Ref: ref, Mode: r.mode, Kind: r.kind, Name: r.name, Data: r.data}.Append(nil)
}

// request asks for the membership on the current connection, if there is one.
func (r *Room) request() {
	n := r.c.conn
	if n == nil || r.over != nil || r.bound {
		return
	}
	r.c.lastRef = max(r.c.lastRef+1, 1)
	r.asked, r.askedAt = r.c.lastRef, time.Now()
	if !r.filter.IsZero() && r.token == nil && n.welcome.Minor < 1 {
		r.end(&wire.Error{Code: wire.CodeUnavailable, Text: "gateway " + n.welcome.Gateway + " is of an older version, without filters"})
		return
	}
	frame := r.join(r.asked)
	if r.token != nil {
		frame = wire.Resume{Ref: r.asked, Token: r.token, At: r.at, Data: r.data}.Append(nil)
	}
	n.out = append(n.out, frame)
	n.poke()
}

// sends says whether there are inputs that may be sent now.
func (r *Room) sends() bool {
	return r.bound && r.in.pending() && (r.pause.IsZero() || !time.Now().Before(r.pause))
}

// enqueue has the writer look at the room's inputs.
func (r *Room) enqueue() {
	n := r.c.conn
	if n == nil || r.queued || !r.sends() {
		return
	}
	r.queued = true
	n.queue = append(n.queue, r)
	n.poke()
}

// giveUp notes inputs that are no longer kept, for an event.
func (r *Room) giveUp(from, to wire.Input) {
	if r.gaveUp.From == 0 {
		r.gaveUp.From = from
	}
	r.gaveUp.To = to
	if r.c.conn == nil {
		select {
		case r.c.kick <- struct{}{}:
		default:
		}
	}
}

// joined takes up the membership that a join or a resume has brought.
func (r *Room) joined(n *conn, f wire.Joined) error {
	first := r.token == nil
	r.asked = 0
	if f.Epoch < r.epoch {
		return r.violate("epoch went back from %d to %d", r.epoch, f.Epoch)
	}
	r.name, r.member = f.Name, f.Member
	r.bound, r.handle = true, f.Handle
	n.handles[f.Handle] = r
	facts := Facts{Attach: f.Attach, Member: f.Member, Gateway: n.welcome.Gateway}
	if first {
		r.c.emit(r, &Joined{Facts: facts})
	} else {
		r.c.emit(r, &Resumed{Facts: facts, Away: time.Since(r.droppedAt)})
	}
	r.droppedAt = time.Time{}
	r.attach(f.Attach, f.Token, first)
	if r.abandoned && !r.leaving {
		r.leaving = true
		r.in.pushLeave()
		r.enqueue()
	}
	r.signal()
	return nil
}

// attached takes up what a new owner, or the old one again, says.
func (r *Room) attached(n *conn, f wire.Attached) error {
	if f.Epoch < r.epoch {
		return r.violate("epoch went back from %d to %d", r.epoch, f.Epoch)
	}
	r.c.emit(r, &Attached{Facts{Attach: f.Attach, Member: r.member, Gateway: n.welcome.Gateway}})
	r.attach(f.Attach, f.Token, false)
	r.signal()
	return nil
}

// attach checks and takes over the facts, and sends again what the room lacks.
func (r *Room) attach(a wire.Attach, token []byte, first bool) {
	if !first {
		r.inspect(a)
	}
	r.host, r.epoch, r.incarnation = a.Host, a.Epoch, a.Incarnation
	if len(token) > 0 || r.token == nil {
		r.token = append([]byte{}, token...)
	}
	r.at = wire.Position{Epoch: a.Epoch, Seq: a.Seq}
	r.count = a.Count
	r.pause = time.Time{}
	switch {
	case first || a.How == wire.HowResumed:
	case a.How == wire.HowGap:
		r.c.emit(r, &Gap{Epoch: a.Epoch, From: a.From, To: a.To})
	default:
		r.c.emit(r, &Rewound{Epoch: a.Epoch, From: a.From, To: a.To})
	}
	if a.Applied >= r.in.next {
		r.violate("the room has input %d, but %d was the last sent", a.Applied, r.in.next-1)
		return
	}
	r.in.applied, r.in.durable = a.Applied, a.Durable
	r.in.forget(a.Durable)
	r.in.rewind(a.Applied + 1)
	r.progress = time.Now()
	r.enqueue()
}

// inspect compares what an owner says with what was known.
func (r *Room) inspect(a wire.Attach) {
	if a.Incarnation != r.incarnation {
		r.violate("incarnation changed from %d to %d", r.incarnation, a.Incarnation)
	}
	if a.Durable < r.in.durable {
		r.violate("durable inputs went back from %d to %d", r.in.durable, a.Durable)
	}
	if a.How != wire.HowResumed && a.How != wire.HowGap {
		return
	}
	if a.Applied < r.in.applied {
		r.violate("applied went back from %d to %d without a rewind", r.in.applied, a.Applied)
	}
	if a.How == wire.HowResumed && (a.Seq != r.at.Seq || a.Count != r.count) && r.at != (wire.Position{}) {
		r.violate("resumed behind message %d with a count of %d, but message %d and %d are known", a.Seq, a.Count, r.at.Seq, r.count)
	}
}

// acked takes a cumulative ack.
func (r *Room) acked(f wire.Ack) {
	q := &r.in
	switch {
	case f.Applied >= q.next:
		r.violate("ack of input %d, but %d was the last sent", f.Applied, q.next-1)
		return
	case f.Applied < q.applied || f.Durable < q.durable:
		r.violate("ack went back from applied %d, durable %d to %d, %d", q.applied, q.durable, f.Applied, f.Durable)
		return
	case f.Durable > f.Applied:
		r.violate("ack of durable %d above applied %d", f.Durable, f.Applied)
		return
	}
	if f.Applied > q.applied {
		r.progress = time.Now()
	}
	q.applied = f.Applied
	q.forget(f.Durable)
	if q.cursor <= q.applied {
		q.rewind(q.applied + 1)
	}
	r.c.ack = Ack{Applied: f.Applied, Durable: f.Durable, Count: f.Count}
	r.c.emit(r, &r.c.ack)
	r.signal()
	if f.Count > r.count {
		r.missed(f.Count)
	}
}

// missed handles a count that says that messages did not come: resuming from
// nowhere brings full state.
func (r *Room) missed(count uint64) {
	r.violate("%d reliable messages were addressed to this member, %d came", count, r.count)
	r.count = count
	if now := time.Now(); r.reset.IsZero() || now.Sub(r.reset) > stableAfter {
		r.reset = now
		r.at = wire.Position{}
		r.c.conn.end(&ending{err: errors.New("messages are missing")})
	}
}

// received takes a message.
func (r *Room) received(f wire.Message) {
	m := &r.c.message
	*m = Message{Epoch: r.epoch, Payload: f.Payload}
	switch f.Type {
	case wire.TypeMessage:
		if f.Seq <= r.at.Seq {
			r.violate("message %d after message %d", f.Seq, r.at.Seq)
			return
		}
		r.at.Seq = f.Seq
		r.count++
		m.Seq = f.Seq
	case wire.TypeLatest:
		m.Class, m.Key = Latest, f.Key
	case wire.TypeEphemeral:
		m.Class = Ephemeral
	}
	r.c.emit(r, m)
}

// refused handles an error that answers a join or a resume.
func (r *Room) refused(e wire.Error) {
	r.asked = 0
	if r.token == nil || !retryable(e.Code) {
		r.ended(e.Code, e.Text, &e)
		return
	}
	r.c.emit(r, &Waiting{Code: e.Code})
	d := max(millis(e.RetryMS), leastPause) + spread(backoffBase)
	n := r.c.conn
	r.stopTimer()
	r.timer = time.AfterFunc(d, func() {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		if r.c.conn == n && r.asked == 0 {
			r.request()
		}
	})
}

// complained handles an error about the room. One that may be tried again is
// about an input that was turned away.
func (r *Room) complained(e wire.Error) {
	r.c.emit(r, &Error{e})
	if !retryable(e.Code) {
		return
	}
	d := max(millis(e.RetryMS), leastPause)
	r.pause = time.Now().Add(d)
	r.in.rewind(r.in.applied + 1)
	r.stopTimer()
	r.timer = time.AfterFunc(d, func() {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		r.enqueue()
	})
}

// dropped tells that the connection is gone.
func (r *Room) dropped(end *ending) {
	asked := r.asked
	r.asked, r.queued = 0, false
	r.stopTimer()
	if r.token == nil && (r.abandoned || asked != 0 && r.mode == wire.ModeCreate) {
		e := wire.Refuse(wire.CodeTimeout, "the connection broke before the answer: whether the room was made is not known")
		r.ended(e.Code, e.Text, e)
		return
	}
	if !r.bound {
		return
	}
	r.bound = false
	r.droppedAt = time.Now()
	if !errors.Is(end.err, ErrClosed) {
		r.c.emit(r, &Dropped{Code: end.code, Err: end.err})
	}
}

// ended ends the membership, with an event if it had begun.
func (r *Room) ended(code wire.Code, text string, err error) {
	if r.over != nil {
		return
	}
	if r.token != nil {
		r.c.emit(r, &Left{Code: code, Text: text})
	}
	r.end(err)
}

// end takes the room out of the client.
func (r *Room) end(err error) {
	r.over = err
	r.stopTimer()
	if n := r.c.conn; n != nil && r.bound && n.handles[r.handle] == r {
		delete(n.handles, r.handle)
	}
	r.bound, r.asked = false, 0
	r.in.release()
	for i, other := range r.c.rooms {
		if other == r {
			r.c.rooms = append(r.c.rooms[:i], r.c.rooms[i+1:]...)
			break
		}
	}
	r.signal()
}

// violate tells of a broken promise, and returns it as an error.
func (r *Room) violate(format string, args ...any) error {
	v := &Violation{Text: fmt.Sprintf(format, args...)}
	r.c.emit(r, v)
	return errors.New(v.Text)
}

// signal wakes those who wait for a change, once its events are told.
func (r *Room) signal() {
	if r.changed != nil {
		r.c.woken = append(r.c.woken, r.changed)
		r.changed = nil
	}
}

func (r *Room) stopTimer() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// retryable says whether the same request may succeed later.
func retryable(c wire.Code) bool { return c >= 200 && c < 300 }
