package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func TestJoinPlayLeave(t *testing.T) {
	m := joined(t, func(c *Config) { c.Token, c.Agent = []byte("secret"), "test/1" })
	if h := m.conn.hello; string(h.Token) != "secret" || h.Agent != "test/1" || h.Instance == (wire.Instance{}) {
		t.Errorf("hello is %+v", h)
	}
	if m.r.ID() != "arena/lobby" || m.r.Status().Member != 42 || !m.c.Stats().Connected {
		t.Errorf("room %s, status %+v, stats %+v", m.r.ID(), m.r.Status(), m.c.Stats())
	}
	m.send("one", "two")
	m.conn.wantInput(1, "one")
	m.conn.wantInput(2, "two")
	m.conn.send(
		wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 3, Payload: []byte("a")},
		wire.Message{Type: wire.TypeLatest, Handle: 7, Key: 9, Payload: []byte("b")},
		wire.Message{Type: wire.TypeEphemeral, Handle: 7, Payload: []byte("c")},
		wire.Ack{Handle: 7, Applied: 2, Durable: 1, Count: 1},
	)
	if e := next[*Message](t, m.log); e.Class != Reliable || e.Seq != 3 || e.Epoch != 1000 || string(e.Payload) != "a" {
		t.Errorf("message %+v", e)
	}
	if e := next[*Message](t, m.log); e.Class != Latest || e.Key != 9 || string(e.Payload) != "b" {
		t.Errorf("latest %+v", e)
	}
	if e := next[*Message](t, m.log); e.Class != Ephemeral || string(e.Payload) != "c" {
		t.Errorf("ephemeral %+v", e)
	}
	if e := next[*Ack](t, m.log); e.Applied != 2 || e.Durable != 1 {
		t.Errorf("ack %+v", e)
	}
	left := make(chan error, 1)
	go func() { left <- m.r.Leave(context.Background()) }()
	if f := want(m.conn, wire.TypeLeave, wire.DecodeLeave); f.N != 3 || f.Handle != 7 {
		t.Errorf("leave %+v, want number 3", f)
	}
	m.conn.send(wire.Left{Handle: 7, Code: wire.CodeLeft})
	if err := <-left; err != nil {
		t.Error(err)
	}
	if e := next[*Left](t, m.log); e.Code != wire.CodeLeft {
		t.Errorf("left %+v", e)
	}
	if _, err := m.r.Send(nil); !errors.Is(err, ErrOver) {
		t.Errorf("send after leaving: %v, want %v", err, ErrOver)
	}
	// Late frames of the old handle concern nobody.
	m.conn.send(wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 9}, wire.Ack{Handle: 7, Applied: 99})
	m.conn.write([]byte{0xff, 1, 2})
	m.join("other", atStart)
	next[*Joined](t, m.log)
	m.log.none(t)
}

func TestRefusedJoinIsAnError(t *testing.T) {
	f, l := newFake(t), newLog()
	c := dial(t, Config{URLs: []string{f.url}, OnEvent: l.add})
	conn := f.accept()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Join(context.Background(), wire.ModeCreate, "arena", "lobby", nil)
		answered <- err
	}()
	j := want(conn, wire.TypeJoin, wire.DecodeJoin)
	conn.send(wire.ErrorFrame{Ref: j.Ref, Error: wire.Error{Code: wire.CodeRefused, Text: "the game has begun"}})
	var e *wire.Error
	if err := <-answered; !errors.As(err, &e) || e.Code != wire.CodeRefused || e.Text != "the game has begun" {
		t.Errorf("error %v", err)
	}
	l.none(t)
}

func TestBadJoinsAreNotAsked(t *testing.T) {
	f := newFake(t)
	c := dial(t, Config{URLs: []string{f.url}})
	for _, j := range []struct {
		mode       wire.Mode
		kind, name string
		data       []byte
	}{
		{wire.ModeJoin, "Arena", "x", nil},
		{wire.ModeJoin, "arena", "", nil},
		{wire.ModeAny, "arena", "x", nil},
		{9, "arena", "x", nil},
		{wire.ModeJoin, "arena", "x", make([]byte, wire.MaxJoinData+1)},
		{wire.ModeJoin, "arena", "x", make([]byte, 1<<20)},
	} {
		if _, err := c.Join(context.Background(), j.mode, j.kind, j.name, j.data); err == nil {
			t.Errorf("join %d %s/%s with %d bytes was asked", j.mode, j.kind, j.name, len(j.data))
		}
	}
}

func TestSeveralRoomsOnOneConnection(t *testing.T) {
	m := joined(t, nil)
	lobby := m.r
	answered := make(chan *Room, 1)
	go func() {
		r, err := m.c.Join(context.Background(), wire.ModeAny, "chat", "", nil)
		if err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	j := want(m.conn, wire.TypeJoin, wire.DecodeJoin)
	m.conn.send(wire.Joined{Ref: j.Ref, Handle: 9, Kind: "chat", Name: "c-1", Member: 43, Attach: atStart, Token: []byte("chat")})
	chat := <-answered
	next[*Joined](t, m.log)
	if chat.ID() != "chat/c-1" {
		t.Errorf("joined %s, want the room that was found", chat.ID())
	}
	chat.Send([]byte("x"))
	if f := want(m.conn, wire.TypeInput, wire.DecodeInput); f.Handle != 9 || f.N != 1 {
		t.Errorf("input %+v", f)
	}
	lobby.Send([]byte("y"))
	if f := want(m.conn, wire.TypeInput, wire.DecodeInput); f.Handle != 7 || f.N != 1 {
		t.Errorf("input %+v", f)
	}
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	next[*Dropped](t, m.log)
	conn := m.f.accept()
	tokens := map[string]bool{}
	for range 2 {
		tokens[string(want(conn, wire.TypeResume, wire.DecodeResume).Token)] = true
	}
	if !tokens["token-1"] || !tokens["chat"] {
		t.Errorf("resumed with %v", tokens)
	}
}

func TestAbandonedJoinIsLeft(t *testing.T) {
	f := newFake(t)
	c := dial(t, Config{URLs: []string{f.url}})
	conn := f.accept()
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan error, 1)
	go func() {
		_, err := c.Join(ctx, wire.ModeJoin, "arena", "lobby", nil)
		answered <- err
	}()
	j := want(conn, wire.TypeJoin, wire.DecodeJoin)
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	conn.send(wire.Joined{Ref: j.Ref, Handle: 7, Kind: "arena", Name: "lobby", Member: 1, Attach: atStart, Token: []byte("t")})
	if l := want(conn, wire.TypeLeave, wire.DecodeLeave); l.N != 1 || l.Handle != 7 {
		t.Errorf("leave %+v", l)
	}
}

func TestTooLargeInputTakesNoNumber(t *testing.T) {
	m := joined(t, nil)
	var e *wire.Error
	if _, err := m.r.Send(make([]byte, 16_372)); !errors.As(err, &e) || e.Code != wire.CodeTooBig {
		t.Errorf("error %v, want %s", err, wire.CodeTooBig)
	}
	if n, err := m.r.Send(make([]byte, 16_371)); n != 1 || err != nil {
		t.Errorf("input %d, error %v", n, err)
	}
	m.conn.wantInput(1, strings.Repeat("\x00", 16_371))
}

func TestSettleWaitsForDurable(t *testing.T) {
	m := joined(t, nil)
	m.send("a", "b")
	settled := make(chan error, 1)
	go func() { settled <- m.r.Settle(context.Background()) }()
	m.conn.wantInput(1, "a")
	m.conn.wantInput(2, "b")
	m.conn.send(wire.Ack{Handle: 7, Applied: 2, Durable: 1})
	next[*Ack](t, m.log)
	select {
	case <-settled:
		t.Error("settled with one input durable of two")
	default:
	}
	m.conn.send(wire.Ack{Handle: 7, Applied: 2, Durable: 2})
	if err := <-settled; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	m.send("c")
	if err := m.r.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestReadyWaitsForRoomInTheBuffer(t *testing.T) {
	m := joined(t, func(c *Config) { c.MaxInputs = 2 })
	m.send("a", "b")
	m.conn.wantInput(1, "a")
	m.conn.wantInput(2, "b")
	ready := make(chan error, 1)
	go func() { ready <- m.r.Ready(context.Background()) }()
	m.conn.send(wire.Ack{Handle: 7, Applied: 2})
	next[*Ack](t, m.log)
	select {
	case <-ready:
		t.Error("ready with a full buffer")
	default:
	}
	m.conn.send(wire.Ack{Handle: 7, Applied: 2, Durable: 1})
	if err := <-ready; err != nil {
		t.Error(err)
	}
	m.send("c")
	m.conn.wantInput(3, "c")
}

func TestNoticesBecomeEvents(t *testing.T) {
	m := joined(t, nil)
	m.conn.send(
		wire.Waiting{Handle: 7, Code: wire.CodeUnavailable, ForMS: 1500},
		wire.Store{Handle: 7, Running: false},
		wire.Failed{Handle: 7, N: 1, Code: wire.CodeInputFailed, Text: "panic"},
		wire.ErrorFrame{Handle: 7, Error: wire.Error{Code: wire.CodeBadRequest}},
		wire.ErrorFrame{Error: wire.Error{Code: wire.CodeRateLimited, RetryMS: 10}},
	)
	if e := next[*Waiting](t, m.log); e.Code != wire.CodeUnavailable || e.For != 1500*time.Millisecond {
		t.Errorf("%+v", e)
	}
	if e := next[*Store](t, m.log); e.Running {
		t.Errorf("%+v", e)
	}
	if e := next[*Failed](t, m.log); e.N != 1 || e.Text != "panic" {
		t.Errorf("%+v", e)
	}
	if e := next[*Error](t, m.log); e.Code != wire.CodeBadRequest {
		t.Errorf("%+v", e)
	}
	if e := next[*Error](t, m.log); e.Code != wire.CodeRateLimited {
		t.Errorf("%+v", e)
	}
}

func TestListRooms(t *testing.T) {
	f := newFake(t)
	c := dial(t, Config{URLs: []string{f.url}})
	conn := f.accept()
	type answer struct {
		rooms wire.Rooms
		err   error
	}
	ask := func(ctx context.Context) chan answer {
		ch := make(chan answer, 1)
		go func() { r, err := c.List(ctx, "arena", 5); ch <- answer{r, err} }()
		return ch
	}
	first := ask(context.Background())
	l := want(conn, wire.TypeList, wire.DecodeList)
	conn.send(wire.Rooms{Ref: l.Ref, Asked: 3, Answered: 2, JSON: []byte("[]")})
	if a := <-first; a.err != nil || a.rooms.Asked != 3 || string(a.rooms.JSON) != "[]" {
		t.Errorf("answer %+v", a)
	}
	second := ask(context.Background())
	l = want(conn, wire.TypeList, wire.DecodeList)
	conn.send(wire.ErrorFrame{Ref: l.Ref, Error: wire.Error{Code: wire.CodeRateLimited}})
	if a := <-second; wire.CodeOf(a.err).Code != wire.CodeRateLimited {
		t.Errorf("answer %+v", a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	third := ask(ctx)
	conn.next()
	cancel()
	if a := <-third; !errors.Is(a.err, context.Canceled) {
		t.Errorf("answer %+v", a)
	}
}
