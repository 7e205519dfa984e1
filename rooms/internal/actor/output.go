package actor

import (
	"encoding/binary"
	"math/bits"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// output is what the room needs to send.
type output struct {
	ports    map[Port]*port
	portList []*port // in the order in which they came, so that runs repeat
	kept     outlog  // for resumes
	all      everyone
	toAll    uint64 // reliable messages to all, less what each member's delta says
	stamp    uint64 // of the audience marked last
	oversize uint64 // messages dropped for their size

	// A member that is being joined, and what was sent to it meanwhile.
	joiner       *member
	joinerOutput [][]byte

	// Scratch, reused by every message.
	frame   []byte // the client frame
	head    []byte // the peer frame's head
	scratch []byte // small client frames for one member
	ids     []wire.MemberID
}

func (o *output) open(r *Room) {
	o.ports = map[Port]*port{}
	o.all.r = r
	o.kept = newOutlog(r.cfg.Kind.ResumeMessages, r.cfg.Kind.ResumeBytes)
	o.head = make([]byte, 0, 128)
	o.scratch = make([]byte, 0, 64)
}

// target is who gets a message: everyone, everyone but one, or some.
type target struct {
	aud  peer.Audience
	one  *member   // ToAllBut: not it; ToOnly: only it, unless some is set
	some []*member // ToOnly
}

// everyone is All().
type everyone struct{ r *Room }

// allBut is AllBut of a member. It is the member's own record, so that making
// one costs nothing.
type allBut member

// only is Only of several members.
type only struct {
	r  *Room
	ms []*member
}

// All is every member.
func (r *Room) All() rooms.Audience { return &r.all }

// AllBut is every member but m.
func (r *Room) AllBut(m rooms.Member) rooms.Audience {
	if own := r.own(m); own != nil {
		return (*allBut)(own)
	}
	return &r.all
}

// Only is the members given. It allocates unless it is one.
func (r *Room) Only(ms ...rooms.Member) rooms.Audience {
	if len(ms) == 1 {
		if own := r.own(ms[0]); own != nil {
			return own
		}
	}
	a := &only{r: r, ms: make([]*member, 0, len(ms))}
	for _, m := range ms {
		if own := r.own(m); own != nil {
			a.ms = append(a.ms, own)
		}
	}
	return a
}

func (a *everyone) target() target { return target{aud: peer.ToAll} }
func (a *allBut) target() target   { return target{aud: peer.ToAllBut, one: (*member)(a)} }
func (a *only) target() target     { return target{aud: peer.ToOnly, some: a.ms} }
func (m *member) target() target   { return target{aud: peer.ToOnly, one: m} }

func (a *everyone) Send(p []byte)               { a.r.send(wire.TypeMessage, 0, a.target(), p) }
func (a *everyone) Latest(key uint32, p []byte) { a.r.send(wire.TypeLatest, key, a.target(), p) }
func (a *everyone) Ephemeral(p []byte)          { a.r.send(wire.TypeEphemeral, 0, a.target(), p) }

func (a *allBut) Send(p []byte)               { a.room.send(wire.TypeMessage, 0, a.target(), p) }
func (a *allBut) Latest(key uint32, p []byte) { a.room.send(wire.TypeLatest, key, a.target(), p) }
func (a *allBut) Ephemeral(p []byte)          { a.room.send(wire.TypeEphemeral, 0, a.target(), p) }

func (a *only) Send(p []byte)               { a.r.send(wire.TypeMessage, 0, a.target(), p) }
func (a *only) Latest(key uint32, p []byte) { a.r.send(wire.TypeLatest, key, a.target(), p) }
func (a *only) Ephemeral(p []byte)          { a.r.send(wire.TypeEphemeral, 0, a.target(), p) }

// Send is reliable.
func (m *member) Send(p []byte) { m.room.send(wire.TypeMessage, 0, m.target(), p) }

// Latest replaces an unsent message with the same key.
func (m *member) Latest(key uint32, p []byte) { m.room.send(wire.TypeLatest, key, m.target(), p) }

// Ephemeral is dropped where there is no room for it.
func (m *member) Ephemeral(p []byte) { m.room.send(wire.TypeEphemeral, 0, m.target(), p) }

// send numbers and logs a reliable message, and sends any once to each port
// with members in its audience.
func (r *Room) send(typ wire.Type, key uint32, to target, payload []byte) {
	if len(payload) > wire.MaxPayload {
		r.refuseSize(len(payload))
		return
	}
	if r.muted {
		return
	}
	r.mark(to)
	if to.aud == peer.ToOnly && len(r.ids) == 0 {
		return
	}
	f := wire.Message{Type: typ, Key: key, Payload: payload}
	if typ == wire.TypeMessage {
		r.seq++
		r.dirty = true
		f.Seq = r.seq
		r.tally(to)
		r.kept.add(to.aud, r.ids, payload)
		if r.trace != nil {
			r.digest.Write(payload)
		}
	}
	r.frame = f.Append(r.frame[:0])
	if typ == wire.TypeLatest && !r.quiet.IsZero() {
		r.unseen.add(key, to.aud, r.ids, payload)
	}
	r.fanOut(to)
	if j := r.joiner; j != nil && (to.aud == peer.ToAll || (j.stamp == r.stamp) == (to.aud == peer.ToOnly)) {
		r.joinerOutput = append(r.joinerOutput, append([]byte(nil), r.frame...))
	}
}

// refuseSize reports a message that no client would take, at ever longer
// distances.
func (r *Room) refuseSize(n int) {
	r.oversize++
	if bits.OnesCount64(r.oversize) == 1 {
		r.log.Error("message dropped: above the size limit", "bytes", n, "limit", wire.MaxPayload, "dropped", r.oversize)
	}
}

// Oversize is how many messages were dropped because they were above
// wire.MaxPayload.
func (r *Room) Oversize() uint64 { return r.oversize }

// mark stamps the members that the target names and lists them in r.ids, each
// once and none that is gone.
func (r *Room) mark(to target) {
	r.stamp++
	r.ids = r.ids[:0]
	if to.one != nil {
		r.markOne(to.one)
	}
	for _, m := range to.some {
		r.markOne(m)
	}
}

func (r *Room) markOne(m *member) {
	if !m.gone && m.stamp != r.stamp {
		m.stamp = r.stamp
		r.ids = append(r.ids, m.id)
	}
}

// tally counts a reliable message for those who are addressed.
func (r *Room) tally(to target) {
	if to.aud == peer.ToAll {
		r.toAll++
		return
	}
	by := int64(1)
	if to.aud == peer.ToAllBut {
		r.toAll++
		by = -1
	}
	if to.one != nil {
		to.one.delta += by
		return
	}
	for _, id := range r.ids {
		r.members[id].delta += by
	}
}

// fanOut sends r.frame to each port with members in the audience, in the
// shortest form that says who they are.
func (r *Room) fanOut(to target) {
	switch {
	case to.aud == peer.ToOnly && to.one != nil:
		if q := to.one.port; q != nil {
			q.picked = append(q.picked[:0], to.one.id)
			r.sendPicked(q)
		}
	case to.aud == peer.ToOnly:
		r.fanOutSome(to.some)
	default:
		for _, q := range r.portList {
			r.sendAllBut(q, to.one)
		}
	}
}

// fanOutSome sends to the stamped members among ms. Each is stamped back, so
// that one listed twice is picked once.
func (r *Room) fanOutSome(ms []*member) {
	for _, q := range r.portList {
		q.picked = q.picked[:0]
	}
	for _, id := range r.ids {
		if q := r.members[id].port; q != nil {
			q.picked = append(q.picked, id)
		}
	}
	for _, q := range r.portList {
		if len(q.picked) > 0 {
			r.sendPicked(q)
		}
	}
}

// sendAllBut sends to q's members but not to one, if there are any.
func (r *Room) sendAllBut(q *port, one *member) {
	n := len(q.members)
	out := one != nil && one.port == q
	if out {
		n--
	}
	if n == 0 {
		return
	}
	if !out && len(q.ghosts) == 0 {
		r.sendFrame(q, peer.ToAll, nil)
		return
	}
	q.picked = append(q.picked[:0], q.ghosts...)
	if out {
		q.picked = append(q.picked, one.id)
	}
	r.sendFrame(q, peer.ToAllBut, q.picked)
}

// sendPicked sends to the members picked, all of whom are stamped.
func (r *Room) sendPicked(q *port) {
	others := len(q.members) - len(q.picked) + len(q.ghosts)
	switch {
	case others == 0:
		r.sendFrame(q, peer.ToAll, nil)
	case len(q.picked) <= others:
		r.sendFrame(q, peer.ToOnly, q.picked)
	default:
		q.picked = append(q.picked[:0], q.ghosts...)
		for _, m := range q.members {
			if m.stamp != r.stamp {
				q.picked = append(q.picked, m.id)
			}
		}
		r.sendFrame(q, peer.ToAllBut, q.picked)
	}
}

// sendFrame sends r.frame with q's handle in it.
func (r *Room) sendFrame(q *port, aud peer.Audience, listed []wire.MemberID) {
	binary.BigEndian.PutUint32(r.frame[1:], uint32(q.handle))
	r.head = peer.AppendOutputHead(r.head[:0], q.handle, r.cfg.Epoch, aud, listed)
	q.out.Send(peer.KindOutput, r.head, r.frame)
}

// sendOnly sends a client frame to one member as output.
func (r *Room) sendOnly(m *member, frame []byte) {
	if m.port == nil {
		return
	}
	r.frame = append(r.frame[:0], frame...)
	r.mark(m.target())
	m.port.picked = append(m.port.picked[:0], m.id)
	r.sendPicked(m.port)
}
