// Package check decides whether what clients sent and were told, and what
// rooms hold in the end, keeps Limpet's promises: inputs exactly once and in
// order, outputs once and in order, nothing confirmed lost, nothing lost
// without a word, and the session guarantees as far as they can be derived.
//
// It knows nothing of how a history came about; From makes its events of a
// client's.
package check

import (
	"fmt"
	"time"
)

// Input names one input: who sent it, and its number from 1.
type Input struct {
	Client string
	N      uint64
}

func (i Input) String() string { return fmt.Sprintf("%s:%d", i.Client, i.N) }

// Kind says what an Event is.
type Kind uint8

// The kinds of events, and the fields that they use.
const (
	Sent     Kind = iota // N: about to be handed to the client library, which may be told of it at once
	Acked                // Applied, Durable, Count
	Message              // Epoch, Seq, Payload; About, Place, State, ToAll where known; without Seq: Stream; Value, Behind where known
	Joined               // Epoch, Incarnation, Host, Seq, Count, Applied, Durable
	Resumed              // the same; Rewound or Gap follow at once where something was lost
	Attached             // the same
	Rewound              // From, To: messages undone, 0 where not known
	Gap                  // From, To: messages lost to this client
	Skipped              // From, To: inputs that the room goes on without
	Failed               // N: the room's code failed on it
	Dropped              // the connection was lost
	Left                 // Text: the membership ended
	Violated             // Text: the client library complained
)

// Event is what happened to one client in one room.
type Event struct {
	Kind Kind
	At   time.Duration // since the run began

	N                       uint64
	Applied, Durable, Count uint64
	Epoch, Seq              uint64
	Incarnation             uint64
	Host                    string // who has the room, NAME#BOOT
	From, To                uint64
	Text                    string

	Payload string            // of a message
	About   Input             // message: tells that this input was applied
	Place   uint64            // with About: its place in the room's order, from 1; with State: of the last one; 0 where not known
	State   map[string]uint64 // message: full state, the last input applied of each client
	ToAll   bool              // message: addressed to every member
	Stream  string            // message without a number: what it is the next value of
	Value   uint64            // with Stream: counts up in the room; 0 where not known
	Behind  uint64            // with Stream: the place of the last input that members had been told of
}

// Ephemeral is the stream of messages without number and key.
const Ephemeral = "ephemeral"

// Record is what one client instance saw of one room, in order.
type Record struct {
	Client string // as in Input; of one record only
	Room   string
	// Closed clients ended before all they had sent was durable: the tail of
	// it may be missing, and the record ends early.
	Closed bool
	Events []Event
}

// Room is what a room holds at the end.
type Room struct {
	Name    string
	Applied map[string][]uint64 // by client, the numbers in the order in which they were applied
	Order   []Input             // all inputs in that order; nil where not known
	// Journaled rooms never go back: not even a restored one undoes a message.
	Journaled bool
	// Window is how many messages the room keeps for members that come back: a
	// shorter gap is not allowed. 0: not checked.
	Window uint64
	// Lost rooms ended with their host, or are of a kind that may: what they held
	// is not known.
	Lost bool
}

// Wake is the moment at which a host went on that had been stopped.
type Wake struct {
	Host string // NAME#BOOT
	At   time.Duration
}

// History is all that is known of a run.
type History struct {
	Records []Record
	Rooms   []Room
	Wakes   []Wake
}

// Problem is one broken promise.
type Problem struct {
	Rule   string // which promise
	Room   string
	Client string // empty where it is the room's
	Text   string
}

func (p Problem) String() string {
	who := p.Room
	if p.Client != "" {
		who = p.Client + " in " + p.Room
	}
	return fmt.Sprintf("%s: %s: %s", p.Rule, who, p.Text)
}

// Check returns every broken promise of a history; none means that all hold.
func Check(h History) []Problem { return check(h).problems }

func check(h History) *checker {
	c := &checker{rooms: map[string]*room{}}
	for i := range h.Rooms {
		c.addRoom(&h.Rooms[i])
	}
	for i := range h.Records {
		c.addRecord(&h.Records[i])
	}
	for _, r := range c.order {
		if !r.Lost {
			c.inputs(r)
		}
		for _, rec := range r.records {
			c.acks(rec)
			c.outputs(rec)
			c.unnumbered(r, rec)
			c.membership(r, rec)
			c.ends(rec)
			c.gaps(r, rec)
		}
		c.agreement(r)
		c.oneWriter(r, h.Wakes)
		if r.Journaled {
			c.noRollback(r)
		}
		for _, rec := range r.records {
			c.session(r, rec)
		}
		c.writesFollowReads(r)
	}
	return c
}

// checker gathers what several rules need.
type checker struct {
	rooms    map[string]*room
	order    []*room
	problems []Problem
}

type room struct {
	*Room
	records  []*record
	byClient map[string]*record
	owners   map[uint64]owner // by epoch
}

// record is a Record with what is known of its inputs.
type record struct {
	*Record
	sent    uint64          // numbers 1 to sent
	durable uint64          // the highest that was confirmed
	excused map[uint64]bool // announced as skipped or failed
	spans   []span
	writes  []write

	applied, twice, disordered, missing, undone uint64 // inputs
}

func (c *checker) report(rule, room, client, format string, args ...any) {
	c.problems = append(c.problems, Problem{rule, room, client, fmt.Sprintf(format, args...)})
}

func (c *checker) addRoom(r *Room) {
	if c.rooms[r.Name] != nil {
		c.report("history", r.Name, "", "the room stands twice in the history")
		return
	}
	in := &room{Room: r, byClient: map[string]*record{}, owners: map[uint64]owner{}}
	c.rooms[r.Name] = in
	c.order = append(c.order, in)
}

func (c *checker) addRecord(rec *Record) {
	in := c.rooms[rec.Room]
	switch {
	case in == nil:
		c.report("history", rec.Room, rec.Client, "the room's final state is not in the history")
		return
	case in.byClient[rec.Client] != nil:
		c.report("history", rec.Room, rec.Client, "the client stands twice in the history")
		return
	}
	r := &record{Record: rec, excused: map[uint64]bool{}}
	in.byClient[rec.Client] = r
	in.records = append(in.records, r)
	for _, e := range rec.Events {
		switch e.Kind {
		case Sent:
			if e.N != r.sent+1 {
				c.report("history", rec.Room, rec.Client, "input %d sent after %d", e.N, r.sent)
			}
			r.sent = e.N
		case Acked, Joined, Resumed, Attached:
			r.durable = max(r.durable, e.Durable)
			if in.Lost {
				r.applied = max(r.applied, e.Applied)
			}
		case Skipped:
			for n := e.From; n <= e.To && n-e.From < 1<<20; n++ {
				r.excused[n] = true
			}
		case Failed:
			r.excused[e.N] = true
		case Violated:
			c.report("protocol", rec.Room, rec.Client, "%s", e.Text)
		}
	}
}
