package roomtest

import (
	"encoding/json"

	"github.com/limpet-games/limpet/wire"
)

// Class is how a message was sent.
type Class uint8

// The classes of messages, as in rooms.Audience.
const (
	Reliable Class = iota
	Latest
	Ephemeral
)

// String names the class.
func (c Class) String() string {
	switch c {
	case Reliable:
		return "reliable"
	case Latest:
		return "latest"
	default:
		return "ephemeral"
	}
}

// Message is what a player got from the room.
type Message struct {
	Class Class
	Key   uint32 // of a Latest
	Data  []byte
	t     T
}

// String is the message as text.
func (m Message) String() string { return string(m.Data) }

// JSON decodes the message into v. It fails the test where that can't be done.
func (m Message) JSON(v any) {
	m.t.Helper()
	if err := json.Unmarshal(m.Data, v); err != nil {
		m.t.Fatalf("message %q: %v", m.Data, err)
	}
}

// put adds a message to those not read. A Latest replaces the one with its
// key, and stands behind the reliable ones sent before it.
func (p *Player) put(m wire.Message) {
	n := Message{Data: append([]byte(nil), m.Payload...), Key: m.Key, t: p.rt.t}
	switch m.Type {
	case wire.TypeLatest:
		n.Class = Latest
		for i, old := range p.unread {
			if old.Class == Latest && old.Key == n.Key {
				p.unread = append(p.unread[:i], p.unread[i+1:]...)
				break
			}
		}
	case wire.TypeEphemeral:
		n.Class = Ephemeral
	}
	p.unread = append(p.unread, n)
}
