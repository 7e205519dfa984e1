package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-games/limpet/internal/fault"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

const (
	arriveWithin = 5 * time.Second        // to send all of a room
	askStore     = 2 * time.Second        // without an order, until the store is asked whose the room is
	askAgain     = 100 * time.Millisecond // the store, after no answer
	arriveMost   = time.Minute            // with no order and no answer of the store, until the copy is dropped
)

// arrival is a room that moves here. Its own goroutine decides what becomes of
// it; as a flight it holds up whoever asks for the room meanwhile.
type arrival struct {
	arriveCall
	kind   rooms.Kind
	from   source
	flight *flight

	parts  sync.Mutex // parts come one after the other, but maybe from more than one call
	data   []byte     // guarded by parts
	ready  prepared
	holder snapshot.Holder

	whole  chan struct{} // closed when the copy is prepared: ready and holder are set
	orders chan order
	over   chan struct{} // closed when it is decided: ran is set
	ran    bool          // the copy runs, or did
}

// source is the link that a room comes over.
type source interface{ Done() <-chan struct{} }

// order is the source's word on a prepared copy: begin at an epoch, or 0:
// forget it.
type order struct {
	epoch wire.Epoch
	got   chan error // capacity 1
}

// maxDecided is how many arrivals that are decided are remembered; the oldest
// goes first.
const maxDecided = 4096

// arrivals are the rooms that move here now, and what became of those before.
type arrivals struct {
	mu      sync.Mutex
	all     map[snapshot.Nonce]*arrival // guarded by mu
	bytes   int                         // of all; guarded by mu
	decided map[snapshot.Nonce]bool     // whether the copy ran; guarded by mu
	oldest  []snapshot.Nonce            // of decided, oldest first; guarded by mu
}

func newArrivals() *arrivals {
	return &arrivals{all: map[snapshot.Nonce]*arrival{}, decided: map[snapshot.Nonce]bool{}}
}

var errNoArrival = wire.Refuse(wire.CodeNoRoom, "no such room is on its way here")

// order passes the source's word on and waits for what came of it. A word that
// comes after the decision hears what that was. To forget what is not known is
// done.
func (as *arrivals) order(ctx context.Context, n snapshot.Nonce, o order) error {
	as.mu.Lock()
	a := as.all[n]
	ran, decided := as.decided[n]
	as.mu.Unlock()
	switch {
	case decided:
		return o.verdict(ran, "decided before")
	case a == nil && o.epoch == 0:
		return nil
	case a == nil:
		return errNoArrival
	}
	o.got = make(chan error, 1)
	select {
	case a.orders <- o:
		return <-o.got
	case <-a.over:
		return o.verdict(a.ran, "decided before")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verdict is what the source hears to its order. Only a refusal to begin proves
// that the copy will never run: then the source may take the room back.
func (o order) verdict(ran bool, how string) error {
	switch {
	case o.epoch == 0 && ran:
		return wire.Refuse(wire.CodeRoomExists, "the room's copy was started already")
	case o.epoch == 0 || ran:
		return nil
	}
	return wire.Refuse(codeNotStarted, "the room's copy was not started: "+how)
}

// codeNotStarted is the target's own no. Other codes, of the link say, tell
// nothing about the copy.
const codeNotStarted = wire.CodeRefused

// end takes an arrival out that is decided.
func (as *arrivals) end(a *arrival) {
	as.mu.Lock()
	defer as.mu.Unlock()
	n := snapshot.Nonce(a.Nonce)
	delete(as.all, n)
	as.bytes -= a.Size
	if len(as.oldest) >= maxDecided {
		delete(as.decided, as.oldest[0])
		as.oldest = as.oldest[1:]
	}
	as.decided[n] = a.ran
	as.oldest = append(as.oldest, n)
}

// arrive takes one part of a room.
func (h *Host) arrive(ctx context.Context, from source, body []byte) ([]byte, error) {
	var c arriveCall
	err := decodeCall(body, &c)
	if err == nil {
		if bad := c.check(); bad != nil {
			err = wire.Refuse(wire.CodeBadRequest, "room that moves here: "+bad.Error())
		}
	}
	if err != nil {
		return nil, err
	}
	a, err := h.expect(c, from)
	if err != nil {
		return nil, err
	}
	return a.take(h, c)
}

// expect finds the arrival of a part; the first part makes it.
func (h *Host) expect(c arriveCall, from source) (*arrival, error) {
	as, n := h.arrivals, snapshot.Nonce(c.Nonce)
	h.mu.Lock()
	defer h.mu.Unlock()
	as.mu.Lock()
	defer as.mu.Unlock()
	if a := as.all[n]; a != nil {
		return a, nil
	}
	k, err := h.admit(c.Room, wire.ModeJoin)
	switch {
	case err != nil:
		return nil, err
	case c.Off != 0:
		return nil, errNoArrival
	case h.live[c.Room] != nil || h.flights[c.Room] != nil:
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 200, Text: "the room lives or starts here"}
	case len(as.all) >= h.cfg.MaxArrivals || as.bytes+c.Size > h.cfg.ArrivalBytes:
		return nil, &wire.Error{Code: wire.CodeBusy, RetryMS: 100, Text: "too many rooms move here at once"}
	}
	a := &arrival{
		arriveCall: c, kind: k, from: from, holder: h.lease.current(),
		// No asker has this mode: whoever waits for the flight looks anew.
		flight: &flight{id: c.Room, kind: k, mode: wire.ModeAny, done: make(chan struct{})},
		data:   make([]byte, 0, c.Size),
		whole:  make(chan struct{}), orders: make(chan order), over: make(chan struct{}),
	}
	a.arriveCall.Data = nil
	as.all[n], as.bytes = a, as.bytes+c.Size
	h.flights[c.Room] = a.flight
	ctx := h.ctx
	h.running.Go(func() { h.settleArrival(ctx, a) })
	return a, nil
}

// take adds a part; the last one has the copy prepared.
func (a *arrival) take(h *Host, c arriveCall) ([]byte, error) {
	a.parts.Lock()
	defer a.parts.Unlock()
	if c.Off != len(a.data) || c.Size != a.Size || c.Room != a.Room {
		return nil, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("part of room %s at %d: %d have come", c.Room, c.Off, len(a.data)))
	}
	if a.data = append(a.data, c.Data...); len(a.data) < a.Size {
		return nil, nil
	}
	from := copyOf{
		body: a.data[:a.Body], baggage: a.data[a.Body:], seq: a.Saves, version: a.kind.StateVersion,
		journal: snapshot.Journal{Base: a.Journal},
	}
	if a.State != nil {
		from.version = *a.State
	}
	ready, err := h.prepare(a.kind, a.claim(), from, time.Now())
	if err != nil {
		h.log.Error().Err(err).Str("room", string(a.Room)).Msg("room that moves here does not load")
		return nil, wire.Refuse(wire.CodeRefused, "the room's state does not load: "+err.Error())
	}
	fault.Point("arrive.prepared")
	a.ready, a.data = ready, nil
	close(a.whole)
	return encodeCall(arriveReply{Holder: a.holder}), nil
}

// settleArrival waits for the source's word; without it the store's decides.
func (h *Host) settleArrival(ctx context.Context, a *arrival) {
	result, got := h.decide(ctx, a)
	h.metrics.arrived.WithLabelValues(result).Inc()
	if a.ran = result == "begun" || result == "found"; !a.ran {
		a.flight.err = &wire.Error{Code: wire.CodeUnavailable, RetryMS: 100, Text: "the room did not move here"}
	}
	h.arrivals.end(a)
	h.land(a.flight)
	close(a.over)
	if got.got != nil {
		got.got <- got.verdict(a.ran, result)
	}
}

// decide ends with a copy that runs, or with none. The order that it followed
// is to be answered.
func (h *Host) decide(ctx context.Context, a *arrival) (result string, o order) {
	late := time.NewTimer(arriveWithin)
	defer late.Stop()
	select {
	case <-a.whole:
	case o := <-a.orders:
		return h.obey(a, o), o
	case <-a.from.Done():
	case <-late.C:
	case <-ctx.Done():
		return "shutdown", o
	}
	// A source that broke off behind the last part may have handed the room off.
	if !isDone(a.whole) {
		return "broken_off", o
	}
	late.Reset(askStore)
	select {
	case o := <-a.orders:
		return h.obey(a, o), o
	case <-a.from.Done():
	case <-late.C:
	case <-ctx.Done():
		return "shutdown", o
	}
	return h.askWhose(ctx, a)
}

// obey does what the source says. To begin can't be meant before all has come.
func (h *Host) obey(a *arrival, o order) string {
	if o.epoch == 0 || !isDone(a.whole) {
		return "forgotten"
	}
	return h.begins(a, o.epoch, "begun")
}

// askWhose asks the store whose the room is, until it is this host's or the
// source can't hand it off any more.
func (h *Host) askWhose(ctx context.Context, a *arrival) (string, order) {
	end := time.Now().Add(arriveMost)
	for time.Now().Before(end) {
		gone := isDone(a.from.Done())
		epoch, mine, err := h.whose(ctx, a)
		switch {
		case err == nil && mine:
			return h.begins(a, epoch, "found"), order{}
		case err == nil && gone:
			return "not_handed_off", order{}
		}
		again := time.NewTimer(askAgain)
		select {
		case o := <-a.orders:
			again.Stop()
			return h.obey(a, o), o
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return "shutdown", order{}
		}
	}
	return "no_answer", order{}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// whose reports whether the room was handed to this host under the nonce that
// was agreed.
func (h *Host) whose(ctx context.Context, a *arrival) (epoch wire.Epoch, mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	res, err := h.cfg.Store.Load(ctx, []wire.RoomID{a.Room})
	if err != nil || len(res) != 1 {
		return 0, false, fmt.Errorf("ask whose room %s is: %w", a.Room, errors.Join(err, ctx.Err()))
	}
	if errors.Is(res[0].Err, snapshot.ErrUnknown) {
		return 0, false, res[0].Err
	}
	c := res[0].Claim
	return c.Epoch, !res[0].Closed && c.Nonce == snapshot.Nonce(a.Nonce) && res[0].Holder == a.holder, nil
}

// begins has the prepared copy run under its claim.
func (h *Host) begins(a *arrival, epoch wire.Epoch, how string) string {
	fault.Point("arrive.before-begin")
	c := a.claim()
	c.Epoch, c.Nonce = epoch, snapshot.Nonce(a.Nonce)
	r, err := h.start(a.kind, grant{ClaimResult: snapshot.ClaimResult{Claim: c}, holder: a.holder}, a.ready,
		copyOf{seq: a.Saves, journal: snapshot.Journal{Base: a.Journal}}, time.Now())
	if err != nil {
		h.log.Error().Err(err).Str("room", string(a.Room)).Msg("room that moved here does not start")
		h.loadFailed(a.Room)
		return "start_failed"
	}
	r.arrived = true
	r.tenure.How = "moved"
	if !h.enter(r) {
		return "lease_lost"
	}
	fault.Point("arrive.begun")
	a.flight.loc = r.location()
	if h.cfg.Placed != nil {
		h.cfg.Placed(a.flight.loc)
	}
	r.log().Info().Int("bytes", a.Size).Str("by", how).Msg("room moved here")
	return how
}

var _ source = (*link.Link)(nil)
