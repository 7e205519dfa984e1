package snapshot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/wire"
)

// Answers of a Writer beside the store's own.
var (
	// ErrSuperseded: a newer save of the same room took this one's place
	// before it was stored. It may have reached the store all the same.
	ErrSuperseded = errors.New("superseded by a newer save")
	// ErrQueueFull: the writer holds as much as it may. Try again later.
	ErrQueueFull = errors.New("checkpoint queue is full")
	// ErrWriterStopped: the writer's Run has ended. Whether the save reached
	// the store is not known.
	ErrWriterStopped = errors.New("checkpoint writer has stopped")
)

// WriterConfig sets up a Writer. Zero fields take the defaults.
type WriterConfig struct {
	Store Store

	MaxRooms   int           // rooms with a save that is not stored; default 20,000
	MaxBytes   int           // bytes of those saves, also of those being sent; default 128 MiB
	BatchRooms int           // rooms in a call of Store.Save; default 64
	BatchBytes int           // bytes in a call, unless one save alone is bigger; default 4 MiB
	InFlight   int           // calls at a time; default 4
	Timeout    time.Duration // of a call; default 2 s
	Gather     time.Duration // for which a save that is in no hurry waits for others, to go in one call; default 0

	// Patience is how long a save may be tried without an answer until the
	// store is said not to run; default 1 s.
	Patience time.Duration
	// OnState is told when the store stops running and when it runs again, in
	// order and by one goroutine. It must not block.
	OnState func(running bool)

	Log     zerolog.Logger
	Metrics prometheus.Registerer
}

func (c *WriterConfig) defaults() {
	setDefault(&c.MaxRooms, 20_000)
	setDefault(&c.MaxBytes, 128<<20)
	setDefault(&c.BatchRooms, 64)
	setDefault(&c.BatchBytes, 4<<20)
	setDefault(&c.InFlight, 4)
	setDefault(&c.Timeout, 2*time.Second)
	setDefault(&c.Patience, time.Second)
	if c.OnState == nil {
		c.OnState = func(bool) {}
	}
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Writer stores checkpoints in the background: it keeps the newest save of
// each room, sends them in batches, and tries again while the store fails.
// Its methods may be called concurrently.
type Writer struct {
	cfg  WriterConfig
	m    writerMetrics
	wake chan struct{} // holds one token: there may be something to do

	mu      sync.Mutex
	rooms   map[wire.RoomID]*entry
	ready   chain     // that may be sent, oldest first
	due     time.Time // of ready's next batch
	resting restHeap  // of *entry that wait for their next try
	owed    chain     // tried since owedSince without an answer, oldest first
	bytes   int
	batches int       // in flight
	landed  []*flight // that are not
	failed  int       // calls that failed in a row
	pause   time.Time // no call before this, after one failed
	stopped bool
	idle    chan struct{} // closed when no room is left; nil unless a Drain waits

	down bool // what OnState was told last; owned by Run
}

// NewWriter allocates a writer; Run makes it work.
func NewWriter(cfg WriterConfig) *Writer {
	cfg.defaults()
	return &Writer{
		cfg:   cfg,
		m:     newWriterMetrics(cfg.Metrics),
		wake:  make(chan struct{}, 1),
		rooms: make(map[wire.RoomID]*entry),
		ready: chain{which: inReady}, owed: chain{which: inOwed},
	}
}

// Submit hands over a save, with its data, and never blocks. done is called
// once: with nil when it is stored, with an error of Store.Save for single
// rooms, or ErrSuperseded, ErrQueueFull or ErrWriterStopped. It is called by a
// goroutine of the writer or, for an answer that is known at once, by the
// submitter's; it must not block. The data is the submitter's again then.
//
// A save older than the room's queued one, by epoch and then seq, is itself
// the superseded one. A queue that is full keeps what it has.
func (w *Writer) Submit(req SaveRequest, done func(SaveRequest, error)) {
	w.submit(req, done, 0)
}

// SubmitLater is Submit for a save that can wait for others, for the time that
// the writer gathers.
func (w *Writer) SubmitLater(req SaveRequest, done func(SaveRequest, error)) {
	w.submit(req, done, w.cfg.Gather)
}

func (w *Writer) submit(req SaveRequest, done func(SaveRequest, error), wait time.Duration) {
	s := saves.Get().(*save)
	s.req, s.done, s.at = req, done, time.Now()
	loser, wake, err := w.enqueue(s, s.at.Add(wait))
	if loser != nil {
		w.m.answer(err)
		loser.tell(err)
	}
	if wake {
		w.nudge()
	}
}

// enqueue takes s in, to be sent when it is due, or names the save that loses: s
// itself or the one that it replaced. wake says that Run has to look.
func (w *Writer) enqueue(s *save, due time.Time) (loser *save, wake bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.measure()
	if w.stopped {
		return s, false, ErrWriterStopped
	}
	e := w.rooms[s.req.Claim.Room]
	if e == nil {
		if len(w.rooms) >= w.cfg.MaxRooms || w.bytes+s.size() > w.cfg.MaxBytes {
			return s, false, ErrQueueFull
		}
		e = entries.Get().(*entry)
		e.room, e.next, e.resting = s.req.Claim.Room, s, -1
		w.rooms[e.room] = e
		w.bytes += s.size()
		w.makeReady(e)
		return nil, w.hurry(due), nil
	}
	if s.olderThan(e.next) || s.olderThan(e.sent) {
		return s, false, ErrSuperseded
	}
	old := e.next
	grown := w.bytes + s.size() - old.size()
	if grown > w.cfg.MaxBytes && s.size() > old.size() {
		return s, false, ErrQueueFull
	}
	e.next, w.bytes = s, grown
	return old, w.hurry(due), ErrSuperseded
}

// makeReady lines e up; mu is held.
func (w *Writer) makeReady(e *entry) {
	if w.ready.n == 0 {
		w.due = time.Time{}
	}
	w.ready.pushBack(e)
}

// hurry has what is ready sent at due, unless that is sooner anyway, and says
// whether Run has to be told: of a time that is new, or a batch that is full; mu
// is held.
func (w *Writer) hurry(due time.Time) (wake bool) {
	if wake = w.due.IsZero() || due.Before(w.due); wake {
		w.due = due
	}
	return wake || w.ready.n == w.cfg.BatchRooms
}

// Drain waits until all that is queued has been answered, or ctx is done: then
// it says how many rooms are left, which stay queued. Run must be running.
func (w *Writer) Drain(ctx context.Context) error {
	for {
		w.mu.Lock()
		left := len(w.rooms)
		if left > 0 && w.idle == nil {
			w.idle = make(chan struct{})
		}
		idle := w.idle
		w.hurry(time.Now())
		w.mu.Unlock()
		if left == 0 {
			return nil
		}
		w.nudge()
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("drain checkpoints: %d rooms left: %w", left, context.Cause(ctx))
		}
	}
}

// Queued is how many rooms have a save that is not stored, and their bytes.
func (w *Writer) Queued() (rooms, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rooms), w.bytes
}

func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// measure sets the gauges. The caller holds mu.
func (w *Writer) measure() {
	w.m.rooms.Set(float64(len(w.rooms)))
	w.m.bytes.Set(float64(w.bytes))
}
