package gateway

import (
	"errors"
	"sync"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Why a route can't do what was asked. All are followed by another try.
var (
	errNoHost      = errors.New("the room's host is being found")
	errOldPlace    = errors.New("the room has moved on from there")
	errOutstanding = errors.New("another attach of the member waits for its answer")
)

// errLinkBroke answers a claim whose link broke: it proves nothing about the
// room.
var errLinkBroke = &wire.Error{Code: wire.CodeNone, Text: "the link to the room's host broke"}

// route is a room with members behind this gateway. It lives as long as it has
// seats. Its handle names it on sockets and links alike, so that what the room
// sends can be written as it came.
type route struct {
	// Static.
	g      *Gateway
	room   wire.RoomID
	handle wire.Handle

	// Nobody holds the mu of two routes. Under it one of Gateway.mu, host.mu,
	// conn.mu and outbox.mu may be taken, or a link's lock, and under those none of
	// these. Who holds it for reading changes nothing, but for the reader of the
	// host's link, which moves the positions of live sessions.
	mu      sync.RWMutex
	retired bool               // no longer in the gateway's maps; the rest is guarded by mu
	host    *host              // nil: being found
	at      directory.Location // the last place; its epoch is the highest accepted
	passed  wire.Epoch         // the highest epoch known to be over
	seats   map[wire.MemberID]seat
	live    []*session // the sessions that get what the room sends
	away    int        // holders that are homeless
	since   time.Time  // since when there are such; zero: none
	behind  int        // holders that are late
	finding bool       // a finder runs
}

// seat is who holds a membership here, and who claims it.
type seat struct{ holder, claim *session }

func (r *route) setSeat(m wire.MemberID, s seat) {
	if s == (seat{}) {
		delete(r.seats, m)
		return
	}
	r.seats[m] = s
}

// stand changes how a holder stands. mu is held.
func (r *route) stand(s *session, to standing) {
	from := s.standing
	if from == to {
		return
	}
	s.standing = to
	switch {
	case to == live:
		s.index = int32(len(r.live))
		r.live = append(r.live, s)
	case from == live:
		last := int32(len(r.live) - 1)
		r.live[s.index] = r.live[last]
		r.live[s.index].index = s.index
		r.live[last] = nil
		r.live = r.live[:last]
	}
	tended := r.waited()
	r.countAway(from, to)
	r.countBehind(from, to)
	if r.waited() != tended {
		r.g.tend(r, !tended)
	}
}

// waited reports whether a holder is to be attached again. mu is held.
func (r *route) waited() bool { return r.away+r.behind > 0 }

func (r *route) countAway(from, to standing) {
	switch was, is := from.homeless(), to.homeless(); {
	case is && !was:
		if r.away++; r.away == 1 {
			r.since = time.Now()
			r.g.metrics.finding.Inc()
		}
	case was && !is:
		if r.away--; r.away == 0 {
			if to == live {
				r.g.metrics.findTime.Observe(time.Since(r.since).Seconds())
			}
			r.since = time.Time{}
			r.g.metrics.finding.Dec()
		}
	}
}

func (r *route) countBehind(from, to standing) {
	switch was, is := from.late(), to.late(); {
	case is && !was:
		r.behind++
	case was && !is:
		r.behind--
	}
}

// bind learns that the room lives at a place, over h's link. Sessions that were
// attached elsewhere are attached there. mu is held.
func (r *route) bind(h *host, at directory.Location) error {
	switch {
	case at.Epoch < r.at.Epoch, at.Epoch <= r.passed:
		return errOldPlace
	case r.host != nil && at.Epoch == r.at.Epoch:
		return nil // a second link to the same process, at most
	}
	if r.host != h {
		if !h.add(r) {
			return errNoHost
		}
		r.unbind()
		r.host = h
	}
	r.at = at
	for _, s := range r.seats {
		if s.holder != nil {
			r.stand(s.holder, s.holder.standing.again())
		}
	}
	r.reattach(time.Now())
	return nil
}

// unbind leaves the host, if there is one. mu is held.
func (r *route) unbind() {
	if r.host == nil {
		return
	}
	r.host.remove(r)
	r.host.link.Send(peer.KindRelease, peer.AppendRelease(nil, r.handle), nil)
	r.host = nil
}

// lose is told that the room's host is gone, or that the room lives there no
// longer: then its epoch is over. Members wait for the next host; claims are
// answered, since their requests look for it themselves. mu is held.
func (r *route) lose(epochOver bool) {
	if epochOver {
		r.passed = max(r.passed, r.at.Epoch)
	}
	last, verdict := r.host, errLinkBroke
	if epochOver {
		verdict = wire.Refuse(wire.CodeNone, "the room lives there no longer")
	}
	r.unbind()
	for m, s := range r.seats {
		if c := s.claim; c != nil {
			s.claim = nil
			r.setSeat(m, s)
			r.answer(c, verdict)
		}
		if s.holder != nil {
			r.stand(s.holder, s.holder.standing.again())
		}
	}
	r.settle()
	if !r.retired && !r.finding {
		r.finding = r.g.find(r, last)
	}
}

// reattach asks the room to take up the sessions that wait for it. mu is held.
func (r *route) reattach(now time.Time) {
	for _, s := range r.seats {
		h := s.holder
		if h == nil || s.claim != nil || !h.due(now) {
			continue
		}
		why, next := peer.WhyReattach, asked
		if h.standing.late() {
			why, next = peer.WhyBehind, catching
		}
		if err := r.sendAttach(h, why); err != nil {
			return // the link is full or gone: the sweep or the next host
		}
		h.troubled().askedAt = now
		r.stand(h, next)
	}
}

// due reports whether a holder is to be attached again now. route.mu is held.
func (s *session) due(now time.Time) bool {
	switch {
	case now.Before(s.troubles().notBefore):
		return false
	case s.standing == behind:
		return s.caughtUp()
	case s.standing.asking():
		return now.Sub(s.troubles().askedAt) > s.conn.g.limits.Reattach
	}
	return s.standing == lost
}

func (r *route) sendAttach(s *session, why peer.Why) error {
	if r.host == nil {
		return errNoHost
	}
	var scratch [512]byte
	return r.host.link.Send(peer.KindAttach, s.attach(why).Append(scratch[:0]), nil)
}

// claim asks the room to take a new session. mu is held.
func (r *route) claim(s *session) error {
	if r.host == nil {
		return errNoHost
	}
	at := r.seats[s.member]
	if at.claim != nil || at.holder != nil && at.holder.standing.asking() {
		return errOutstanding
	}
	switch err := r.sendAttach(s, s.claim.why); {
	case errors.Is(err, link.ErrFull):
		return &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "the way to the room is full"}
	case err != nil:
		return errNoHost
	}
	at.claim = s
	r.setSeat(s.member, at)
	return nil
}

// answer ends a claim. mu is held.
func (r *route) answer(s *session, e *wire.Error) {
	s.standing = over
	s.claim.answer <- e
	s.claim = nil
}

// end ends a membership at its connection. mu is held, and the caller sees to
// the seat.
func (r *route) end(s *session, code wire.Code, text string) {
	r.stand(s, over)
	s.conn.drop(s)
	s.conn.sendNow(encode(wire.Left{Handle: r.handle, Code: code, Text: text}))
	r.g.metrics.sessions.Dec()
}

// endAll ends every membership. mu is held.
func (r *route) endAll(code wire.Code, text string) {
	for m, s := range r.seats {
		if s.holder != nil {
			r.end(s.holder, code, text)
			s.holder = nil
		}
		if s.claim != nil {
			r.answer(s.claim, wire.Refuse(code, text))
			s.claim = nil
		}
		r.setSeat(m, s)
	}
}

// raise is told of a higher epoch of the room on the same link: what was
// attached at the lower one is attached again. Attaches that wait for their
// answer get it at the higher one; asked twice, the room would tell twice what
// a member missed. mu is held.
func (r *route) raise(e wire.Epoch) {
	r.passed = max(r.passed, r.at.Epoch)
	r.at.Epoch = e
	for _, s := range r.seats {
		if s.holder != nil && s.holder.standing == live {
			r.stand(s.holder, lost)
		}
	}
	r.reattach(time.Now())
	r.g.cfg.Directory.Learn(r.at)
}

// settle retires a route without seats. mu is held.
func (r *route) settle() {
	if len(r.seats) > 0 || r.retired {
		return
	}
	r.unbind()
	r.retired = true
	r.g.retire(r)
}

// detach tells the room that a session is gone. It is told of every one: a
// session that waits to be attached again may be attached there still, and where
// it is not, a host ignores it. mu is held.
func (r *route) detach(s *session) {
	if r.host != nil {
		r.host.link.Send(peer.KindDetach, peer.AppendDetach(nil, s.who()), nil)
	}
}

// leave takes a session away whose connection ended.
func (r *route) leave(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.standing == over {
		return
	}
	at := r.seats[s.member]
	if at.claim == s {
		s.abandoned = true // its answer, with its generation, is still to come
		return
	}
	r.detach(s)
	r.stand(s, over)
	r.g.metrics.sessions.Dec()
	at.holder = nil
	r.setSeat(s.member, at)
	r.settle()
}
