package actor

import (
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

const (
	ackEvery   = 100 * time.Millisecond // between two flushes of a room's acks
	countEvery = time.Second            // between two acks to members whose inputs did not change
	acksAtOnce = 1024                   // members in one frame
)

// acks gathers the members who are to hear how far their inputs are.
type acks struct {
	dirty   []*member
	sentAt  time.Time
	tick    uint64    // of the last flush
	counted wire.Seq  // the sequence that all members' counts were told for
	countAt time.Time // when
}

// ack has m told with the next flush.
func (r *Room) ack(m *member) {
	if !m.unacked {
		m.unacked = true
		r.acks.dirty = append(r.acks.dirty, m)
	}
}

// ride says whether acks wait for ticks, whose output takes them along: a write
// to each member's socket is most of what an ack costs.
func (r *Room) ride() bool { return r.ticker != nil && r.runs() && r.ticks.every <= ackEvery }

// next is when a flush has something to send.
func (a *acks) next(seq wire.Seq) time.Time {
	var next time.Time
	if len(a.dirty) > 0 {
		next = a.sentAt.Add(ackEvery)
	}
	if a.counted != seq {
		next = earlier(next, a.countAt.Add(countEvery))
	}
	return next
}

// Flush ends a batch of events: it sends the acks that are due, one frame a
// port, at most every 100 ms. Members hear at least once a second how many
// reliable messages were addressed to them.
func (r *Room) Flush(now time.Time) {
	if !r.begin(now) {
		return
	}
	if !r.durable && len(r.barriers) > 0 && r.runs() {
		r.runBarriers(len(r.barriers))
	}
	slack := time.Duration(0)
	if r.ride() {
		if r.acks.tick == r.ticks.ran {
			return
		}
		// The tick nearest to the time, so that its jitter does not add another.
		r.acks.tick, slack = r.ticks.ran, r.ticks.every/2
	}
	if r.acks.counted != r.seq && r.wall.Sub(r.acks.countAt) >= countEvery {
		r.countAll()
	}
	if len(r.acks.dirty) == 0 || r.wall.Sub(r.acks.sentAt) < ackEvery-slack {
		return
	}
	r.acks.sentAt = r.wall
	r.sendAcks()
}

func (r *Room) countAll() {
	for _, q := range r.portList {
		for _, m := range q.members {
			r.ack(m)
		}
	}
	r.acks.counted, r.acks.countAt = r.seq, r.wall
}

func (r *Room) sendAcks() {
	for _, q := range r.portList {
		q.acks = q.acks[:0]
	}
	for i, m := range r.acks.dirty {
		r.acks.dirty[i] = nil
		m.unacked = false
		if m.port != nil {
			r.gatherAck(m)
		}
	}
	r.acks.dirty = r.acks.dirty[:0]
	for _, q := range r.portList {
		r.sendGathered(q)
	}
}

func (r *Room) gatherAck(m *member) {
	a := peer.MemberAck{Member: m.id, Applied: m.applied, Durable: m.durableInput(), Count: m.count()}
	m.port.acks = a.Append(m.port.acks)
	if len(m.port.acks) >= acksAtOnce*ackBytes {
		r.sendGathered(m.port)
	}
}

// ackBytes is one member's part of an acks frame.
const ackBytes = 32

func (r *Room) sendGathered(q *port) {
	if len(q.acks) == 0 {
		return
	}
	q.out.Send(peer.KindAcks, peer.AppendAcksHead(r.head[:0], q.handle, r.cfg.Epoch), q.acks)
	q.acks = q.acks[:0]
}
