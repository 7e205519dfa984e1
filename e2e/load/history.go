package load

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/ledger"
)

// record keeps what one player sent and was told, in order.
type record struct {
	began time.Time

	mu     sync.Mutex
	events []check.Event // guarded by mu
}

func (r *record) add(e check.Event) {
	e.At = time.Since(r.began)
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
}

// takeBack removes the record of an input that was not taken.
func (r *record) takeBack(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.events) - 1; i >= 0; i-- {
		if e := r.events[i]; e.Kind == check.Sent && e.N == n {
			r.events = append(r.events[:i], r.events[i+1:]...)
			return
		}
	}
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
		ledger.Glance
		Book *ledger.Book `json:"book"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return
	}
	if m.Glance.Glance > 0 {
		ev.Value, ev.Behind = m.Glance.Glance, m.Behind
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
	ev.State, ev.Place = map[string]uint64{}, m.Book.Total
	for name, applied := range m.Book.Applied {
		ev.State[name] = applied.Last()
	}
}

// History is what the players sent and were told, and what the rooms hold.
// Fleeting rooms have no books: each of their incarnations is a room of its own.
func (f *Fleet) History(books map[string]ledger.Book) check.History {
	var h check.History
	fleeting := map[string]bool{}
	for _, p := range f.all() {
		p.record.mu.Lock()
		rec := check.Record{Client: p.Name, Room: f.cfg.Kind + "/" + p.RoomName, Events: p.record.events, Closed: p.closed.Load()}
		p.record.mu.Unlock()
		if len(rec.Events) == 0 {
			continue // never got in
		}
		if f.cfg.Fleeting {
			rec.Room = fmt.Sprintf("%s@%d", rec.Room, rec.Events[0].Incarnation)
			fleeting[rec.Room] = true
		}
		h.Records = append(h.Records, rec)
	}
	for name := range fleeting {
		h.Rooms = append(h.Rooms, check.Room{Name: name, Lost: true, Window: window})
	}
	for name, b := range books {
		room := check.Room{Name: f.cfg.Kind + "/" + name, Applied: map[string][]uint64{}, Journaled: f.cfg.Journaled, Window: window}
		for client, spans := range b.Applied {
			room.Applied[client] = spans.Numbers()
		}
		h.Rooms = append(h.Rooms, room)
	}
	return h
}

// window is how many messages a ledger keeps at least for members that come
// back: its bytes run out before the messages that a kind keeps by default.
const window = 256
