package gateway

import (
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func (g *Gateway) onAttached(from *link.Link, body []byte) {
	w, facts, err := peer.DecodeAttached(body)
	if err != nil {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, w.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	if facts.Epoch > r.at.Epoch {
		r.raise(facts.Epoch)
	} else if facts.Epoch < r.at.Epoch {
		g.metrics.host.epoch.Inc()
		return
	}
	r.attached(w, facts)
	r.settle()
}

// attached gives the seat to whom the room has taken up. mu is held.
func (r *route) attached(w peer.Who, facts wire.Attach) {
	at := r.seats[w.Member]
	s := at.claim
	if s != nil {
		at.claim = nil
		r.setSeat(w.Member, at)
	} else if s = at.holder; s != nil && s.generation != w.Generation {
		s = nil
	}
	if s == nil || s.abandoned {
		// Nobody is here for it any more: the member's grace begins.
		r.g.metrics.host.member.Inc()
		r.host.link.Send(peer.KindDetach, peer.AppendDetach(nil, w), nil)
		return
	}
	claimed := s.standing == claiming
	if old := at.holder; claimed && old != nil {
		r.end(old, wire.CodeReplaced, "a newer connection holds the membership")
	}
	at.holder = s
	r.setSeat(w.Member, at)
	s.generation, s.incarnation = w.Generation, facts.Incarnation
	s.at = wire.Position{Epoch: facts.Epoch, Seq: facts.Seq}
	r.stand(s, live)
	r.tellAttached(s, facts, claimed)
}

func (r *route) tellAttached(s *session, facts wire.Attach, claimed bool) {
	token := s.token(time.Now())
	if !claimed {
		r.host.postOwn(s.conn, encode(wire.Attached{Handle: r.handle, Attach: facts, Token: token}))
		return
	}
	r.g.metrics.sessions.Inc()
	claim := s.claim
	s.claim = nil
	claim.answer <- nil
	r.host.postOwn(s.conn, encode(wire.Joined{
		Ref: claim.ref, Handle: r.handle, Kind: r.room.Kind(), Name: r.room.Name(), Member: s.member,
		Attach: facts, Token: token,
	}))
}

func (g *Gateway) onRefused(from *link.Link, body []byte) {
	w, e, err := peer.DecodeRefused(body)
	if err != nil {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, w.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	r.refused(w, e)
	r.settle()
}

// refused answers a claim, or decides what becomes of a member that the room
// did not take up again. mu is held.
func (r *route) refused(w peer.Who, e *wire.Error) {
	at := r.seats[w.Member]
	s := at.claim
	switch {
	case s != nil && s.generation == w.Generation:
		at.claim = nil
		r.setSeat(w.Member, at)
		r.answer(s, e)
	case at.holder != nil && at.holder.standing.asking() && at.holder.generation == w.Generation:
		s = at.holder
	default:
		r.g.metrics.host.member.Inc()
		return
	}
	switch {
	case e.Code == wire.CodeNone:
		r.g.cfg.Directory.Forget(r.room, r.at.Epoch)
		r.lose(true)
	case s != at.holder:
	case transient(e.Code):
		s.troubled().notBefore = time.Now().Add(time.Duration(max(e.RetryMS, 100)) * time.Millisecond)
		r.stand(s, s.standing.again()) // the sweep asks again
	case e.Code == wire.CodeBadRequest && s.standing == catching:
		// An older host, which does not know WhyBehind.
		r.stand(s, lost)
		r.reattach(time.Now())
	default:
		r.detach(s) // it may have been attached until now
		r.end(s, e.Code, e.Text)
		at.holder = nil
		r.setSeat(w.Member, at)
	}
}

// transient tells codes that say nothing about the membership.
func transient(c wire.Code) bool {
	switch c {
	case wire.CodeBusy, wire.CodeUnavailable, wire.CodeTimeout, wire.CodeKindUnavailable, wire.CodeRateLimited:
		return true
	}
	return false
}
