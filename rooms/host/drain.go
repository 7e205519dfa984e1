package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// maxPauses is how many pauses of moved rooms a drain, or a rebalancing, keeps
// for its percentiles; later ones are not counted in.
const maxPauses = 100_000

// DrainOptions say how a host is emptied. Zero options take their defaults.
type DrainOptions struct {
	Deadline time.Duration // then what is left stays, and the drain has failed; default 5 min
	Rate     float64       // rooms a second at most; default 200
	AtOnce   int           // rooms under way at a time, at most; default 8
	Pause    time.Duration // that rooms should not stand still for longer than: fewer move at a time then; default 25 ms
	Patience time.Duration // how long rooms' code may put a move off; default half the deadline, at most 30 s
	// Lonely has the drain give up where no host has taken a room for so long;
	// 0: it waits for one until the deadline.
	Lonely time.Duration
}

func (o *DrainOptions) setDefaults() {
	setDefault(&o.Deadline, 5*time.Minute)
	setDefault(&o.AtOnce, 8)
	setDefault(&o.Pause, 25*time.Millisecond)
	setDefault(&o.Patience, min(o.Deadline/2, 30*time.Second))
	if o.Rate <= 0 {
		o.Rate = 200
	}
}

// The states of a drain.
const (
	DrainNone      = "serving"   // there is none
	DrainRunning   = "draining"  // rooms move away
	DrainDone      = "drained"   // no room is left, and none is taken
	DrainCancelled = "cancelled" // the host serves again
	DrainFailed    = "failed"    // rooms are left and stay; none is taken
)

// DrainStatus is how far a drain is. Times are in seconds.
type DrainStatus struct {
	Host     string    `json:"host"`
	State    string    `json:"state"`
	Error    string    `json:"error,omitempty"`
	Total    int       `json:"total"` // rooms that were here at its start, or came since
	Left     int       `json:"left"`
	Moved    int       `json:"moved"`
	Failures int       `json:"failures"` // attempts that left the room here
	Elapsed  float64   `json:"elapsed"`
	Deadline float64   `json:"deadline"` // from the start
	Rate     float64   `json:"rate"`     // rooms a second so far
	ETA      float64   `json:"eta"`      // at that rate; -1: not known
	Pause    Pauses    `json:"pause_ms"`
	Waits    string    `json:"waits,omitempty"` // for what all rooms wait
	Blockers []Blocker `json:"blockers"`        // the first of those that could not be moved yet
}

// Pauses are how long rooms stood still, in milliseconds.
type Pauses struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Blocker is a room that could not be moved yet.
type Blocker struct {
	Room  wire.RoomID `json:"room"`
	Tries int         `json:"tries"`
	Error string      `json:"error"`
}

const (
	maxBlockers  = 20
	drainPoll    = 50 * time.Millisecond
	blockedPause = 250 * time.Millisecond // between two tries of one room
)

// drains is the host's drain, if there is one.
type drains struct {
	on      atomic.Bool   // no new rooms
	changed chan struct{} // capacity 1: on has changed
	mu      sync.Mutex
	d       *drain // the last one; guarded by mu
}

// drain is one emptying of the host.
type drain struct {
	host   *Host
	opts   DrainOptions
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{}
	waits  atomic.Bool // for the store

	mu       sync.Mutex
	state    string // guarded by mu, as all below
	err      error
	ended    time.Time
	total    int
	moved    int
	failures int
	lastOK   time.Time
	pauses   []time.Duration
	blocked  map[wire.RoomID]*blocker
}

type blocker struct {
	Blocker
	again time.Time
	busy  bool
}

// set is heard by gossip at once.
func (ds *drains) set(on bool) {
	ds.on.Store(on)
	select {
	case ds.changed <- struct{}{}:
	default:
	}
}

// Draining reports whether the host takes no new rooms.
func (h *Host) Draining() bool { return h.drains.on.Load() }

// errDrains: there is one already.
var errDrains = wire.Refuse(wire.CodeBusy, "the host drains already")

// StartDrain takes the host out of placement at once and moves its rooms away
// in the background, unless they fit nowhere. DrainState tells how it goes.
func (h *Host) StartDrain(ctx context.Context, opts DrainOptions) (Plan, error) {
	plan, err := h.Plan(ctx)
	if err != nil {
		return plan, err
	}
	if !plan.Fits {
		return plan, wire.Refuse(wire.CodeUnavailable, fmt.Sprintf("the rooms don't fit elsewhere: %d of %d have no place", len(plan.Unplaced), plan.Rooms))
	}
	_, err = h.beginDrain(opts)
	return plan, err
}

func (h *Host) beginDrain(opts DrainOptions) (*drain, error) {
	opts.setDefaults()
	h.mu.RLock()
	ctx := h.ctx
	h.mu.RUnlock()
	if ctx == nil {
		return nil, wire.Refuse(wire.CodeUnavailable, "host is not running")
	}
	ds := &h.drains
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.d != nil && !isDone(ds.d.done) {
		return nil, errDrains
	}
	ds.set(true)
	ctx, cancel := context.WithTimeout(ctx, opts.Deadline)
	now := time.Now()
	d := &drain{host: h, opts: opts, began: now, lastOK: now, cancel: cancel, done: make(chan struct{}),
		state: DrainRunning, total: h.Load().Rooms, blocked: map[wire.RoomID]*blocker{}}
	ds.d = d
	h.log.Info().Int("rooms", d.total).Dur("deadline", opts.Deadline).Msg("host drains")
	h.running.Go(func() { d.run(ctx) })
	return d, nil
}

// CancelDrain has the host serve again. What is on its way arrives; what has
// gone stays gone.
func (h *Host) CancelDrain() error {
	ds := &h.drains
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.d == nil || !ds.on.Load() {
		return wire.Refuse(wire.CodeBadRequest, "the host does not drain")
	}
	ds.d.cancel()
	<-ds.d.done
	ds.d.mu.Lock()
	ds.d.state, ds.d.err = DrainCancelled, nil
	ds.d.mu.Unlock()
	ds.set(false)
	h.log.Info().Msg("drain cancelled, the host serves again")
	return nil
}

// DrainState tells how the last drain goes or went.
func (h *Host) DrainState() DrainStatus {
	h.drains.mu.Lock()
	d := h.drains.d
	h.drains.mu.Unlock()
	if d == nil {
		return DrainStatus{Host: string(h.cfg.Node), State: DrainNone, Left: h.Load().Rooms, ETA: -1, Blockers: []Blocker{}}
	}
	return d.status()
}

// run moves rooms away until none is left or ctx ends.
func (d *drain) run(ctx context.Context) {
	defer close(d.done)
	defer d.cancel()
	var moving sync.WaitGroup
	err := d.moveAll(ctx, &moving)
	moving.Wait()
	if d.host.Load().Rooms == 0 {
		err = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = time.Now()
	if d.state, d.err = DrainDone, err; err != nil {
		d.state = DrainFailed
	}
	d.host.log.Info().AnErr("cause", err).Str("state", d.state).Int("moved", d.moved).Dur("took", d.ended.Sub(d.began)).Msg("drain is over")
}

var (
	errDeadline = errors.New("the deadline has passed")
	errNoStore  = errors.New("the deadline has passed while the store did not answer")
	errLonely   = errors.New("no other host takes rooms")
)

func (d *drain) moveAll(ctx context.Context, moving *sync.WaitGroup) error {
	pace := newPace(d.opts, time.Now())
	for {
		if d.awaitStore(ctx); ctx.Err() != nil && d.host.storeAway() {
			return errNoStore
		}
		due := d.due(time.Now())
		for _, r := range due {
			if !pace.start(ctx, d.host.Load().Rooms) {
				return errDeadline
			}
			moving.Go(func() {
				began := time.Now()
				stood := d.move(ctx, r)
				pace.ended(began, stood, d.host.Load().Rooms)
			})
		}
		switch {
		case ctx.Err() != nil:
			return errDeadline
		case d.host.Load().Rooms == 0:
			return nil
		case d.lonely():
			return errLonely
		case len(due) == 0:
			sleep(ctx, drainPoll)
		}
	}
}

// awaitStore waits while the store does not answer: no claim can change hands.
func (d *drain) awaitStore(ctx context.Context) {
	if !d.host.storeAway() {
		return
	}
	d.host.log.Warn().Msg("drain waits: the store does not answer")
	d.waits.Store(true)
	defer d.waits.Store(false)
	for d.host.storeAway() && d.host.Load().Rooms > 0 && ctx.Err() == nil {
		sleep(ctx, drainPoll)
	}
	d.mu.Lock()
	d.lastOK = time.Now()
	d.mu.Unlock()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (d *drain) lonely() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opts.Lonely > 0 && time.Since(d.lastOK) > d.opts.Lonely
}

// due are the rooms to try now. They count as busy until move is done.
func (d *drain) due(now time.Time) []*room {
	all := d.host.all()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total = max(d.total, d.moved+len(all))
	var due []*room
	for _, r := range all {
		b := d.blocked[r.id]
		if r.over.Load() || b != nil && (b.busy || now.Before(b.again)) {
			continue
		}
		if b == nil {
			b = &blocker{Blocker: Blocker{Room: r.id}}
			d.blocked[r.id] = b
		}
		b.busy = true
		due = append(due, r)
	}
	return due
}

// move tries one room once, and reports for how long that stood still; 0: it has
// not moved.
func (d *drain) move(ctx context.Context, r *room) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	patience := max(0, d.opts.Patience-time.Since(d.began))
	m, err := d.host.moveSomewhere(ctx, r, patience)
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.blocked[r.id]
	if err == nil || r.over.Load() {
		delete(d.blocked, r.id)
		d.moved++
		d.lastOK = time.Now()
		if err == nil && len(d.pauses) < maxPauses {
			d.pauses = append(d.pauses, m.Pause)
		}
		return m.Pause
	}
	if b != nil {
		b.busy, b.Tries, b.Error = false, b.Tries+1, err.Error()
		b.again = time.Now().Add(blockedPause)
	}
	if errors.Is(err, errNotReady) {
		d.lastOK = time.Now() // it waits for nobody else
	}
	d.failures++
	return 0
}

// moveTries are hosts that may turn one room down in a row.
const moveTries = 3

// moveSomewhere moves a room to the first of some hosts that takes it.
func (h *Host) moveSomewhere(ctx context.Context, r *room, patience time.Duration) (m Moved, err error) {
	if h.cfg.Place == nil {
		return m, errors.New("this host knows no others")
	}
	tried := map[directory.NodeID]bool{h.cfg.Node: true}
	for range moveTries {
		n, none := h.cfg.Place(r.want(), func(id directory.NodeID) bool { return tried[id] })
		if none != nil {
			return m, errors.Join(err, none)
		}
		tried[n.ID] = true
		if m, err = h.move(ctx, r.id, n.ID, n.Link, patience, causeDrain); err == nil || errors.Is(err, errNotReady) || r.over.Load() {
			return m, err
		}
		err = fmt.Errorf("to %s: %w", n.ID.Name(), err)
	}
	return m, err
}
