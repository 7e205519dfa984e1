package actor

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// limbo is the port of everyone who was connected in a journal's time, where what
// it is sent was said long ago, and of those who are about to follow a move.
type limbo struct{}

func (limbo) Send(peer.Kind, []byte, []byte) {}
func (limbo) Handle() wire.Handle            { return 0 }

// maxAhead is how far a restored room's time may be ahead of its host's
// before its clock is moved: hosts' clocks differ, and rooms' never go back.
const maxAhead = time.Second

// replay does what the journal says, from the checkpoint on, and so brings the
// room to where its last owner was.
func (r *Room) replay() error {
	log := r.log
	r.log = discard()
	defer func() { r.log = log }()
	r.on, r.replaying = true, true
	if r.live {
		if err := r.startReplayed(); err != nil {
			return err
		}
	}
	r.last = r.cfg.JournalBase
	for _, b := range r.cfg.Journal {
		r.last++
		e, err := DecodeEntry(r.last, b)
		if err != nil {
			return err
		}
		if err := r.again(&e); err != nil {
			return fmt.Errorf("replay %s: %w", e, err)
		}
	}
	if !r.cfg.Offline {
		r.runTo(r.reserved)
	}
	r.replaying = false
	return r.failure
}

// startReplayed calls Start in the middle of the room's life: the handler
// rebuilds what its state does not hold, and nothing else comes of it.
func (r *Room) startReplayed() error {
	if r.ending.on {
		return nil
	}
	before, err := r.encodeState()
	if err != nil {
		return err
	}
	source := *r.source
	r.muted = true
	r.onStart(rooms.Start{Why: rooms.Replayed})
	r.muted = false
	*r.source = source
	if after, err := r.encodeState(); err != nil {
		return err
	} else if !bytes.Equal(before, after) {
		return errors.Join(r.failure, r.restoreState(before))
	}
	return r.failure
}

// runTo runs ticks until so many have run.
func (r *Room) runTo(n uint64) {
	for r.ticker != nil && r.runs() && r.ticks.run < n {
		r.runTick()
	}
}

// again does one entry.
func (r *Room) again(e *Entry) error {
	r.runTo(e.Tick)
	if r.failure != nil {
		return r.failure
	}
	if (e.Seq != r.seq || e.Tick != r.ticks.run) && r.diverged == "" {
		r.diverged = fmt.Sprintf("before %s: sequence %d at tick %d, was %d at tick %d", e, r.seq, r.ticks.run, e.Seq, e.Tick)
	}
	r.show(*e)
	r.now = e.Now
	r.wall = e.Now
	r.compactIfDue()
	switch e.Kind {
	case EntryStart:
		return r.startAgain(e)
	case EntryEpoch:
		r.takeOver(e.Epoch)
	case EntryMoved:
		r.succeedEpoch(e.Epoch)
	case EntryReserve:
		r.reserved = e.Count
	case EntryPass:
		r.passTicks(e.Count)
	case EntryClock:
		r.expire()
		r.runTimers()
	case EntryDurable:
		r.runBarriers(int(min(e.Count, rooms.MaxBarriers)))
	case EntryClose:
		r.Close(string(e.Data))
	case EntryDrop:
		r.dropAgain(e.Members)
	case EntryJoin:
		r.admit(limbo{}, peer.Attach{
			Member: e.Member, Generation: e.Generation, Instance: e.Instance, User: e.User, Data: e.Data,
			Claims: e.Claims,
		})
	default:
		return r.memberAgain(e)
	}
	return r.failure
}

func (r *Room) memberAgain(e *Entry) error {
	m := r.members[e.Member]
	if m == nil {
		if r.diverged == "" {
			r.diverged = fmt.Sprintf("%s: there is no such member", e)
		}
		return nil
	}
	switch e.Kind {
	case EntryAttach:
		r.hold(m, e.Generation, e.Instance, e.Claims)
		m.proved = e.Proved
		r.seat(limbo{}, m, func() {}, e.Flag)
	case EntryInput:
		r.applyInput(m, e.Input, e.Data)
		m.durable = m.applied
	case EntrySkip:
		m.applied = max(m.applied, e.Input)
		m.durable = m.applied
	case EntryKick:
		r.Kick(m, string(e.Data))
	case EntryLeave:
		m.applied = e.Input
		r.leave(m, e.Input, e.Flag)
	}
	return r.failure
}

// startAgain is a Start that was seen.
func (r *Room) startAgain(e *Entry) error {
	if e.Flag != (r.cfg.Saved != nil) {
		return errors.New("the checkpoint before it is not there, or should not be")
	}
	if !e.Flag {
		*r.source = *rand.NewPCG(e.Seed, seedStream)
		r.labels = e.Labels
	}
	for m := r.away.first; m != nil; m = m.away.next {
		m.away.since = e.Now
	}
	r.succeedEpoch(e.Epoch)
	r.ticks.open(r)
	r.start(e.Age)
	return r.failure
}

// takeOver is what a new owner begins with: nobody is connected any more.
func (r *Room) takeOver(epoch wire.Epoch) {
	r.succeedEpoch(epoch)
	var ids []wire.MemberID
	for _, m := range r.order {
		if !m.gone && m.port != nil {
			ids = append(ids, m.id)
		}
	}
	r.dropAgain(ids)
}

// dropAgain has members lose their connections at once.
func (r *Room) dropAgain(ids []wire.MemberID) {
	ms := make([]*member, 0, len(ids))
	for _, id := range ids {
		if m := r.members[id]; m != nil {
			ms = append(ms, m)
		}
	}
	r.setAllAway(ms)
}

// setAllAway drops members whose connections ended together.
func (r *Room) setAllAway(ms []*member) {
	for _, m := range ms {
		r.unbind(m)
		r.setAway(m)
	}
	for _, m := range ms {
		if r.runs() {
			r.onDropped(m)
		}
	}
}

// Diverged names the first event at which a replay went another way than the
// room had gone: its handler is not deterministic, or another build's. "" where
// it did not. Positions of before are then none of the room's.
func (r *Room) Diverged() string { return r.diverged }

// setClock sets the room's clock by its host's.
func (r *Room) setClock(now time.Time) {
	if ahead := r.now.Sub(now); ahead > maxAhead {
		r.shift = ahead
	}
	r.wall = r.local(now)
}

// recover makes the room this owner's after a replay.
func (r *Room) recover(now time.Time) {
	r.base = origin{r.lineage.epoch, r.seq}
	r.setClock(now)
	r.on = r.cfg.Kind.Durability.Journaled()
	r.reserved = max(r.reserved, r.ticks.run)
	if r.diverged != "" {
		r.lineage = lineage{}
		r.dirty, r.urgent = true, true
	}
	r.record(Entry{Kind: EntryEpoch, Epoch: r.cfg.Epoch})
	r.takeOver(r.cfg.Epoch)
	for i := range r.barriers {
		r.barriers[i].entry = 0 // what they wait for is in the journal
		r.barriers[i].cut = 0
	}
	if q := r.ports[Port(limbo{})]; q != nil {
		r.closePort(q)
	}
	r.acks.counted = r.seq
}
