package actor

import (
	"bytes"
	"errors"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// busyMS is the advice to one who has to wait for a checkpoint.
const busyMS = 250

// maxGeneration bounds what a gateway may say, so that counting on from it
// can't overflow.
const maxGeneration wire.Generation = 1 << 31

// Attach binds a membership to port p: it admits a new member, or takes up one
// that is known. A member that the room does not know although it comes with a
// token joined after the checkpoint from which the room was restored: its join
// is done again, whether or not the room is locked or full, because it had its
// seat first. So a room can hold up to twice MaxMembers for a while.
func (r *Room) Attach(now time.Time, p Port, a peer.Attach) {
	if !r.begin(now) {
		return
	}
	if e := r.unfit(a); e != nil {
		r.refuse(p, a, e)
		return
	}
	if m := r.members[a.Member]; m != nil {
		r.take(p, m, a)
		return
	}
	if e := r.unseated(a); e != nil {
		r.refuse(p, a, e)
		return
	}
	r.admit(p, a)
}

func (r *Room) refuse(p Port, a peer.Attach, e *wire.Error) {
	w := peer.Who{Handle: p.Handle(), Member: a.Member, Generation: a.Generation}
	p.Send(peer.KindRefused, peer.AppendRefused(nil, w, e), nil)
}

// unfit says why an attach can't be answered by this room as it is.
func (r *Room) unfit(a peer.Attach) *wire.Error {
	switch {
	case a.Why > peer.WhyBehind || a.Member == 0 || a.Member > wire.MaxMemberID || a.Generation > maxGeneration:
		return wire.Refuse(wire.CodeBadRequest, "attach is out of range")
	case a.Why != peer.WhyJoin && a.Incarnation != r.cfg.Incarnation:
		return wire.Refuse(wire.CodeEnded, "that room is over")
	case a.At.Epoch > r.cfg.Epoch && !r.descends(a.At):
		return wire.Refuse(wire.CodeNone, "the room has a newer owner")
	case r.ending.on:
		return r.over()
	}
	return r.dismissed(a.Member)
}

// over is what a closed room answers: that it is closed only once that is
// durable.
func (r *Room) over() *wire.Error {
	if !r.ending.confirmed {
		return &wire.Error{Code: wire.CodeBusy, RetryMS: busyMS, Text: "the room is closing"}
	}
	return wire.Refuse(wire.CodeRoomClosed, r.ending.text)
}

// unseated says why one who is no member can't become one.
func (r *Room) unseated(a peer.Attach) *wire.Error {
	switch {
	case r.isPoison(Poison{Member: a.Member}):
		return wire.Refuse(wire.CodeInputFailed, "the room's code failed on this join")
	case a.Why != peer.WhyJoin && r.descends(a.At):
		// It was a member in this very history, so it has left, too long ago to
		// be among departed.
		return wire.Refuse(wire.CodeGraceOver, "the membership is over")
	}
	if e := r.taken(seatOf(a.Claims)); e != nil {
		return e
	}
	switch {
	case a.Why != peer.WhyJoin:
		return nil
	case r.locked:
		return wire.Refuse(wire.CodeRoomLocked, "the room takes no new members now")
	case len(r.members) >= r.cfg.Kind.MaxMembers:
		return wire.Refuse(wire.CodeRoomFull, "no open seat")
	case len(r.held) >= maxHeld:
		return &wire.Error{Code: wire.CodeBusy, RetryMS: busyMS, Text: "too many removals wait for the store"}
	}
	return nil
}

// admit takes in a new member, if the handler agrees. What the handler sends
// it in Join waits until Attached is out.
func (r *Room) admit(p Port, a peer.Attach) {
	r.record(Entry{
		Kind: EntryJoin, Member: a.Member, Generation: a.Generation, Instance: a.Instance, User: a.User, Data: a.Data,
		Claims: a.Claims,
	})
	m := r.newMember(a.Member, newPass(a.User, bytes.Clone(a.Claims), seatOf(a.Claims)))
	m.gen, m.instance, m.joined = a.Generation, a.Instance, r.seq
	m.delta = -int64(r.toAll)
	r.enlist(m)
	r.joiner = m
	err := r.onJoin(m, a.Data)
	waiting := r.joinerOutput
	r.joiner, r.joinerOutput = nil, nil
	if r.failure != nil {
		return
	}
	if e := r.notTaken(m, err); e != nil {
		if !m.gone {
			r.strike(m)
		}
		r.refuse(p, a, e)
		return
	}
	at := wire.Attach{How: wire.HowJoined, Seq: m.joined}
	if a.Why != peer.WhyJoin {
		at.How = wire.HowRewound
		at.From, at.To = r.undone(a.At)
	}
	r.bind(m, p)
	r.sendAttached(m, at)
	for _, frame := range waiting {
		r.sendOnly(m, frame)
	}
	r.onSync(m, true)
}

// notTaken is the answer to a join that did not succeed.
func (r *Room) notTaken(m *member, err error) *wire.Error {
	var refusal *rooms.Refusal
	switch {
	case r.ending.on:
		return r.over()
	case m.gone:
		return wire.Refuse(wire.CodeKicked, "removed by the room")
	case errors.As(err, &refusal):
		return wire.Refuse(wire.CodeRefused, refusal.Text)
	case err != nil:
		r.log.Warn("join failed", "member", m.id, "err", err)
		return wire.Refuse(wire.CodeRefused, "the room did not take the join")
	}
	return nil
}

// take binds a known member to a connection, if that one may hold it.
func (r *Room) take(p Port, m *member, a peer.Attach) {
	if e := m.astray(a); e != nil {
		r.refuse(p, a, e)
		return
	}
	gen, ok := m.nextGeneration(a)
	if !ok {
		r.refuse(p, a, wire.Refuse(wire.CodeReplaced, "a newer connection holds the membership"))
		return
	}
	if m.port != nil && (m.port.out != p || m.gen != gen) {
		r.sendLeft(m, wire.CodeReplaced, "a newer connection holds the membership")
	}
	at, missed := r.position(m, a)
	resync := at.How != wire.HowResumed
	r.record(Entry{
		Kind: EntryAttach, Member: m.id, Generation: gen, Proved: m.proved, Instance: a.Instance, Flag: resync,
		Claims: a.Claims,
	})
	r.hold(m, gen, a.Instance, a.Claims)
	r.seat(p, m, func() {
		r.sendAttached(m, at)
		if !resync {
			r.resend(m, at.Seq, missed)
		}
	}, resync)
}

// seat binds a member to p, greets it, and tells the handler.
func (r *Room) seat(p Port, m *member, greet func(), resync bool) {
	follows, wasAway := r.awaited(m), m.away != nil
	r.unbind(m)
	r.away.remove(m)
	r.bind(m, p)
	greet()
	if follows {
		r.followed(m)
	}
	if wasAway {
		r.onBack(m)
	}
	if resync && r.failure == nil {
		r.onSync(m, false)
	}
}

// nextGeneration is the generation that the attach gives the member. A token
// is good up to the one before the member's own, and older where the client
// has not been heard with any later one: the answer that held it was lost.
func (m *member) nextGeneration(a peer.Attach) (wire.Generation, bool) {
	if a.Why != peer.WhyResume {
		return max(m.gen, a.Generation), a.Generation >= m.gen
	}
	ok := a.Generation+1 >= m.gen || a.Generation >= m.proved
	m.proved = max(m.proved, a.Generation)
	return max(m.gen, a.Generation) + 1, ok
}

// hold records who holds the member now. Another client instance numbers its
// inputs anew.
func (r *Room) hold(m *member, gen wire.Generation, i wire.Instance, claims []byte) {
	if m.gen != gen || m.instance != i {
		r.dirty = true
	}
	m.gen = gen
	delete(r.gaps, m.id)
	if !bytes.Equal(m.pass.claims, claims) {
		m.pass = newPass(m.pass.user, bytes.Clone(claims), m.pass.seat)
	}
	if m.instance != i {
		m.instance, m.applied, m.durable = i, 0, 0
	}
}

// position decides where the member's output goes on from, and counts the
// messages to send again.
func (r *Room) position(m *member, a peer.Attach) (at wire.Attach, missed int) {
	at.Seq = r.seq
	switch {
	case a.Why == peer.WhyJoin:
		// The answer to the same join was lost: the client has seen nothing.
		at.How = wire.HowJoined
	case !r.descends(a.At):
		at.How = wire.HowRewound
		at.From, at.To = r.undone(a.At)
	case a.At.Seq > r.seq:
		at.How = wire.HowGap
	case max(a.At.Seq, m.joined) < r.kept.floor:
		at.How = wire.HowGap
		at.From, at.To = max(a.At.Seq, m.joined)+1, r.seq
	default:
		at.How = wire.HowResumed
		at.Seq = max(a.At.Seq, m.joined)
		missed = r.kept.addressed(m, at.Seq)
		if a.Why == peer.WhyBehind { // sent all of it, it would fall behind again; and what is latest was not kept
			at = wire.Attach{How: wire.HowGap, Seq: r.seq}
			if missed > 0 {
				at.From, at.To = max(a.At.Seq, m.joined)+1, r.seq
			}
			missed = 0
		}
	}
	at.Count = m.count() - uint64(missed)
	return at, missed
}

// undone tells which messages that a client saw were undone by the restore,
// 0, 0 where none are or it is not known.
func (r *Room) undone(at wire.Position) (from, to wire.Seq) {
	for _, o := range r.lineage.past {
		if o.epoch == at.Epoch && at.Seq > o.seq {
			return o.seq + 1, at.Seq
		}
	}
	if at.Epoch != r.base.epoch || at.Seq <= r.base.seq {
		return 0, 0
	}
	return r.base.seq + 1, at.Seq
}

func (r *Room) sendAttached(m *member, at wire.Attach) {
	at.Host, at.Epoch, at.Incarnation = r.cfg.Host, r.cfg.Epoch, r.cfg.Incarnation
	at.Applied, at.Durable = m.applied, m.durableInput()
	m.port.out.Send(peer.KindAttached, peer.AppendAttached(r.head[:0], m.who(), at), nil)
	if !r.store {
		r.tellStore(m)
	}
}

// resend tells the member what it missed after position from.
func (r *Room) resend(m *member, from wire.Seq, missed int) {
	for seq := from + 1; missed > 0 && seq <= r.seq; seq++ {
		e, payload := r.kept.get(seq)
		if !r.kept.addresses(e, m.id) {
			continue
		}
		missed--
		f := wire.Message{Type: wire.TypeMessage, Handle: m.port.handle, Seq: seq, Payload: payload}
		r.frame = f.Append(r.frame[:0])
		r.tell(m, r.frame)
	}
}
