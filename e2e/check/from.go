package check

import (
	"fmt"

	"github.com/limpet-games/limpet/client"
)

// From makes an event of a client's; false for those that no rule looks at.
// What a payload says (About, Place, State, ToAll, Value, Behind) is the caller's to add.
func From(e client.Event) (Event, bool) {
	switch e := e.(type) {
	case *client.Joined:
		return placed(Joined, e.Facts), true
	case *client.Resumed:
		return placed(Resumed, e.Facts), true
	case *client.Attached:
		return placed(Attached, e.Facts), true
	case *client.Rewound:
		return Event{Kind: Rewound, Epoch: uint64(e.Epoch), From: uint64(e.From), To: uint64(e.To)}, true
	case *client.Gap:
		return Event{Kind: Gap, Epoch: uint64(e.Epoch), From: uint64(e.From), To: uint64(e.To)}, true
	case *client.Message:
		m := Event{Kind: Message, Epoch: uint64(e.Epoch), Seq: uint64(e.Seq), Payload: string(e.Payload)}
		switch e.Class {
		case client.Latest:
			m.Stream = fmt.Sprint("latest ", e.Key)
		case client.Ephemeral:
			m.Stream = Ephemeral
		}
		return m, true
	case *client.Ack:
		return Event{Kind: Acked, Applied: uint64(e.Applied), Durable: uint64(e.Durable), Count: e.Count}, true
	case *client.Skipped:
		return Event{Kind: Skipped, From: uint64(e.From), To: uint64(e.To)}, true
	case *client.Failed:
		return Event{Kind: Failed, N: uint64(e.N), Text: e.Text}, true
	case *client.Dropped:
		return Event{Kind: Dropped, Text: e.Err.Error()}, true
	case *client.Left:
		return Event{Kind: Left, Text: e.Code.String() + " " + e.Text}, true
	case *client.Violation:
		return Event{Kind: Violated, Text: e.Text}, true
	}
	return Event{}, false
}

func placed(k Kind, f client.Facts) Event {
	return Event{
		Kind: k, Epoch: uint64(f.Epoch), Incarnation: uint64(f.Incarnation), Host: f.Host, Seq: uint64(f.Seq), Count: f.Count,
		Applied: uint64(f.Applied), Durable: uint64(f.Durable),
	}
}
