package host

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/rooms/internal/actor"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// load makes a copy from what a claim brought.
func (h *Host) load(k rooms.Kind, g grant) (*room, error) {
	if g.Damage != nil {
		return nil, g.Damage
	}
	if g.Data == nil {
		return h.newRoom(k, g, copyOf{journal: g.Journal, made: g.made})
	}
	head, state, err := snapshot.Decode(g.Data, k.Name, 0)
	if err != nil {
		return nil, err
	}
	if head.Incarnation != g.Claim.Incarnation {
		return nil, fmt.Errorf("checkpoint is of incarnation %d, want %d", head.Incarnation, g.Claim.Incarnation)
	}
	at, body, err := openState(state)
	if err != nil {
		return nil, err
	}
	return h.newRoom(k, g, copyOf{
		body: body, age: max(0, time.Since(at)), seq: head.Seq, version: head.StateVersion, journal: g.Journal,
	})
}

// copyOf is what a copy starts from.
type copyOf struct {
	body    []byte // nil: nothing was saved
	age     time.Duration
	seq     uint64 // of its saves
	version uint32 // of its state
	baggage []byte // of a live copy that it follows
	journal snapshot.Journal
	made    *directory.Made // of a room that is created
}

// labels are those that a room is created with.
func (from *copyOf) labels() map[string]string {
	if from.made == nil {
		return nil
	}
	return from.made.Labels
}

// newRoom makes a copy that does not run yet: it decodes the state and calls
// the handler's Start.
func (h *Host) newRoom(k rooms.Kind, g grant, from copyOf) (*room, error) {
	now := time.Now()
	p, err := h.prepare(k, g.Claim, from, now)
	if err != nil {
		return nil, err
	}
	return h.start(k, g, p, from, now)
}

// prepared is a room whose code has not run yet, and what its calls tell.
type prepared struct {
	actor *actor.Room
	calls *pulse
}

// prepare decodes a room's state. Its code has not run yet.
func (h *Host) prepare(k rooms.Kind, c snapshot.Claim, from copyOf, now time.Time) (p prepared, err error) {
	defer recovered(&err)
	p.calls = &pulse{}
	p.actor, err = actor.Prepare(actor.Config{
		Kind: k, Room: c.Room, Incarnation: c.Incarnation, Epoch: c.Epoch, Labels: from.labels(),
		Host: string(h.cfg.Node), Log: slog.New(zerolog.NewSlogHandler(h.log.Hook(tag{room: c.Room}))), Seed: seed(),
		Saved: from.body, Age: from.age, Baggage: from.baggage, Poisoned: h.faults.poisoned(c.Room),
		StateVersion: from.version, Writes: func() uint32 { return h.versions.writes(k) }, Journal: from.journal.Entries, JournalBase: from.journal.Base,
		Calls: p.calls,
	}, now)
	return p, err
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	}
}

// start makes a copy of a prepared room: it calls the handler's Start.
func (h *Host) start(k rooms.Kind, g grant, p prepared, from copyOf, now time.Time) (r *room, err error) {
	defer recovered(&err)
	a := p.actor
	p.calls.slot, p.calls.actor = h.cfg.Isolated.Take(string(g.Claim.Room)), a
	p.calls.slot.RunsHere()
	defer func() {
		if r == nil {
			p.calls.leave()
		}
	}()
	if err := a.Begin(g.Claim.Epoch, now); err != nil {
		return nil, err
	}
	r = &room{
		host: h, id: g.Claim.Room, kind: k, claim: g.Claim, holder: g.holder,
		metrics: h.metrics.kinds[k.Name],
		box:     newMailbox(k.Mailbox, h.cfg.MailboxBytes, k.MaxMembers),
		done:    make(chan struct{}),
		ports:   map[*port]struct{}{},
		began:   now, actor: a, calls: p.calls, measures: a.Measures(),
	}
	r.tenure = newTenure(r, from)
	if from.made != nil {
		r.by = from.made.By
	}
	r.save = saving{seq: from.seq, due: now.Add(spread(r.id, k.Durability.Interval()))}
	if why := a.Diverged(); why != "" {
		r.metrics.diverged.Inc()
		r.log().Error().Str("at", why).Msg("replay went another way than the room had gone: " +
			"its code is not deterministic, or another build's; members are told of a rewind")
	}
	if k.Durability.Journaled() {
		r.journal.tail = &tail{claim: r.claim, wake: r.box.wake}
		r.journal.tail.stored.Store(from.journal.Last())
		r.journal.entries = len(from.journal.Entries)
	}
	r.timer = h.cfg.Alarms.New() // the first step arms it
	return r, nil
}

// tag says in log lines which room they are of. A context of zerolog's would take
// half a KiB for that, in each room.
type tag struct {
	room  wire.RoomID
	epoch wire.Epoch // 0: not said
}

// Run is zerolog.Hook's.
func (t tag) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str("room", string(t.room))
	if t.epoch != 0 {
		e.Uint64("epoch", uint64(t.epoch))
	}
}

// log is where the host says what becomes of this copy. Its lines are few, so that
// it is not kept.
func (r *room) log() *zerolog.Logger {
	l := r.host.log.Hook(tag{r.id, r.claim.Epoch})
	return &l
}

func seed() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

var spreadSeed = maphash.MakeSeed()

// spread is a room's place in an interval, so that rooms that start together
// don't save together.
func spread(id wire.RoomID, interval time.Duration) time.Duration {
	if interval <= 0 {
		return 0
	}
	return time.Duration(maphash.String(spreadSeed, string(id)) % uint64(interval))
}

// The state in a checkpoint's envelope is
//
//	u64 when it was encoded, Unix milliseconds | the room's own encoding

// sealState appends the time and a room's encoding.
func sealState(b []byte, now time.Time, body []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(now.UnixMilli())), body...)
}

func openState(state []byte) (at time.Time, body []byte, err error) {
	if len(state) < 8 {
		return at, nil, errors.New("checkpoint's state is truncated")
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(state))), state[8:], nil
}
