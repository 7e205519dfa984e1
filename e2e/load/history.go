package load

import (
	"encoding/json"
	"sync"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/ledger"
)

// record keeps what one player sent and was told, in order.
type record struct {
	mu     sync.Mutex
	events []check.Event // guarded by mu
}

func (r *record) add(e check.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
}

func (r *record) told(e client.Event) {
	if ev, ok := check.From(e); ok {
		if m, ok := e.(*client.Message); ok {
			read(m.Payload, &ev)
		}
		r.add(ev)
	}
}

// read adds what a ledger's message says.
func read(payload []byte, ev *check.Event) {
	var m struct {
		ledger.Note
		Book *ledger.Book `json:"book"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return
	}
	if m.Book == nil {
		ev.ToAll = true
		if m.N == 0 {
			return // a pulse
		}
		ev.About, ev.Place = check.Input{Client: m.Client, N: m.N}, m.Total
		return
	}
	ev.State = map[string]uint64{}
	for name, applied := range m.Book.Applied {
		ev.State[name] = applied.Last()
	}
}

// History is what the players sent and were told, and what the rooms hold.
func (f *Fleet) History(books map[string]ledger.Book) check.History {
	var h check.History
	for _, p := range f.Players {
		p.record.mu.Lock()
		h.Records = append(h.Records, check.Record{Client: p.Name, Room: p.RoomName, Events: p.record.events})
		p.record.mu.Unlock()
	}
	for name, b := range books {
		room := check.Room{Name: name, Applied: map[string][]uint64{}}
		for client, spans := range b.Applied {
			room.Applied[client] = spans.Numbers()
		}
		h.Rooms = append(h.Rooms, room)
	}
	return h
}
