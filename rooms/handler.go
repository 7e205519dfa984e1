// Package rooms is what a game imports: a room's logic as a plain Go value,
// and what the room offers it.
//
// A room is one goroutine. Every method of a Handler and of its optional
// interfaces is called on it, one at a time, so a handler needs no locks and
// must start no goroutines of its own. Calls should return within
// milliseconds: while one runs, the room answers nobody.
//
// What must survive a crash, a move or a deploy goes into the value that
// State returns; the rest is rebuilt in Start. Time, timers and randomness
// come from the Room, so that tests and replays control them.
//
// What else a Handler can do is found by the methods that it has: those of Starter,
// Ticker, Syncer, Dropper, Timed, Stateful, Upgrader, Downgrader, Stopper, Drainer
// and Measured. A method of such a name with other parameters is an error when a
// host starts, and so is a kind's TickRate without a Tick.
//
// docs/plugins.md leads from an empty directory to a running room.
package rooms

import "time"

// Handler is the logic of one room.
type Handler interface {
	// Join decides on a new member and takes it in. data is what the client
	// sent with its join and is valid only during the call. To turn the member
	// away return Refuse("a reason for the player"). Send nothing to it here
	// that a returning member needs too: that belongs in Sync.
	Join(r Room, m Member, data []byte) error
	// Input is one message from a member, exactly once and in the order in
	// which its client sent them. data is valid only during the call.
	Input(r Room, m Member, data []byte)
	// Leave tells that a member is gone for good; it gets nothing any more.
	Leave(r Room, m Member, why Reason)
}

// Starter is told when the room starts, before anything else. State already
// holds what was restored.
type Starter interface {
	Start(r Room, why Start)
}

// Ticker is called at the kind's tick rate. dt is the time since the last
// tick, in whole tick lengths.
type Ticker interface {
	Tick(r Room, dt time.Duration)
}

// Syncer sends a member the full state it needs to draw the room: after its
// join, and whenever it may have missed something (it was away too long, or
// the room was restored from a checkpoint).
type Syncer interface {
	Sync(r Room, m Member)
}

// Dropper is told when a member's connection is lost and when it is back
// within the kind's grace. Past the grace Leave follows.
type Dropper interface {
	Dropped(r Room, m Member)
	Back(r Room, m Member)
}

// Timed is called when a timer set with Room.SetTimer runs out.
type Timed interface {
	Timer(r Room, name string)
}

// Stateful declares what is checkpointed. State returns a pointer to it, the
// same pointer for the life of the handler: the runtime reads it between calls
// to save (as CBOR: exported fields, or encoding.BinaryMarshaler), and fills
// it before Start when it restores.
type Stateful interface {
	State() any
}

// Upgrader fills the value that State returns from that of an older version of
// its kind (Kind.StateVersion; 0 where none was given). decode reads the old
// state into whatever fits it, and may be called more than once. An error
// leaves the room unavailable and its checkpoint as it is. Without an Upgrader
// an older state is decoded like one of this version.
type Upgrader interface {
	Upgrade(from uint32, decode func(into any) error) error
}

// Downgrader gives the state in the form of an older version of its kind, so
// that a rollout can go back: until it is confirmed (limpet rollout --confirm),
// rooms are saved, moved and handed over in the version before Kind.StateVersion,
// which the former build reads, and this one takes up again through Upgrade.
// What Downgrade returns is encoded at once, as what State returns is; the state
// itself must stay as it is. An error has the room's checkpoint be refused, as if
// its state could not be encoded.
type Downgrader interface {
	Downgrade(to uint32) (any, error)
}

// Stopper is told when the room stops here: it was empty, closed, or moves on.
type Stopper interface {
	Stop(r Room)
}

// Drainer is asked before the room moves off a host that is being emptied. It
// answers whether now is a good moment; if not ("after this round") it is asked
// again some times a second, until left, which counts down from the operator's
// limit, is over. It must only look: what it changes or sends may not last.
type Drainer interface {
	Drain(r Room, left time.Duration) (ready bool)
}

// Measured gives numbers by which operators find and sum up rooms, as num.NAME
// in queries: scores, waves, things on the map. Measure is called at most once
// a second, and only after something happened. It calls set once for each
// number, at most MaxNumbers of them; names are of a-z, 0-9 and '_', at most
// MaxLabelBytes long. What is beyond that, and what is no finite number, is left
// out, with an error in the log. It must only look: what it sends or sets is
// left out, and what it changes may not last.
type Measured interface {
	Measure(r Room, set func(name string, value float64))
}

// Start tells why a room starts.
type Start struct {
	Why StartReason
	Age time.Duration // Restored: how old the checkpoint was
}

// StartReason is why a room starts.
type StartReason uint8

// The reasons for a start.
const (
	Created  StartReason = iota // for the first time
	Restored                    // from a checkpoint, after a crash or an idle time
	// Replayed: in the middle of a journaled room's life, which goes on where it
	// was. Start rebuilds what State does not hold and nothing else: what it
	// sends, sets or draws here is left out.
	Replayed
	Moved // from another host, live: nothing was lost and members are still there
)

// Reason is why a member left.
type Reason uint8

// The reasons for a leave.
const (
	Left      Reason = iota // it said so
	GraceOver               // it was away longer than the kind's grace
	Kicked                  // the room removed it
	Closed                  // the room closed
)

// Refusal turns a join away with a reason for the player.
type Refusal struct{ Text string }

// Error is the reason.
func (r *Refusal) Error() string { return r.Text }

// Refuse makes the error with which Join turns a member away.
func Refuse(text string) error { return &Refusal{Text: text} }
