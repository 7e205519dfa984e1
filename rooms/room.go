package rooms

import (
	"log/slog"
	"math/rand/v2"
	"time"
)

// Room is the room as its handler sees it. It is valid only inside the
// handler's calls and must not be used from other goroutines.
type Room interface {
	// Kind and Name are the two parts of the room's id.
	Kind() string
	Name() string
	// Now is the time of the event being handled.
	Now() time.Time
	// Rand is the room's own random source; its state is checkpointed.
	Rand() *rand.Rand
	// Log writes to the host's log with the room's id.
	Log() *slog.Logger

	// Members calls yield for every member, dropped ones too, in the order in
	// which they joined: for m := range r.Members.
	Members(yield func(Member) bool)
	// Member finds a member, or nil.
	Member(id MemberID) Member
	// Len is how many members there are, dropped ones too.
	Len() int

	// All, AllBut and Only say who gets a message.
	All() Audience
	AllBut(m Member) Audience
	Only(m ...Member) Audience

	// SetTimer calls Timed.Timer once after d, at the earliest at the next
	// tick of the room's clock. Setting a name again moves it. Timers are
	// checkpointed: one that ran out while the room was down runs at its
	// start. A room has at most MaxTimers; SetTimer panics beyond, and where
	// the handler is not Timed.
	SetTimer(name string, d time.Duration)
	// StopTimer forgets a timer.
	StopTimer(name string)

	// Durable calls f on the room's goroutine once all that has happened up to
	// now is durable: "this trade is safe" can wait until then. In a journaled
	// room that is when this event is stored, with Checkpoint after a checkpoint
	// that is made at once, with None after the call that is under way. A room
	// that ends first never calls f; nor does one that is restored, but for a
	// journaled one, which calls it again where it was, unless the store lost
	// its journal and had a checkpoint made in its place. It panics beyond
	// MaxBarriers that wait.
	Durable(f func())

	// Labels are the labels by which the room is found and listed. A room that
	// a search made starts with those that were searched for, its pool among
	// them as PoolLabel. They change together with the state, and survive with
	// it.
	Labels() map[string]string
	// SetLabels replaces the labels; the pool stays where they name none. At
	// most MaxLabels with keys and values of MaxLabelBytes; it panics beyond.
	SetLabels(labels map[string]string)
	// SetLocked says whether the room takes new members.
	SetLocked(locked bool)
	// SetPrivate says whether the room is kept out of searches and lists. Who
	// knows its name may join it all the same.
	SetPrivate(private bool)
	// Kick removes a member; reason is for the player. Leave follows.
	Kick(m Member, reason string)
	// Close ends the room for good; reason is for the players. Leave follows
	// for every member.
	Close(reason string)
}

// Bounds of a room's own settings.
const (
	MaxTimers     = 256
	MaxBarriers   = 1024
	MaxLabels     = 16
	MaxNumbers    = 16
	MaxLabelBytes = 64
)

// PoolLabel is the label of a room's pool: one of the parts into which a game
// divides the rooms of a kind, which are searched each on its own.
const PoolLabel = "pool"

// MemberID names a member in the room's state. It is the same for as long as
// the membership lasts, over reconnects and restores, and never used again.
type MemberID uint64

// Member is someone in the room. Members are compared with ==; hold their IDs,
// not Members, in the state.
type Member interface {
	Audience
	// ID is what to keep in the room's state.
	ID() MemberID
	// User is the name under which the member was admitted, "" if anonymous.
	User() string
	// Claims is the JSON object that the game's token for this member's
	// connection holds, nil if it has none. It is not checkpointed: after a
	// restore it is nil until the member is back. Don't change it.
	Claims() []byte
	// Seat is the seat of the room that the member's token held it to when it
	// joined (claim limpet.seat), "" for any. A room has one member a seat, and
	// keeps it over restores.
	Seat() string
	// Connected is false while the member's connection is lost.
	Connected() bool
}

// Audience is who gets a message. Payloads are copied before the call returns.
//
// A member gets reliable messages exactly once and in order, also across
// reconnects within the kind's resume window. Latest and Ephemeral are cheaper
// and for what is soon out of date; neither overtakes a reliable message that
// was sent before it.
type Audience interface {
	// Send is reliable.
	Send(payload []byte)
	// Latest replaces an unsent message with the same key: positions, scores.
	Latest(key uint32, payload []byte)
	// Ephemeral is dropped where there is no room for it.
	Ephemeral(payload []byte)
}
