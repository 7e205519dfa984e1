package actor

import (
	"time"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// port is the room's side of a Port.
type port struct {
	out     Port
	handle  wire.Handle
	members []*member       // connected through it
	ghosts  []wire.MemberID // removed, but not told yet: they get nothing more
	picked  []wire.MemberID // of the audience being sent to
	acks    []byte          // of the flush under way
}

// bind connects m through p.
func (r *Room) bind(m *member, p Port) {
	q := r.ports[p]
	if q == nil {
		q = &port{out: p, handle: p.Handle()}
		r.ports[p] = q
		r.portList = append(r.portList, q)
	}
	m.port, m.slot = q, int32(len(q.members))
	q.members = append(q.members, m)
}

// unbind disconnects m.
func (r *Room) unbind(m *member) {
	q := m.port
	if q == nil {
		return
	}
	last := len(q.members) - 1
	q.members[m.slot] = q.members[last]
	q.members[m.slot].slot = m.slot
	q.members[last] = nil
	q.members = q.members[:last]
	m.port = nil
}

// closePort forgets q and what was held for it.
func (r *Room) closePort(q *port) {
	delete(r.ports, q.out)
	for i, o := range r.portList {
		if o == q {
			r.portList = append(r.portList[:i], r.portList[i+1:]...)
			break
		}
	}
	kept := r.held[:0]
	for _, h := range r.held {
		if h.port != q {
			kept = append(kept, h)
		}
	}
	r.held = kept
}

// who addresses m through its port.
func (m *member) who() peer.Who {
	return peer.Who{Handle: m.port.handle, Member: m.id, Generation: m.gen}
}

// tell sends a client frame to m alone.
func (r *Room) tell(m *member, frame []byte) {
	m.port.out.Send(peer.KindTell, peer.AppendTell(r.head[:0], m.who()), frame)
}

func (r *Room) tellStore(m *member) {
	r.tell(m, wire.Store{Handle: m.port.handle, Running: r.store}.Append(r.scratch[:0]))
}

func (r *Room) sendLeft(m *member, code wire.Code, text string) {
	if m.port != nil {
		m.port.out.Send(peer.KindLeft, peer.AppendLeft(r.head[:0], m.who(), code, text), nil)
	}
}

// StoreRunning tells members that durable acks run or pause.
func (r *Room) StoreRunning(now time.Time, running bool) {
	if !r.begin(now) || r.store == running || !r.durable {
		return
	}
	r.store = running
	for _, q := range r.portList {
		for _, m := range q.members {
			r.tellStore(m)
		}
	}
}
