package gateway

import (
	"encoding/binary"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// What hosts send is handled on their link's reader: nothing here waits.

func (g *Gateway) badMessage(from *link.Link, err error) {
	g.metrics.host.bad.Inc()
	g.noise.Warn().Err(err).Str("host", from.Peer()).Msg("host sent nonsense")
}

// from reports whether a link is the one that the room is behind. mu is held.
func (r *route) from(l *link.Link) bool {
	if r.host != nil && r.host.link == l {
		return true
	}
	r.g.metrics.host.link.Inc()
	return false
}

// heard locks the route that a host's message names, nil where the message is
// for nobody: the route is gone, or its room lives behind another link.
func (g *Gateway) heard(from *link.Link, h wire.Handle) *route {
	r := g.byHandle(h)
	if r == nil {
		g.metrics.host.handle.Inc()
		return nil
	}
	r.mu.Lock()
	if r.from(from) {
		return r
	}
	r.mu.Unlock()
	return nil
}

// hearing is heard for what comes often and changes nothing but sessions'
// positions, which are the reader's of the link: it locks the route for
// reading, and checks the epoch.
func (g *Gateway) hearing(from *link.Link, h wire.Handle, e wire.Epoch) *route {
	r := g.byHandle(h)
	if r == nil {
		g.metrics.host.handle.Inc()
		return nil
	}
	r.mu.RLock()
	ok := r.from(from)
	if ok && e == r.at.Epoch {
		return r
	}
	newer := ok && e > r.at.Epoch
	r.mu.RUnlock()
	if ok {
		g.metrics.host.epoch.Inc()
	}
	if newer {
		r.overtaken(from, e)
	}
	return nil
}

// overtaken is told that the room speaks at a higher epoch than its members are
// attached at.
func (r *route) overtaken(from *link.Link, e wire.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from(from) && e > r.at.Epoch {
		r.raise(e)
	}
}

func (g *Gateway) onOutput(from *link.Link, body []byte) {
	out, err := peer.DecodeOutput(body)
	if err != nil || len(out.Frame) == 0 || out.Audience > peer.ToAllBut {
		g.badMessage(from, err)
		return
	}
	if r := g.hearing(from, out.Handle, out.Epoch); r != nil {
		r.fanOut(&out)
		h := r.host
		r.mu.RUnlock()
		h.fallBehind(r)
	}
}

// fanOut hands one frame to every member that an output addresses. mu is held
// for reading.
func (r *route) fanOut(out *peer.Output) {
	f := frameOf(out.Frame)
	seq, reliable := seqIn(out.Frame)
	n := 0
	to := func(s *session) {
		switch {
		case !r.host.post(s.conn, f):
			r.host.slow = append(r.host.slow, s)
			return
		case reliable:
			s.at = wire.Position{Epoch: out.Epoch, Seq: seq}
		}
		n++
	}
	switch out.Audience {
	case peer.ToOnly:
		for i := range out.Listed() {
			if s := r.hearer(out.Member(i)); s != nil {
				to(s)
			}
		}
	case peer.ToAllBut:
		for _, s := range r.live {
			if !lists(out, s.member) {
				to(s)
			}
		}
	default:
		for _, s := range r.live {
			to(s)
		}
	}
	r.g.countOut(f, n)
	f.release()
}

// hearer is the session of a member that hears the room, nil where there is none.
// mu is held, for reading at least.
func (r *route) hearer(m wire.MemberID) *session {
	if s := r.seats[m].holder; s != nil && s.standing == live {
		return s
	}
	return nil
}

func lists(out *peer.Output, m wire.MemberID) bool {
	for i := range out.Listed() {
		if out.Member(i) == m {
			return true
		}
	}
	return false
}

func (g *Gateway) onAcks(from *link.Link, body []byte) {
	if len(body) < 12 {
		g.badMessage(from, wire.ErrShort)
		return
	}
	r := g.hearing(from, wire.Handle(binary.BigEndian.Uint32(body)), wire.Epoch(binary.BigEndian.Uint64(body[4:])))
	if r == nil {
		return
	}
	defer r.mu.RUnlock()
	err := peer.DecodeAcks(body, func(_ wire.Handle, _ wire.Epoch, a peer.MemberAck) {
		if s := r.hearer(a.Member); s != nil {
			r.host.postOwn(s.conn, ackFrame(wire.Ack{Handle: r.handle, Applied: a.Applied, Durable: a.Durable, Count: a.Count}))
		}
	})
	if err != nil {
		g.badMessage(from, err)
	}
}

// holder finds the session that a message is for, in the generation that it
// names. mu is held.
func (r *route) holder(w peer.Who) *session {
	s := r.seats[w.Member].holder
	if s == nil || s.generation != w.Generation {
		r.g.metrics.host.member.Inc()
		return nil
	}
	return s
}

func (g *Gateway) onTell(from *link.Link, body []byte) {
	w, msg, err := peer.DecodeTell(body)
	if err != nil || len(msg) == 0 {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, w.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	s := r.holder(w)
	if s == nil || s != r.hearer(w.Member) {
		return
	}
	if seq, ok := seqIn(msg); ok {
		s.at.Seq = seq
	}
	r.host.postOwn(s.conn, frameOf(msg))
}

func (g *Gateway) onLeft(from *link.Link, body []byte) {
	w, code, text, err := peer.DecodeLeft(body)
	if err != nil {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, w.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	s := r.holder(w)
	if s == nil {
		return
	}
	r.end(s, code, text)
	at := r.seats[w.Member]
	at.holder = nil
	r.setSeat(w.Member, at)
	r.settle()
}

func (g *Gateway) onGone(from *link.Link, body []byte) {
	f, err := peer.DecodeGone(body)
	if err != nil {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, f.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	if f.Epoch < r.at.Epoch {
		g.metrics.host.epoch.Inc()
		return
	}
	r.at.Epoch = f.Epoch
	g.cfg.Directory.Forget(r.room, f.Epoch)
	if f.Code == wire.CodeNone {
		r.lose(true)
		return
	}
	r.endAll(f.Code, f.Text)
	r.settle()
}

// onMoved learns where a room went. What follows it on the link, a Gone or a
// Refused, sends the members there.
func (g *Gateway) onMoved(from *link.Link, body []byte) {
	f, err := peer.DecodeMoved(body)
	if err == nil && f.Next > f.Epoch {
		_, err = directory.ParseNodeID(f.Node)
	}
	if err != nil || f.Next <= f.Epoch {
		g.badMessage(from, err)
		return
	}
	r := g.heard(from, f.Handle)
	if r == nil {
		return
	}
	defer r.mu.Unlock()
	if f.Epoch >= r.at.Epoch {
		g.cfg.Directory.Learn(directory.Location{
			Room: r.room, Node: directory.NodeID(f.Node), Addr: f.Addr, Epoch: f.Next, Incarnation: f.Incarnation,
		})
	}
}
