package actor

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Port is where a gateway's output goes: one handle on one link. Ports are
// compared with ==. Send never blocks and copies head and tail.
type Port interface {
	Send(kind peer.Kind, head, tail []byte)
	Handle() wire.Handle
}

// Config makes a room.
type Config struct {
	Kind        rooms.Kind // as Kind.Checked returned it
	Room        wire.RoomID
	Incarnation wire.Incarnation
	Epoch       wire.Epoch
	Host        string
	Log         *slog.Logger      // nil: nothing is logged
	Seed        uint64            // of the random source of a created room
	Saved       []byte            // the checkpoint's body; nil: the room is created
	Labels      map[string]string // of a created room
	Age         time.Duration     // how old Saved is
	Poisoned    []Poison          // inputs to pass over, from Room.Poisoned of copies that failed

	StateVersion uint32 // of Saved's state
	// Writes is in which version the state is encoded: the kind's, or the one
	// before it for a handler that is a rooms.Downgrader; nil: the kind's.
	Writes      func() uint32
	Journal     [][]byte // what happened after Saved
	JournalBase uint64   // the number of the entry before the first
	// Offline leaves the room where the journal ends: no new epoch, and no
	// ticks that were only promised.
	Offline bool
	// Trace, where set, is shown every entry and tick before it takes effect,
	// of a replay and then of what is recorded.
	Trace   func(Entry, *Room)
	Baggage []byte // of Room.Pack, where the room moves here live
	Calls   Calls  // nil: nobody watches
}

// Room is one room. As a rooms.Room it is what its handler sees.
type Room struct {
	// Static after New.
	cfg Config
	log *slog.Logger
	game
	base origin
	lineage

	// Where the room is.
	now      time.Time // the handler's
	wall     time.Time // the host's; now follows it, but where events are recorded
	depth    int       // of handler calls under way
	failure  error
	blame    Poison // what the call under way, or the last one, is for
	ending   ending
	live     bool // restored to the middle of its life
	blamed   bool // blame is set
	dirty    bool
	fresh    bool // nothing was encoded yet: what Start changed is not known
	starting bool // Start runs: what its state becomes is in fresh
	urgent   bool
	changed  bool // what Listing tells
	store    bool // durable acks run

	// Checkpointed, beside the handler's state.
	seq      wire.Seq
	members  map[wire.MemberID]*member
	order    []*member // as they joined; may hold members that are gone
	holes    int       // how many of those
	source   *rand.PCG
	rng      *rand.Rand
	timers   []timer // the next one first
	firing   []timer // due, about to run; empty between events
	labels   map[string]string
	locked   bool
	private  bool
	durable  bool // checkpoints are made: not Durability None; static after New
	kicked   ring[kickedID]
	departed ring[departedID]
	poison   []Poison

	output
	acks
	ticks
	saving
	journal
	barriers []barrier
	away     awayList
	gaps     map[wire.MemberID]gap // of members whose inputs have gaps; nil before the first
	quiet    time.Time             // when members who have not followed a move count as dropped, zero: none
	unseen   unseen
}

// origin is what a restored room's epoch started from.
type origin struct {
	epoch wire.Epoch // that wrote the checkpoint, 0 in a created room
	seq   wire.Seq   // of the checkpoint
}

// ending is how the room's handler closed it.
type ending struct {
	text      string
	on        bool
	confirmed bool // gateways were told
}

// New starts a room: it restores the state, if there is one, and calls Start.
// An error means that the room can't run: its state does not load, or its
// handler panicked.
func New(cfg Config, now time.Time) (*Room, error) {
	r, err := Prepare(cfg, now)
	if err == nil {
		err = r.Begin(cfg.Epoch, now)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Prepare makes a room that does not run: all of its state is restored, and
// its handler has not been called. Begin follows.
func Prepare(cfg Config, now time.Time) (*Room, error) {
	r := &Room{
		cfg:     cfg,
		durable: cfg.Kind.Durability.Interval() > 0,
		log:     cfg.Log,
		now:     now,
		wall:    now,
		members: map[wire.MemberID]*member{},
		source:  rand.NewPCG(cfg.Seed, seedStream),
		changed: true,
		store:   true,
		fresh:   true,
	}
	if r.log == nil {
		r.log = discard()
	}
	r.trace = cfg.Trace
	r.digest.Reset()
	r.rng = rand.New(r.source)
	r.kicked.limit, r.departed.limit = maxKicked, maxDeparted
	r.output.open(r)
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("start room %s: %w", cfg.Room, err)
	}
	r.dirty = false // it is as it was saved
	return r, nil
}

// Begin starts a prepared room in an epoch. An error means that its handler
// panicked. The room keeps nothing of what it was made from.
func (r *Room) Begin(epoch wire.Epoch, now time.Time) error {
	r.cfg.Epoch = epoch
	if r.cfg.Baggage != nil && !r.live && now.After(r.now) {
		r.now = now
	}
	if err := r.begins(now); err != nil {
		return fmt.Errorf("start room %s: %w", r.cfg.Room, err)
	}
	r.cfg.Saved, r.cfg.Baggage, r.cfg.Journal = nil, nil, nil // a room would hold its state twice
	return nil
}

// seedStream is the second half of every room's seed.
const seedStream = 0x6c696d706574

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// begins starts the room anew, or goes on where its journal ends.
func (r *Room) begins(now time.Time) error {
	if r.live && r.cfg.Baggage != nil {
		return r.carryOn(now)
	}
	if r.live || len(r.cfg.Journal) > 0 {
		if err := r.replay(); err != nil {
			return err
		}
		if !r.cfg.Offline {
			r.recover(now)
		}
		return r.failure
	}
	r.on, r.last = r.cfg.Kind.Durability.Journaled() && !r.cfg.Offline, r.cfg.JournalBase
	r.setClock(now)
	e := Entry{Kind: EntryStart, Flag: r.cfg.Saved != nil, Age: r.cfg.Age, Seed: r.cfg.Seed, Epoch: r.cfg.Epoch}
	if r.cfg.Saved == nil {
		e.Labels = r.labels
	}
	r.record(e)
	if r.cfg.Baggage == nil { // a move leaves graces as they are
		for m := r.away.first; m != nil; m = m.away.next {
			m.away.since = r.now
		}
	}
	r.succeedEpoch(r.cfg.Epoch)
	r.ticks.open(r)
	r.await()
	r.start(r.cfg.Age)
	return r.failure
}

// load makes the handler and restores what was saved.
func (r *Room) load() error {
	if err := r.game.make(r.cfg.Kind); err != nil {
		return err
	}
	if r.cfg.Saved == nil {
		r.labels = maps.Clone(r.cfg.Labels)
	} else {
		if err := r.restore(r.cfg.Saved); err != nil {
			return fmt.Errorf("restore checkpoint: %w", err)
		}
	}
	if r.cfg.Baggage != nil {
		if err := r.unpack(r.cfg.Baggage); err != nil {
			return fmt.Errorf("take up a moved room: %w", err)
		}
	}
	for _, p := range r.cfg.Poisoned {
		r.addPoison(p)
		r.urgent = r.durable
	}
	return nil
}

func (r *Room) start(age time.Duration) {
	if r.ending.on {
		return
	}
	why := rooms.Start{Why: rooms.Created}
	if r.cfg.Saved != nil {
		why = rooms.Start{Why: rooms.Restored, Age: age}
	}
	if r.cfg.Baggage != nil {
		why = rooms.Start{Why: rooms.Moved}
	}
	r.onStart(why)
	r.runTimers()
}

// begin starts an event. False: the room has failed and does nothing any more.
func (r *Room) begin(now time.Time) bool {
	if now = r.local(now); now.After(r.wall) {
		r.wall = now
	}
	if !r.on && r.wall.After(r.now) {
		r.now = r.wall
	}
	r.compactIfDue()
	return r.failure == nil
}

func (r *Room) compactIfDue() {
	if r.holes > 16 && r.holes*2 > len(r.order) {
		r.compact()
	}
}

// compact takes the members that are gone out of order.
func (r *Room) compact() {
	kept := r.order[:0]
	for _, m := range r.order {
		if !m.gone {
			kept = append(kept, m)
		}
	}
	clear(r.order[len(kept):])
	r.order, r.holes = kept, 0
}

// runs says whether handlers may still be called with new events.
func (r *Room) runs() bool { return r.failure == nil && !r.ending.on }

// Next is when Tick or Flush wants to be called next, zero where no time but
// only an event can bring something about.
func (r *Room) Next() time.Time {
	if r.failure != nil {
		return time.Time{}
	}
	if r.ending.on {
		return r.hosts(r.acks.next(r.seq))
	}
	var next time.Time
	if !r.ride() {
		next = r.acks.next(r.seq)
	}
	next = earlier(earlier(next, r.quiet), r.ticks.next(r))
	if !r.on || r.ticker == nil { // else graces end at ticks
		next = earlier(next, r.away.next(r.cfg.Kind.Grace))
	}
	return r.hosts(next)
}

// hosts is a time of the room on its host's clock, zero where it is never.
func (r *Room) hosts(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-r.shift)
}

// earlier is the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Ended tells whether the handler closed the room. Its members hear of it when
// a cut made after the close is Saved, in a kind without checkpoints at once.
func (r *Room) Ended() (code wire.Code, text string, ended bool) {
	if !r.ending.on {
		return wire.CodeNone, "", false
	}
	return wire.CodeRoomClosed, r.ending.text, true
}

// Stop calls the handler's Stop, before the room is unloaded.
func (r *Room) Stop(now time.Time) {
	if r.begin(now) && r.runs() {
		r.onStop()
	}
	r.stopped = true
}

// Listing is what the room says of itself in lists.
type Listing struct {
	Members, Max int
	Labels       map[string]string // not to be changed
	Open         bool              // searches may send new members
	Changed      bool              // since the last call of Room.Listing
}

// Listing tells what lists show of the room.
func (r *Room) Listing() Listing {
	l := Listing{
		Members: len(r.members),
		Max:     r.cfg.Kind.MaxMembers,
		Labels:  r.labels,
		Changed: r.changed,
	}
	l.Open = r.Matches() && l.Members < l.Max
	r.changed = false
	return l
}

// Matches reports whether searches may send members here while there are seats.
func (r *Room) Matches() bool { return !r.locked && !r.private && r.runs() }

// Kind is the first part of the room's id.
func (r *Room) Kind() string { return r.cfg.Room.Kind() }

// Name is the second part of the room's id.
func (r *Room) Name() string { return r.cfg.Room.Name() }

// Now is the time of the event being handled.
func (r *Room) Now() time.Time { return r.now }

// Rand is the room's random source.
func (r *Room) Rand() *rand.Rand { return r.rng }

// Log writes to the host's log.
func (r *Room) Log() *slog.Logger { return r.log }

// Labels are the room's labels.
func (r *Room) Labels() map[string]string { return maps.Clone(r.labels) }

// SetLabels replaces the room's labels, but for the pool where it names none.
func (r *Room) SetLabels(labels map[string]string) {
	labels = maps.Clone(labels)
	if pool, ok := r.labels[wire.PoolLabel]; ok && labels[wire.PoolLabel] == "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[wire.PoolLabel] = pool
	}
	if err := wire.CheckLabels(labels); err != nil {
		panic(err)
	}
	if r.muted || maps.Equal(r.labels, labels) {
		return
	}
	r.labels = labels
	r.changed, r.dirty = true, true
}

// SetLocked says whether the room takes new members.
func (r *Room) SetLocked(locked bool) {
	if r.locked != locked && !r.muted {
		r.locked, r.changed, r.dirty = locked, true, true
	}
}

// SetPrivate says whether the room is kept out of searches and lists.
func (r *Room) SetPrivate(private bool) {
	if r.private != private && !r.muted {
		r.private, r.changed, r.dirty = private, true, true
	}
}

var _ rooms.Room = (*Room)(nil)
