package client

import (
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Event is what happens to a membership: one of the pointer types below. It is
// valid only during the call that tells it.
type Event interface{ event() }

// Facts say where a room is and what it has of this client's inputs.
type Facts struct {
	wire.Attach
	Member  wire.MemberID
	Gateway string // the name of the gateway through which it came
}

// Joined is the first event of a membership.
type Joined struct{ Facts }

// Resumed tells that the membership is back after Dropped. Rewound or Gap
// follow where something was lost.
type Resumed struct {
	Facts
	Away time.Duration // since Dropped
}

// Attached tells that the room has a new owner, or its old one again, while
// the connection stood. Rewound or Gap follow where something was lost.
type Attached struct{ Facts }

// Rewound tells that the room was restored from a checkpoint: what it did
// after that is undone. Full state follows, and inputs that were not durable
// are sent again. From and To are the messages undone, 0 where not known.
type Rewound struct {
	Epoch    wire.Epoch
	From, To wire.Seq
}

// Gap tells that messages are lost to this client. Full state follows.
type Gap struct {
	Epoch    wire.Epoch
	From, To wire.Seq
}

// Class is how a message was delivered.
type Class uint8

// The classes of messages.
const (
	Reliable  Class = iota // has a Seq
	Latest                 // has a Key
	Ephemeral              // has neither
)

// Message is a payload from the room.
type Message struct {
	Epoch   wire.Epoch
	Seq     wire.Seq
	Class   Class
	Key     uint32
	Payload []byte
}

// Ack tells what the room has of this client's inputs.
type Ack struct {
	Applied, Durable wire.Input
	Count            uint64 // reliable messages addressed to this member so far
}

// Waiting tells that the room is being found or restored, or with wire.CodeBusy
// that this client reads too slowly to hear it, and for how long that has been
// going on.
type Waiting struct {
	Code wire.Code
	For  time.Duration
}

// Store tells whether durable acks run.
type Store struct{ Running bool }

// Failed tells that an input was skipped for good: the room's code failed on it.
type Failed struct {
	N    wire.Input
	Code wire.Code
	Text string
}

// GaveUp tells that the buffer was full and inputs From to To are no longer
// kept. Those that the room has, and never loses, are not lost; where it does
// need them, Skipped follows. It comes with the next frame at the latest.
type GaveUp struct{ From, To wire.Input }

// Skipped tells that the room went on without inputs From to To.
type Skipped struct{ From, To wire.Input }

// Dropped tells that the connection is lost. The client comes back by itself.
type Dropped struct {
	Code wire.Code // the close code, CodeNone where there was none
	Err  error
}

// Left is the last event of a membership.
type Left struct {
	Code wire.Code
	Text string
}

// Error tells what the gateway or the room complained of.
type Error struct{ wire.Error }

// Violation tells that the other end broke the protocol: lost, repeated or
// reordered something without a word, or went back.
type Violation struct{ Text string }

func (*Joined) event()    {}
func (*Resumed) event()   {}
func (*Attached) event()  {}
func (*Rewound) event()   {}
func (*Gap) event()       {}
func (*Message) event()   {}
func (*Ack) event()       {}
func (*Waiting) event()   {}
func (*Store) event()     {}
func (*Failed) event()    {}
func (*GaveUp) event()    {}
func (*Skipped) event()   {}
func (*Dropped) event()   {}
func (*Left) event()      {}
func (*Error) event()     {}
func (*Violation) event() {}

type delivery struct {
	room  *Room
	event Event
}

// emit notes an event for deliver. Only for the run loop, under mu.
func (c *Client) emit(r *Room, e Event) {
	c.events = append(c.events, delivery{r, e})
}

// deliver hands out what was noted, and then wakes those who wait for it. Only
// for the run loop, without mu.
func (c *Client) deliver() {
	for i, d := range c.events {
		c.events[i] = delivery{}
		c.cfg.OnEvent(d.room, d.event)
	}
	c.events = c.events[:0]
	for i, ch := range c.woken {
		c.woken[i] = nil
		close(ch)
	}
	c.woken = c.woken[:0]
}
