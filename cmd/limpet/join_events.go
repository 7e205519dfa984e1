package main

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/wire"
)

// The lines that limpet join prints, by event.
type (
	placeLine struct {
		Event       string           `json:"event"` // joined, resumed, attached
		Room        wire.RoomID      `json:"room"`
		Host        string           `json:"host"`
		Gateway     string           `json:"gateway"`
		Member      wire.MemberID    `json:"member"`
		Epoch       wire.Epoch       `json:"epoch"`
		Incarnation wire.Incarnation `json:"incarnation"`
		Seq         wire.Seq         `json:"seq"`
		Applied     wire.Input       `json:"applied"`
		Durable     wire.Input       `json:"durable"`
		AwayMS      int64            `json:"away_ms,omitempty"`
	}
	lossLine struct {
		Event string     `json:"event"` // rewound, gap
		Epoch wire.Epoch `json:"epoch"`
		From  wire.Seq   `json:"from"`
		To    wire.Seq   `json:"to"`
	}
	messageLine struct {
		Event string     `json:"event"` // message, latest, ephemeral
		Epoch wire.Epoch `json:"epoch"`
		Seq   *wire.Seq  `json:"seq,omitempty"`
		Key   *uint32    `json:"key,omitempty"`
		Data  any        `json:"data"`
	}
	ackLine struct {
		Event   string     `json:"event"`
		Applied wire.Input `json:"applied"`
		Durable wire.Input `json:"durable"`
	}
	waitingLine struct {
		Event string `json:"event"`
		Code  string `json:"code"`
		ForMS int64  `json:"for_ms"`
	}
	storeLine struct {
		Event   string `json:"event"`
		Running bool   `json:"running"`
	}
	failedLine struct {
		Event string     `json:"event"`
		N     wire.Input `json:"n"`
		Code  string     `json:"code"`
		Text  string     `json:"text"`
	}
	rangeLine struct {
		Event string     `json:"event"` // gave_up, skipped
		From  wire.Input `json:"from"`
		To    wire.Input `json:"to"`
	}
	endLine struct {
		Event string `json:"event"` // dropped, left
		Code  string `json:"code"`
		Text  string `json:"text"`
	}
	errorLine struct {
		Event   string `json:"event"`
		Code    string `json:"code"`
		Text    string `json:"text"`
		RetryMS uint32 `json:"retry_ms"`
	}
)

// event prints what happened to the membership.
func (j *joiner) event(r *client.Room, e client.Event) {
	switch e := e.(type) {
	case *client.Joined:
		j.print(place("joined", r, e.Facts))
	case *client.Resumed:
		l := place("resumed", r, e.Facts)
		l.AwayMS = e.Away.Milliseconds()
		j.print(l)
	case *client.Attached:
		j.print(place("attached", r, e.Facts))
	case *client.Rewound:
		j.print(lossLine{"rewound", e.Epoch, e.From, e.To})
	case *client.Gap:
		j.print(lossLine{"gap", e.Epoch, e.From, e.To})
	case *client.Message:
		j.print(message(e))
	case *client.Ack:
		j.print(ackLine{"ack", e.Applied, e.Durable})
	case *client.Waiting:
		j.print(waitingLine{"waiting", e.Code.String(), e.For.Milliseconds()})
	case *client.Store:
		j.print(storeLine{"store", e.Running})
	case *client.Failed:
		j.print(failedLine{"failed", e.N, e.Code.String(), e.Text})
	case *client.GaveUp:
		j.print(rangeLine{"gave_up", e.From, e.To})
	case *client.Skipped:
		j.print(rangeLine{"skipped", e.From, e.To})
	case *client.Dropped:
		j.print(endLine{"dropped", e.Code.String(), e.Err.Error()})
	case *client.Left:
		j.print(endLine{"left", e.Code.String(), e.Text})
		j.ended <- e.Code
	case *client.Error:
		j.complain(&e.Error)
	case *client.Violation:
		j.complain(wire.Refuse(wire.CloseBadFrame, e.Text))
	}
}

// print writes one line. It may be called by several goroutines.
func (j *joiner) print(line any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out.Encode(line)
}

func (j *joiner) complain(e *wire.Error) {
	j.print(errorLine{"error", e.Code.String(), e.Text, e.RetryMS})
}

func place(event string, r *client.Room, f client.Facts) placeLine {
	return placeLine{
		Event: event, Room: r.ID(), Host: f.Host, Gateway: f.Gateway, Member: f.Member, Epoch: f.Epoch,
		Incarnation: f.Incarnation, Seq: f.Seq, Applied: f.Applied, Durable: f.Durable,
	}
}

func message(m *client.Message) messageLine {
	l := messageLine{Event: "message", Epoch: m.Epoch, Data: payload(m.Payload)}
	switch m.Class {
	case client.Reliable:
		l.Seq = &m.Seq
	case client.Latest:
		l.Event, l.Key = "latest", &m.Key
	case client.Ephemeral:
		l.Event = "ephemeral"
	}
	return l
}

// payload is a payload as JSON: itself, text, or bytes.
func payload(b []byte) any {
	switch {
	case json.Valid(b):
		return json.RawMessage(b)
	case utf8.Valid(b):
		return string(b)
	}
	return struct {
		Base64 []byte `json:"base64"`
	}{b}
}
