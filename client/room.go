package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// ErrOver answers what is asked of a membership that has ended, or that Leave
// is ending.
var ErrOver = errors.New("membership is over")

var errLateAnswer = fmt.Errorf("no answer within %s", answerWithin)

// Room is one membership of one room. It outlives connections. Safe for
// concurrent use.
type Room struct {
	c      *Client
	kind   string
	mode   wire.Mode
	data   []byte
	filter wire.Filter // of a find

	// Guarded by c.mu.
	name        string
	asked       uint32 // ref of the join or resume under way, 0 for none
	askedAt     time.Time
	abandoned   bool // nobody waits for the join any more: leave at once
	member      wire.MemberID
	token       []byte // of the last Joined or Attached; nil before
	host        string
	epoch       wire.Epoch
	incarnation wire.Incarnation
	bound       bool // the handle is good on the connection
	handle      wire.Handle
	droppedAt   time.Time // zero while bound, and before the first Joined
	at          wire.Position
	count       uint64 // reliable messages addressed to us up to at
	in          inputs
	queued      bool        // in conn.queue
	pause       time.Time   // no inputs before
	progress    time.Time   // when inputs last began to wait, or were acknowledged
	timer       *time.Timer // ends a pause, or asks again
	reset       time.Time   // when the position was last given up for missed messages
	gaveUp      GaveUp      // not told yet
	over        error       // why the membership ended
	leaving     bool
	changed     chan struct{} // closed at the next change that somebody waits for
}

// Join becomes a member of a room and returns when the room has agreed; the
// event Joined was delivered then. A refusal is a *wire.Error. name is empty
// with wire.ModeAny. data goes to the room with the join, and again if it is
// restored to before it.
//
// Where ctx ends first, the client leaves the room should it still answer.
func (c *Client) Join(ctx context.Context, mode wire.Mode, kind, name string, data []byte) (*Room, error) {
	return c.join(ctx, &Room{c: c, mode: mode, kind: kind, name: name, data: append([]byte(nil), data...)})
}

// Find is Join with wire.ModeAny for a room that the filter takes; one that is
// made has its labels and its pool. With a filter, gateways of before minor
// version 1 are answered for with wire.CodeUnavailable.
func (c *Client) Find(ctx context.Context, kind string, filter wire.Filter, data []byte) (*Room, error) {
	filter.Labels = maps.Clone(filter.Labels)
	r := &Room{c: c, mode: wire.ModeAny, kind: kind, filter: filter, data: append([]byte(nil), data...)}
	if _, err := wire.DecodeFind(r.find(1)); err != nil {
		return nil, fmt.Errorf("find room of kind %s: %w", kind, err)
	}
	return c.join(ctx, r)
}

func (c *Client) join(ctx context.Context, r *Room) (*Room, error) {
	kind, name := r.kind, r.name
	r.in = newInputs(c.cfg.MaxInputs, c.cfg.MaxInputBytes)
	if _, err := wire.DecodeJoin(r.plainJoin(1)); err != nil || len(r.data) > wire.MaxJoinData {
		if err == nil {
			err = fmt.Errorf("data of %d bytes: want at most %d", len(r.data), wire.MaxJoinData)
		}
		return nil, fmt.Errorf("join %s/%s: %w", kind, name, err)
	}
	c.mu.Lock()
	if err := c.endCause; err != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("join %s/%s: %w", kind, name, err)
	}
	c.rooms = append(c.rooms, r)
	r.request()
	c.mu.Unlock()
	err := r.wait(ctx, func() bool { return r.token != nil })
	if err == nil {
		return r, nil
	}
	c.mu.Lock()
	r.abandoned = true
	c.mu.Unlock()
	return nil, fmt.Errorf("join %s/%s: %w", kind, name, err)
}

// Kind and Name are the two parts of the room's id. With wire.ModeAny the name
// is known from Joined on.
func (r *Room) Kind() string { return r.kind }

// Name is the second part of the room's id.
func (r *Room) Name() string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.name
}

// ID is KIND/NAME.
func (r *Room) ID() wire.RoomID { return wire.Room(r.kind, r.Name()) }

// Status is where a membership stands.
type Status struct {
	Connected        bool
	Member           wire.MemberID
	Host             string
	Epoch            wire.Epoch
	Incarnation      wire.Incarnation
	Seq              wire.Seq
	Count            uint64
	Sent             wire.Input // the last number given out
	Applied, Durable wire.Input
	Over             error // why the membership ended; nil before
}

// Status tells where the membership stands.
func (r *Room) Status() Status {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return Status{
		Connected: r.bound, Member: r.member, Host: r.host, Epoch: r.epoch, Incarnation: r.incarnation,
		Seq: r.at.Seq, Count: r.count, Sent: r.in.next - 1, Applied: r.in.applied, Durable: r.in.durable, Over: r.over,
	}
}

// Send sends an input and returns its number. It copies the payload and does
// not block: without a connection the input is kept and sent later. An error
// means that it was not taken: it is above the limit, or the membership over.
func (r *Room) Send(payload []byte) (wire.Input, error) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.over != nil || r.leaving {
		return 0, ErrOver
	}
	if limit := c.inputLimit(); len(payload) > limit {
		return 0, wire.Refuse(wire.CodeTooBig, fmt.Sprintf("input of %d bytes: want at most %d", len(payload), limit))
	}
	if r.in.applied+1 >= r.in.next {
		r.progress = time.Now()
	}
	n, from, to := r.in.push(payload)
	if from != 0 {
		r.giveUp(from, to)
	}
	r.enqueue()
	return n, nil
}

// Leave ends the membership and waits until the room has confirmed it or ctx
// is done; inputs sent before are applied first. nil also where the room ended
// it otherwise.
func (r *Room) Leave(ctx context.Context) error {
	r.c.mu.Lock()
	if r.over == nil && !r.leaving {
		r.leaving = true
		r.in.pushLeave()
		r.enqueue()
	}
	r.c.mu.Unlock()
	if err := r.wait(ctx, func() bool { return r.over != nil }); err != nil {
		return fmt.Errorf("leave %s: %w", r.ID(), err)
	}
	return nil
}

// Settle waits until every input sent so far is durable or was given up.
func (r *Room) Settle(ctx context.Context) error {
	r.c.mu.Lock()
	last := r.in.next - 1
	r.c.mu.Unlock()
	if err := r.wait(ctx, func() bool { return r.in.durable >= last }); err != nil {
		return fmt.Errorf("settle %s: %w", r.ID(), err)
	}
	return nil
}

// Ready waits until one more input can be sent without giving up an older one.
func (r *Room) Ready(ctx context.Context) error {
	room := func() bool {
		q := &r.in
		return q.count() == 0 || q.count() < q.maxCount && q.bytes()+wire.MaxInput <= q.maxBytes
	}
	if err := r.wait(ctx, room); err != nil {
		return fmt.Errorf("wait for %s: %w", r.ID(), err)
	}
	return nil
}

// wait returns nil once done, which is called under mu, is true, and an error
// when the membership ends before or ctx does.
func (r *Room) wait(ctx context.Context, done func() bool) error {
	for {
		r.c.mu.Lock()
		ok, over := done(), r.over
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.c.mu.Unlock()
		switch {
		case ok:
			return nil
		case over != nil:
			return over
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) inputLimit() int {
	limit := wire.MaxInput - 13 // the frame around it
	if n := c.conn; n != nil && n.welcome.InputLimit > 0 {
		limit = min(limit, int(n.welcome.InputLimit))
	}
	return limit
}
