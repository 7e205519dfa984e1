package check

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/wire"
)

// story makes a correct history step by step: one room, some clients. Every
// applied input is told to all, every joiner gets full state.
type story struct {
	epoch, seq uint64
	value      uint64 // of what takes no number
	order      []Input
	records    map[string]*Record
	names      []string
	place      map[string]*Event // what a join would say now: seq and count
	saved      struct {
		seq     uint64
		value   uint64
		order   int
		applied map[string]uint64
		count   map[string]uint64
	}
}

func newStory() *story {
	s := &story{epoch: 1000, records: map[string]*Record{}, place: map[string]*Event{}}
	s.save()
	return s
}

func (s *story) add(client string, e Event) {
	s.records[client].Events = append(s.records[client].Events, e)
}

func (s *story) applied(client string) (n uint64) {
	for _, in := range s.order {
		if in.Client == client {
			n++
		}
	}
	return n
}

func (s *story) state() map[string]uint64 {
	state := map[string]uint64{}
	for _, in := range s.order {
		state[in.Client] = in.N
	}
	return state
}

// says is an event that tells of a place.
func (s *story) says(k Kind, client string) Event {
	p := s.place[client]
	return Event{
		Kind: k, Epoch: s.epoch, Seq: p.Seq, Count: p.Count,
		Applied: s.applied(client), Durable: s.saved.applied[client],
	}
}

func (s *story) tell(client string, e Event) {
	p := s.place[client]
	p.Seq = s.seq
	p.Count++
	e.Kind, e.Epoch, e.Seq = Message, s.epoch, s.seq
	s.add(client, e)
}

func (s *story) full(client string) {
	s.seq++
	s.tell(client, Event{State: s.state(), Place: uint64(len(s.order)), Payload: fmt.Sprint("state for ", client)})
}

// whisper tells all members the next value, as the latest of a key and ephemerally.
func (s *story) whisper() {
	s.value++
	for _, name := range s.names {
		if s.records[name].Closed {
			continue
		}
		for _, stream := range []string{"latest 1", Ephemeral} {
			s.add(name, Event{Kind: Message, Epoch: s.epoch, Stream: stream, Value: s.value, Behind: uint64(len(s.order))})
		}
	}
}

func (s *story) join(clients ...string) {
	for _, client := range clients {
		s.records[client] = &Record{Client: client, Room: "ledger/a"}
		s.names = append(s.names, client)
		s.place[client] = &Event{Seq: s.seq}
		s.add(client, s.says(Joined, client))
		s.full(client)
	}
}

// send has clients send their next inputs, and the room apply them.
func (s *story) send(clients ...string) {
	for _, client := range clients {
		n := uint64(1)
		for _, e := range s.records[client].Events {
			if e.Kind == Sent {
				n = e.N + 1
			}
		}
		s.add(client, Event{Kind: Sent, N: n})
		s.apply(client, n)
	}
}

func (s *story) apply(client string, n uint64) {
	s.order = append(s.order, Input{client, n})
	s.seq++
	for _, name := range s.names {
		if !s.records[name].Closed {
			s.tell(name, Event{About: Input{client, n}, Place: uint64(len(s.order)), ToAll: true, Payload: fmt.Sprint(client, n)})
		}
	}
}

func (s *story) ack() {
	for _, name := range s.names {
		if !s.records[name].Closed {
			e := s.says(Acked, name)
			s.add(name, Event{Kind: Acked, Applied: e.Applied, Durable: e.Durable, Count: e.Count})
		}
	}
}

func (s *story) save() {
	s.saved.seq, s.saved.order, s.saved.value = s.seq, len(s.order), s.value
	s.saved.applied, s.saved.count = map[string]uint64{}, map[string]uint64{}
	for _, name := range s.names {
		s.saved.applied[name], s.saved.count[name] = s.applied(name), s.place[name].Count
	}
}

// crash restores the room; clients send again what was undone.
func (s *story) crash() {
	undone := slices.Clone(s.order[s.saved.order:])
	s.epoch += 1000
	s.value = s.saved.value
	s.seq, s.order = s.saved.seq, s.order[:s.saved.order:s.saved.order]
	for _, name := range s.names {
		if s.records[name].Closed {
			continue
		}
		*s.place[name] = Event{Seq: s.seq, Count: s.saved.count[name]}
		s.add(name, s.says(Attached, name))
		s.add(name, Event{Kind: Rewound})
	}
	for _, name := range s.names {
		if !s.records[name].Closed {
			s.full(name)
		}
	}
	slices.SortStableFunc(undone, func(a, b Input) int { return strings.Compare(b.Client, a.Client) })
	for _, in := range undone {
		if !s.records[in.Client].Closed {
			s.apply(in.Client, in.N)
		}
	}
}

func (s *story) drop(client string) {
	s.add(client, Event{Kind: Dropped})
	s.add(client, s.says(Resumed, client))
}

func (s *story) history() History {
	var h History
	for _, name := range s.names {
		h.Records = append(h.Records, *s.records[name])
	}
	applied := map[string][]uint64{}
	for _, in := range s.order {
		applied[in.Client] = append(applied[in.Client], in.N)
	}
	h.Rooms = []Room{{Name: "ledger/a", Applied: applied, Order: slices.Clone(s.order)}}
	return h
}

// good is a run in which everything happens and nothing is wrong.
func good() History {
	s := newStory()
	s.join("ann", "bob")
	s.send("ann", "bob", "ann")
	s.whisper()
	s.ack()
	s.save()
	s.ack()
	s.drop("bob")
	s.whisper()
	s.join("cid")
	s.send("bob", "cid", "ann", "ann")
	s.whisper()
	s.ack()
	s.crash()
	s.whisper()
	s.ack()
	s.send("ann", "bob")
	s.whisper()
	s.save()
	s.ack()
	s.records["cid"].Events = append(s.records["cid"].Events, Event{Kind: Sent, N: 2}) // in vain: it is closed
	s.records["cid"].Closed = true
	s.send("bob")
	s.save()
	s.ack()
	return s.history()
}

func TestCorrectHistoriesPass(t *testing.T) {
	h := good()
	for _, p := range Check(h) {
		t.Error(p)
	}
	h.Rooms[0].Order = nil // then places tell the order
	for _, p := range Check(h) {
		t.Error(p)
	}
	if p := Check(History{}); len(p) > 0 {
		t.Error(p)
	}
}

// find is the i-th event of a kind in a client's record.
func find(h *History, client string, k Kind, i int) (*Record, int) {
	for r := range h.Records {
		if h.Records[r].Client != client {
			continue
		}
		for at, e := range h.Records[r].Events {
			if e.Kind != k {
				continue
			}
			if i == 0 {
				return &h.Records[r], at
			}
			i--
		}
	}
	panic(fmt.Sprintf("no event %d %d of %s", k, i, client))
}

func change(client string, k Kind, i int, f func(*Event)) func(*History) {
	return func(h *History) { r, at := find(h, client, k, i); f(&r.Events[at]) }
}

func remove(client string, k Kind, i int) func(*History) {
	return func(h *History) { r, at := find(h, client, k, i); r.Events = slices.Delete(r.Events, at, at+1) }
}

func insert(client string, k Kind, i int, e Event) func(*History) {
	return func(h *History) { r, at := find(h, client, k, i); r.Events = slices.Insert(r.Events, at, e) }
}

func repeat(client string, k Kind, i int) func(*History) {
	return func(h *History) { r, at := find(h, client, k, i); r.Events = slices.Insert(r.Events, at, r.Events[at]) }
}

func swap(client string, k Kind, i, j int) func(*History) {
	return func(h *History) {
		r, a := find(h, client, k, i)
		_, b := find(h, client, k, j)
		r.Events[a], r.Events[b] = r.Events[b], r.Events[a]
	}
}

func applied(f func(map[string][]uint64)) func(*History) {
	return func(h *History) {
		h.Rooms[0].Order = nil
		f(h.Rooms[0].Applied)
	}
}

// values changes what a client was told on one stream.
func values(client, stream string, f func([]*Event)) func(*History) {
	return func(h *History) {
		var told []*Event
		for r := range h.Records {
			for at := range h.Records[r].Events {
				if e := &h.Records[r].Events[at]; h.Records[r].Client == client && e.Stream == stream {
					told = append(told, e)
				}
			}
		}
		f(told)
	}
}

// woken has a host sleep through the crash and its first ack come late.
func woken(h *History) {
	for i := range h.Records {
		for at := range h.Records[i].Events {
			e := &h.Records[i].Events[at]
			switch e.Epoch {
			case 1000:
				e.Host = "a#1"
			case 2000:
				e.Host, e.At = "b#1", 5*time.Second
			}
		}
	}
	h.Wakes = []Wake{{Host: "a#1", At: 10 * time.Second}}
	r, at := find(h, "bob", Attached, 0)
	r.Events = slices.Insert(r.Events, at, Event{Kind: Acked, At: 10*time.Second + 10*time.Millisecond, Applied: 2, Durable: 2})
}

func TestWokenIsTheRuleAlone(t *testing.T) {
	h := good()
	if p := Woken(h, Wake{Host: "a#1", At: 10 * time.Second}); len(p) > 0 {
		t.Error(p)
	}
	woken(&h)
	if p := Woken(h, h.Wakes[0]); len(p) != 1 || p[0].Rule != "one writer" || p[0].Client != "bob" {
		t.Error(p)
	}
}

// What a host said before it was stopped is no fault, nor what it says of rooms
// that it still has.
func TestWokenHostsMayKeepTheirRooms(t *testing.T) {
	h := good()
	woken(&h)
	r, at := find(&h, "bob", Attached, 0)
	r.Events = slices.Delete(r.Events, at-1, at)
	for _, w := range []Wake{h.Wakes[0], {Host: "b#1", At: 10 * time.Second}, {Host: "a#1", At: time.Second}} {
		h.Wakes[0] = w
		for _, p := range Check(h) {
			t.Error(w, p)
		}
	}
}

func TestEveryDefectIsReported(t *testing.T) {
	for _, c := range []struct {
		name   string
		defect func(*History)
		rule   string
		says   string
	}{
		{"input applied twice", applied(func(a map[string][]uint64) { a["ann"] = slices.Insert(a["ann"], 1, 1) }), "inputs", "input 1 was applied twice"},
		{"inputs in another order", applied(func(a map[string][]uint64) { a["ann"][0], a["ann"][1] = 2, 1 }), "inputs", "input 1 was applied after input 2"},
		{"durable input missing", applied(func(a map[string][]uint64) { a["ann"] = a["ann"][1:] }), "durable", "input 1 is missing although it was confirmed"},
		{"last input missing", func(h *History) {
			h.Rooms[0].Order = nil
			h.Rooms[0].Applied["bob"] = h.Rooms[0].Applied["bob"][:3]
			change("bob", Acked, 5, func(e *Event) { e.Durable = 3 })(h)
		}, "inputs", "input 4 is missing and was not announced"},
		{"hole in a closed client's inputs", func(h *History) {
			h.Rooms[0].Order = nil
			h.Rooms[0].Applied["cid"] = []uint64{2}
			for i := range 3 {
				change("cid", Acked, i, func(e *Event) { e.Durable = 0 })(h)
			}
		}, "inputs", "input 1 is missing although input 2, sent after it, is there"},
		{"input that was not sent", applied(func(a map[string][]uint64) { a["bob"] = append(a["bob"], 99) }), "inputs", "input 99 was applied, but 1 to 4 were sent"},
		{"inputs of a stranger", applied(func(a map[string][]uint64) { a["eve"] = []uint64{1} }), "inputs", "inputs of a client that there was not"},
		{"order and lists differ", func(h *History) { h.Rooms[0].Order = h.Rooms[0].Order[1:] }, "history", "the room's order has other inputs"},
		{"applied going back", change("ann", Acked, 1, func(e *Event) { e.Applied = 1; e.Durable = 1 }), "acks", "applied went from 2 to 1 without a rewind"},
		{"durable going back", change("ann", Acked, 2, func(e *Event) { e.Durable = 0 }), "durable", "durable went from 2 to 0"},
		{"durable above applied", change("ann", Acked, 0, func(e *Event) { e.Durable = 9 }), "acks", "durable 9 is above applied 2"},
		{"ack of what was not sent", change("ann", Acked, 0, func(e *Event) { e.Applied = 9 }), "acks", "applied 9, but only 2 were sent"},
		{"rewind of applied not announced", remove("ann", Rewound, 0), "acks", "applied went from 4 to 2 without a rewind"},
		{"rewind of messages not announced", remove("bob", Rewound, 0), "outputs", "an unannounced gap"},
		{"message twice", repeat("bob", Message, 2), "outputs", "came twice"},
		{"messages out of order", swap("bob", Message, 1, 2), "outputs", "came after message"},
		{"message missing", remove("bob", Message, 2), "outputs", "a silent gap"},
		{"message for all missing", remove("bob", Message, 2), "outputs", "which was for all, did not come"},
		{"message of another epoch", change("bob", Message, 2, func(e *Event) { e.Epoch = 7 }), "outputs", "of epoch 7 in epoch 1000"},
		{"message before the join", insert("bob", Joined, 0, Event{Kind: Message, Epoch: 1000, Seq: 1}), "outputs", "before the join"},
		{"other payload", change("bob", Message, 2, func(e *Event) { e.Payload = "forged" }), "outputs", `"forged"`},
		{"gap at a resume", change("bob", Resumed, 0, func(e *Event) { e.Seq++ }), "outputs", "an unannounced gap"},
		{"count off at a resume", change("bob", Resumed, 0, func(e *Event) { e.Count++ }), "outputs", "goes on with a count of"},
		{"epoch going back", change("ann", Attached, 0, func(e *Event) { e.Epoch = 999 }), "epochs", "the epoch went from 1000 to 999"},
		{"no full state after a rewind", remove("bob", Message, 14), "outputs", "is no full state, although a rewind came before it"},
		{"no full state after a gap", insert("bob", Message, 8, Event{Kind: Gap, Epoch: 1000}), "outputs", "is no full state, although a gap came before it"},
		{"no full state after the join", change("cid", Message, 0, func(e *Event) { e.State = nil }), "outputs", "is no full state, although a join came before it"},
		{"joined twice", repeat("ann", Joined, 0), "outputs", "joined twice"},
		{"resume before the join", func(h *History) { change("ann", Joined, 0, func(e *Event) { e.Kind = Resumed })(h) }, "outputs", "before it joined"},
		{"own write not to be read", remove("ann", Message, 3), "read your writes", "own input 2 is not to be read"},
		{"own write not in the state", change("ann", Message, 8, func(e *Event) { e.State = map[string]uint64{"bob": 1} }), "read your writes", "own input 2"},
		{"state going back", insert("ann", Rewound, 0, Event{Kind: Message, Epoch: 1000, Seq: 99, State: map[string]uint64{}}), "monotonic reads", "after input 4 was read"},
		{"reading an input again", change("bob", Message, 3, func(e *Event) { e.About.N = 1 }), "monotonic reads", "read of ann:1 after ann:1"},
		{"reading over an input", change("bob", Message, 1, func(e *Event) { e.About.N = 2 }), "monotonic writes", "read of ann:2 after ann:0"},
		{"write before what was read", func(h *History) {
			o := h.Rooms[0].Order
			first, second := slices.Index(o, Input{"ann", 1}), slices.Index(o, Input{"bob", 1})
			o[first], o[second] = o[second], o[first]
		}, "writes follow reads", "input 1 stands before ann:1"},
		{"places tell the order", func(h *History) {
			h.Rooms[0].Order = nil
			for _, client := range []string{"ann", "bob"} {
				change(client, Message, 1, func(e *Event) { e.Place = 2 })(h)
				change(client, Message, 2, func(e *Event) { e.Place = 1 })(h)
			}
		}, "writes follow reads", "input 1 stands before ann:1"},
		{"complaint of the client", insert("bob", Acked, 0, Event{Kind: Violated, Text: "message 3 after message 3"}), "protocol", "message 3 after message 3"},
		{"numbers left out", change("ann", Sent, 1, func(e *Event) { e.N = 5 }), "history", "input 5 sent after 1"},
		{"two owners of an epoch", change("bob", Joined, 0, func(e *Event) { e.Host = "b" }), "one writer", "epoch 1000 is of"},
		{"incarnation changing", change("ann", Attached, 0, func(e *Event) { e.Incarnation = 5 }), "epochs", "the incarnation went from 0 to 5"},
		{"membership ended by the room", insert("ann", Acked, 1, Event{Kind: Left, Text: "ended"}), "membership", "is over: ended"},
		{"message behind the end", func(h *History) {
			insert("bob", Message, 4, Event{Kind: Left, Text: "ended"})(h)
		}, "epochs", "message 7 of epoch 1000 came although the membership had ended"},
		{"ack behind the end", insert("ann", Acked, 1, Event{Kind: Left, Text: "ended"}), "epochs", "an ack came although the membership had ended"},
		{"resumed behind the end", insert("bob", Resumed, 0, Event{Kind: Left, Text: "ended"}), "epochs", "a new place came although the membership had ended"},
		{"message of a lost connection", insert("bob", Resumed, 0, Event{Kind: Message, Epoch: 1000, Seq: 6, State: map[string]uint64{}}), "epochs", "message 6 of epoch 1000 came although the connection was lost"},
		{"ack of a lost connection", insert("bob", Resumed, 0, Event{Kind: Acked, Applied: 1, Durable: 1, Count: 4}), "epochs", "an ack came although the connection was lost"},
		{"owner told of on a lost connection", change("bob", Resumed, 0, func(e *Event) { e.Kind = Attached }), "epochs", "a new owner came although the connection was lost"},
		{"gap of messages that were kept", func(h *History) {
			h.Rooms[0].Window = 100
			insert("bob", Message, 6, Event{Kind: Gap, Epoch: 1000, From: 3, To: 4})(h)
		}, "window", "messages 3 to 4"},
		{"journaled room rewound", func(h *History) { h.Rooms[0].Journaled = true }, "rollback", "was rewound in epoch"},
		{"journaled room with another message", func(h *History) { h.Rooms[0].Journaled = true }, "rollback", "in another"},
		{"older value behind a newer one", values("bob", "latest 1", func(v []*Event) { v[0].Value, v[1].Value = v[1].Value, v[0].Value }), "values", "latest 1: value 1 of epoch 1000 came after 2"},
		{"ephemeral ones reordered", values("bob", Ephemeral, func(v []*Event) { v[1].Value, v[2].Value = v[2].Value, v[1].Value }), "values", "ephemeral: value 2 of epoch 1000 came after 3"},
		{"ephemeral one twice", values("ann", Ephemeral, func(v []*Event) { v[1].Value = v[0].Value }), "values", "ephemeral: value 1 of epoch 1000 came twice"},
		{"journaled room going back to a value", func(h *History) { h.Rooms[0].Journaled = true }, "values", "latest 1: value 2 of epoch 2000 came after 3"},
		{"value ahead of what it followed", func(h *History) {
			r, at := find(h, "bob", Message, 3) // the third input; both values stand behind it
			r.Events[at], r.Events[at+1] = r.Events[at+1], r.Events[at]
		}, "values", "latest 1: value 1 of epoch 1000, sent behind input 3 of the room, came when 2 was the last"},
		{"value ahead of the state after a rewind", func(h *History) {
			r, at := find(h, "bob", Rewound, 0)
			r.Events = slices.Insert(r.Events, at+1, Event{Kind: Message, Epoch: 2000, Stream: "latest 1", Value: 2, Behind: 3})
		}, "values", "came when 0 was the last"},
		{"output of a woken host", woken, "one writer", "10ms after a#1 woke"},
		{"room unknown", func(h *History) { h.Records[0].Room = "ledger/b" }, "history", "final state is not in the history"},
		{"client twice", func(h *History) { h.Records = append(h.Records, h.Records[0]) }, "history", "client stands twice"},
		{"room twice", func(h *History) { h.Rooms = append(h.Rooms, h.Rooms[0]) }, "history", "room stands twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := good()
			c.defect(&h)
			problems := Check(h)
			for _, p := range problems {
				if p.Rule == c.rule && strings.Contains(p.String(), c.says) {
					return
				}
			}
			t.Errorf("no problem of rule %q that says %q, but %d others:", c.rule, c.says, len(problems))
			for _, p := range problems {
				t.Log(p)
			}
		})
	}
}

func TestAnnouncedSkipsMayBeMissing(t *testing.T) {
	h := good()
	h.Rooms[0].Order = nil
	h.Rooms[0].Applied["bob"] = []uint64{1, 2, 4}
	h.Records[1].Events = append(h.Records[1].Events, Event{Kind: Skipped, From: 3, To: 3})
	for _, p := range Check(h) {
		if p.Rule == "inputs" || p.Rule == "durable" {
			t.Error(p)
		}
	}
	h.Records[1].Events[len(h.Records[1].Events)-1] = Event{Kind: Failed, N: 3}
	for _, p := range Check(h) {
		if p.Rule == "inputs" || p.Rule == "durable" {
			t.Error(p)
		}
	}
}

// What a closed client had sent after its last durable ack may be missing.
func TestClosedClientsTailMayBeMissing(t *testing.T) {
	h := good()
	for i := range h.Records {
		if r := &h.Records[i]; r.Client == "cid" {
			if r.Closed = false; len(Check(h)) == 0 {
				t.Error("an open client's input is missing, and nobody says so")
			}
		}
	}
}

func TestFromKeepsWhatTheRulesNeed(t *testing.T) {
	facts := client.Facts{Attach: wire.Attach{Epoch: 5, Seq: 6, Count: 7, Applied: 8, Durable: 4}}
	place := Event{Epoch: 5, Seq: 6, Count: 7, Applied: 8, Durable: 4}
	for _, c := range []struct {
		from client.Event
		want Event
	}{
		{&client.Joined{Facts: facts}, with(place, Joined)},
		{&client.Resumed{Facts: facts}, with(place, Resumed)},
		{&client.Attached{Facts: facts}, with(place, Attached)},
		{&client.Rewound{Epoch: 5, From: 1, To: 2}, Event{Kind: Rewound, Epoch: 5, From: 1, To: 2}},
		{&client.Gap{Epoch: 5, From: 1, To: 2}, Event{Kind: Gap, Epoch: 5, From: 1, To: 2}},
		{&client.Message{Epoch: 5, Seq: 6, Payload: []byte("x")}, Event{Kind: Message, Epoch: 5, Seq: 6, Payload: "x"}},
		{&client.Message{Epoch: 5, Class: client.Latest, Key: 3}, Event{Kind: Message, Epoch: 5, Stream: "latest 3"}},
		{&client.Message{Epoch: 5, Class: client.Ephemeral}, Event{Kind: Message, Epoch: 5, Stream: Ephemeral}},
		{&client.Ack{Applied: 8, Durable: 4, Count: 7}, Event{Kind: Acked, Applied: 8, Durable: 4, Count: 7}},
		{&client.Skipped{From: 1, To: 2}, Event{Kind: Skipped, From: 1, To: 2}},
		{&client.Failed{N: 3, Text: "x"}, Event{Kind: Failed, N: 3, Text: "x"}},
		{&client.Dropped{Err: client.ErrClosed}, Event{Kind: Dropped, Text: client.ErrClosed.Error()}},
		{&client.Left{Code: wire.CodeKicked, Text: "x"}, Event{Kind: Left, Text: "kicked x"}},
		{&client.Violation{Text: "x"}, Event{Kind: Violated, Text: "x"}},
	} {
		got, ok := From(c.from)
		if !ok || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%T: %+v, want %+v", c.from, got, c.want)
		}
	}
	if e, ok := From(&client.Waiting{}); ok {
		t.Errorf("waiting became %+v", e)
	}
}

func with(e Event, k Kind) Event { e.Kind = k; return e }

func TestStoriesAreWhatTheySay(t *testing.T) {
	h := good()
	if got := maps.Clone(h.Rooms[0].Applied); !slices.Equal(got["ann"], []uint64{1, 2, 3, 4, 5}) || !slices.Equal(got["cid"], []uint64{1}) {
		t.Errorf("the room has %v", got)
	}
	rewinds := 0
	for _, r := range h.Records {
		for _, e := range r.Events {
			if e.Kind == Rewound {
				rewinds++
			}
		}
	}
	if rewinds != 3 {
		t.Errorf("%d rewinds, want one a client", rewinds)
	}
}

func TestVerdictNamesEachGuarantee(t *testing.T) {
	h := good()
	v := Judge(h)
	var out strings.Builder
	v.Print(&out)
	if len(v.Problems) > 0 || strings.Contains(out.String(), "BROKEN") {
		t.Errorf("a correct history:\n%s", &out)
	}
	if v.Sent != 11 || v.Applied != 10 || v.Undone != 1 || v.Missing+v.Twice+v.Skipped != 0 || v.Owners != 2 {
		t.Errorf("counted %+v", v)
	}
	h = good()
	h.Rooms[0].Order = nil
	h.Rooms[0].Applied["ann"] = []uint64{2, 2, 3, 4, 5}
	v = Judge(h)
	out.Reset()
	v.Print(&out)
	if v.Missing != 1 || v.Twice != 1 {
		t.Errorf("counted %+v", v)
	}
	for _, want := range []string{"G2 inputs are applied once and in order", "G7 what was confirmed as durable is there"} {
		if line := lineWith(out.String(), want); !strings.HasSuffix(line, "BROKEN 1 times") {
			t.Errorf("%q in:\n%s", line, &out)
		}
	}
	h = good()
	h.Rooms[0].Order = nil
	h.Rooms[0].Applied["ann"] = []uint64{1, 3, 2, 4, 5}
	if v := Judge(h); v.Disordered != 1 || v.Missing+v.Twice != 0 {
		t.Errorf("counted %+v", v)
	}
	v.Add(v)
	if v.Missing != 2 || len(v.Problems) != 4 {
		t.Errorf("added up: %+v", v)
	}
}

// Every rule belongs to a guarantee, so that no problem goes without one.
func TestRulesBelongToGuarantees(t *testing.T) {
	named := map[string]bool{"history": true}
	for _, g := range guarantees {
		for _, r := range g.rules {
			named[r] = true
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`report\("([a-z ]+)", [a-z]+\.`).FindAllStringSubmatch(string(text), -1) {
			if !named[m[1]] {
				t.Errorf("%s: rule %q belongs to no guarantee", name, m[1])
			}
		}
	}
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// TestInputsAreSentMeanwhile: what a client sends is recorded by another
// goroutine, also between the news of an owner and that of the rewind.
func TestInputsAreSentMeanwhile(t *testing.T) {
	h := good()
	r, at := find(&h, "ann", Rewound, 0)
	for i, e := range r.Events[at:] {
		if e.Kind == Sent {
			r.Events = slices.Delete(r.Events, at+i, at+i+1)
			r.Events = slices.Insert(r.Events, at, e)
			break
		}
	}
	if r.Events[at].Kind != Sent || r.Events[at-1].Kind != Attached || r.Events[at+1].Kind != Rewound {
		t.Fatal("the history does not have what is tested")
	}
	for _, p := range Check(h) {
		t.Error(p)
	}
}
