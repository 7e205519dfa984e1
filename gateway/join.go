package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// request is a join or a resume under way, in a goroutine of its own.
type request struct {
	c    *conn
	what string // join or resume, for metrics
	ref  uint32
	ask  directory.Request

	ctx    context.Context // ends with the connection, or when it is over
	cancel context.CancelFunc

	// What the session will be.
	why         peer.Why
	member      wire.MemberID
	generation  wire.Generation
	incarnation wire.Incarnation
	at          wire.Position
	data        []byte

	next *request // of the connection's; guarded by conn.mu
}

func (c *conn) handleJoin(msg []byte) error {
	f, err := wire.DecodeJoin(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	if e := c.id.mayJoin(f.Kind, f.Name); e != nil {
		c.g.metrics.joins.WithLabelValues("join", e.Code.String()).Inc()
		c.sendError(f.Ref, 0, e)
		return nil
	}
	if f.Mode == wire.ModeAny {
		c.begin(c.search("join", f.Ref, f.Kind, wire.Filter{}, f.Data))
		return nil
	}
	c.begin(&request{
		c: c, what: "join", ref: f.Ref,
		ask: directory.Request{Room: wire.Room(f.Kind, f.Name), Mode: f.Mode},
		why: peer.WhyJoin, member: newMember(), generation: 1, data: append([]byte(nil), f.Data...),
	})
	return nil
}

// handleFind joins any room that a filter takes. The seat is reserved in the
// member's name; rooms that the connection is in are passed over.
func (c *conn) handleFind(msg []byte) error {
	f, err := wire.DecodeFind(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	if e := c.id.mayJoin(f.Kind, ""); e != nil {
		c.g.metrics.joins.WithLabelValues("find", e.Code.String()).Inc()
		c.sendError(f.Ref, 0, e)
		return nil
	}
	c.begin(c.search("find", f.Ref, f.Kind, f.Filter, f.Data))
	return nil
}

func (c *conn) search(what string, ref uint32, kind string, filter wire.Filter, data []byte) *request {
	q := &request{
		c: c, what: what, ref: ref, why: peer.WhyJoin, member: newMember(), generation: 1, data: append([]byte(nil), data...),
	}
	q.ask = directory.Request{Room: wire.Room(kind, ""), Mode: wire.ModeAny, Filter: filter, Member: q.member, NotRooms: c.roomsOf(kind)}
	return q
}

// begin starts a request, or refuses it where there are too many.
func (c *conn) begin(q *request) {
	e := c.hurried()
	if e == nil {
		e = q.scarce()
	}
	if e == nil {
		q.ctx, q.cancel = context.WithTimeout(c.g.ctx, c.g.limits.JoinWithin)
		if e = c.seatFor(q); e != nil {
			q.cancel()
		}
	}
	if e == nil {
		if e = c.g.admission.seat(time.Now(), q.why == peer.WhyResume); e != nil {
			c.unask(q)
			c.g.metrics.turnedAway.WithLabelValues(q.what).Inc()
		}
	}
	if e == nil && !c.g.enter(q.run) {
		c.unask(q)
		e = &wire.Error{Code: wire.CodeBusy, RetryMS: 500 + rand.Uint32N(1000), Text: "too many joins at once"}
	}
	if e != nil {
		c.g.metrics.joins.WithLabelValues(q.what, e.Code.String()).Inc()
		c.sendError(q.ref, 0, e)
	}
}

// hurried holds a connection to its rate of joins: nobody tries rooms' names
// by the thousand.
func (c *conn) hurried() *wire.Error {
	if c.seats.allow(time.Now(), c.g.limits.JoinRate) {
		return nil
	}
	return &wire.Error{Code: wire.CodeRateLimited, RetryMS: 500 + rand.Uint32N(500), Text: "too many joins in a second"}
}

// enter runs a request unless too many are under way.
func (g *Gateway) enter(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.joins >= g.limits.Joins {
		return false
	}
	g.joins++
	g.wg.Go(func() {
		defer func() {
			g.mu.Lock()
			g.joins--
			g.mu.Unlock()
		}()
		f()
	})
	return true
}

func (q *request) run() {
	g, began := q.c.g, time.Now()
	e := q.seek(q.ctx)
	q.c.unask(q)
	result := "ok"
	if e != nil {
		result = e.Code.String()
		q.c.sendError(q.ref, 0, e)
	}
	g.metrics.joins.WithLabelValues(q.what, result).Inc()
	g.metrics.joinTime.WithLabelValues(q.what).Observe(time.Since(began).Seconds())
}

// maxTries bounds how many hosts a request is sent to.
const maxTries = 4

// seek tries until a room has taken the member or said why not.
func (q *request) seek(ctx context.Context) *wire.Error {
	for try := 1; ; try++ {
		err := q.try(ctx)
		if err == nil {
			return nil
		}
		var e *wire.Error
		again := !errors.As(err, &e) || e.Code == wire.CodeNone || q.elsewhere(e)
		switch {
		case ctx.Err() != nil:
			return &wire.Error{Code: wire.CodeTimeout, RetryMS: 500, Text: "no answer in time"}
		case !again:
			return q.inItsWords(e)
		case try >= maxTries && (e == nil || e.Code == wire.CodeNone):
			return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500, Text: "the room's host can't be reached"}
		case try >= maxTries:
			return e
		}
		pause(ctx, time.Duration(20+rand.IntN(60*try))*time.Millisecond)
	}
}

// elsewhere reports whether another room may take whom this one did not.
func (q *request) elsewhere(e *wire.Error) bool {
	return q.ask.Mode == wire.ModeAny && (e.Code == wire.CodeRoomFull || e.Code == wire.CodeRoomLocked ||
		e.Code == wire.CodeAlreadyMember || e.Code == wire.CodeRoomClosed)
}

// inItsWords is an error as the asker knows it: who comes back to a room that
// is not there any more hears that it is over.
func (q *request) inItsWords(e *wire.Error) *wire.Error {
	if q.why == peer.WhyResume && e.Code == wire.CodeNoRoom {
		return wire.Refuse(wire.CodeEnded, "that room is over")
	}
	return e
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// try asks one host. A *wire.Error is an answer, with CodeNone for "not here";
// other errors mean that there was none.
func (q *request) try(ctx context.Context) error {
	g := q.c.g
	if q.ask.Mode != wire.ModeAny {
		q.ask.After = max(q.ask.After, g.passedEpoch(q.ask.Room))
	}
	at, err := g.cfg.Directory.Resolve(ctx, q.ask)
	if err != nil {
		return wire.CodeOf(err)
	}
	h, err := g.reach(ctx, at)
	if err != nil {
		q.ask.Not = at.Node
		return err
	}
	err = q.claim(ctx, h, at)
	var e *wire.Error
	switch {
	case errors.Is(err, errLinkBroke): // the next try finds out about its host
	case errors.Is(err, errOldPlace), errors.As(err, &e) && e.Code == wire.CodeNone:
		g.cfg.Directory.Forget(at.Room, at.Epoch)
		if q.ask.Mode == wire.ModeAny {
			q.passOver(at.Room)
		} else {
			q.ask.Not, q.ask.After = at.Node, max(q.ask.After, at.Epoch)
		}
	case q.ask.Mode == wire.ModeAny && e != nil:
		q.passOver(at.Room)
	}
	return err
}

// passOver leaves a room out of the rest of a search.
func (q *request) passOver(room wire.RoomID) {
	if len(q.ask.NotRooms) < directory.MaxNotRooms {
		q.ask.NotRooms = append(q.ask.NotRooms, room)
	}
}

// reach is the link to the node of a place. A node that can't be reached is
// looked into; one that restarts in place is waited for.
func (g *Gateway) reach(ctx context.Context, at directory.Location) (*host, error) {
	l, err := g.cfg.Mesh.Link(ctx, string(at.Node), at.Addr)
	for err != nil && ctx.Err() == nil && g.restarting(at.Node) {
		select {
		case <-g.back(at):
		case <-ctx.Done():
		}
		l, err = g.cfg.Mesh.Link(ctx, string(at.Node), at.Addr)
	}
	if err != nil {
		var other *link.OtherNodeError
		if link.Refused(err) || errors.As(err, &other) {
			g.suspect(at.Node)
		}
		g.cfg.Directory.Forget(at.Room, at.Epoch)
		return nil, err
	}
	if h := g.hostOf(l); h != nil {
		return h, nil
	}
	return nil, errNoHost
}

// claim asks the room at h for the membership and waits for its answer.
func (q *request) claim(ctx context.Context, h *host, at directory.Location) error {
	answer := make(chan *wire.Error, 1)
	s := &session{
		conn: q.c, member: q.member, data: string(q.data), generation: q.generation, incarnation: q.incarnation, at: q.at,
		claim: &claim{ref: q.ref, why: q.why, answer: answer},
	}
	for {
		err := q.place(s, h, at)
		if err == nil {
			break
		}
		if !errors.Is(err, errOutstanding) {
			return err
		}
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	select {
	case e := <-answer:
		if e == nil {
			q.c.mu.Lock()
			s.counted = true
			q.c.mu.Unlock()
			return nil
		}
		q.c.drop(s)
		return e
	case <-ctx.Done():
		if s.abandon(answer) {
			return nil // the answer came first
		}
		return ctx.Err()
	}
}

// place puts the session on the room's route and sends its attach.
func (q *request) place(s *session, h *host, at directory.Location) error {
	r, err := q.c.g.lockRoute(at.Room)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	defer r.settle()
	if err := r.bind(h, at); err != nil {
		return err
	}
	s.route = r
	if e := q.c.keep(s); e != nil {
		return e
	}
	if err := r.claim(s); err != nil {
		q.c.drop(s)
		return err
	}
	return nil
}

// abandon gives a claim up. True: it was answered, with yes, before.
func (s *session) abandon(answer <-chan *wire.Error) bool {
	s.route.mu.Lock()
	defer s.route.mu.Unlock()
	if s.standing == claiming {
		s.abandoned = true
		s.conn.drop(s)
		return false
	}
	if e := <-answer; e != nil {
		s.conn.drop(s)
		return false
	}
	return true
}
