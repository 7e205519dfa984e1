package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

func TestResumeTakesUpWhereItWas(t *testing.T) {
	m := joined(t, nil)
	m.send("1", "2", "3")
	for n, p := range []string{"1", "2", "3"} {
		m.conn.wantInput(wire.Input(n+1), p)
	}
	m.conn.send(
		wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 5, Payload: []byte("a")},
		wire.Ack{Handle: 7, Applied: 2, Durable: 1, Count: 1},
	)
	next[*Message](t, m.log)
	next[*Ack](t, m.log)
	m.conn.ws.Close()
	if e := next[*Dropped](t, m.log); e.Code != wire.CodeNone || e.Err == nil {
		t.Errorf("dropped %+v", e)
	}
	m.send("4") // kept while there is no connection
	conn := m.f.accept()
	if conn.hello.Instance != m.conn.hello.Instance {
		t.Error("another instance after the reconnect")
	}
	at := wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000, Seq: 5, Count: 1, Applied: 2, Durable: 1}
	f := conn.resume(at)
	if string(f.Token) != "token-1" || f.At != (wire.Position{Epoch: 1000, Seq: 5}) || string(f.Data) != "data" {
		t.Errorf("resume %+v", f)
	}
	conn.send(wire.Message{Type: wire.TypeMessage, Handle: 8, Seq: 6, Payload: []byte("b")})
	conn.wantInput(3, "3")
	conn.wantInput(4, "4")
	if e := next[*Resumed](t, m.log); e.Gateway != "fake" || e.Away <= 0 {
		t.Errorf("resumed %+v", e)
	}
	if e := next[*Message](t, m.log); e.Seq != 6 {
		t.Errorf("message %+v", e)
	}
	conn.ws.Close()
	next[*Dropped](t, m.log)
	if f := m.f.accept().resume(at); string(f.Token) != "token-2" {
		t.Errorf("second resume with %q, want the newest token", f.Token)
	}
}

func TestRewindSendsAgainWhatIsUndone(t *testing.T) {
	m := joined(t, nil)
	m.send("1", "2", "3")
	for range 3 {
		m.conn.next()
	}
	m.conn.send(wire.Ack{Handle: 7, Applied: 3, Durable: 1})
	next[*Ack](t, m.log)
	m.conn.send(wire.Attached{Handle: 7, Token: []byte("token-3"), Attach: wire.Attach{
		How: wire.HowRewound, Host: "host-2", Epoch: 2000, Incarnation: 1000, Seq: 4, Count: 2, Applied: 1, Durable: 1, From: 5, To: 9,
	}})
	if e := next[*Attached](t, m.log); e.Host != "host-2" || e.Epoch != 2000 {
		t.Errorf("attached %+v", e)
	}
	if e := next[*Rewound](t, m.log); e.From != 5 || e.To != 9 || e.Epoch != 2000 {
		t.Errorf("rewound %+v", e)
	}
	m.conn.wantInput(2, "2")
	m.conn.wantInput(3, "3")
	// The new owner's numbers go on from its own position.
	m.conn.send(wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 5}, wire.Ack{Handle: 7, Applied: 3, Durable: 1, Count: 3})
	if e := next[*Message](t, m.log); e.Epoch != 2000 {
		t.Errorf("message %+v", e)
	}
	next[*Ack](t, m.log)
	m.log.none(t)
}

func TestMoveGoesOnInTheNewEpoch(t *testing.T) {
	m := joined(t, nil)
	m.conn.send(wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowResumed, Host: "host-2", Epoch: 2000, Incarnation: 1000}})
	next[*Attached](t, m.log)
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	f := want(m.f.accept(), wire.TypeResume, wire.DecodeResume)
	if string(f.Token) != "token-1" || f.At.Epoch != 2000 {
		t.Errorf("resume %+v, want the kept token and the new epoch", f)
	}
	m.log.none(t)
}

func TestGapIsTold(t *testing.T) {
	m := joined(t, nil)
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	m.f.accept().resume(wire.Attach{How: wire.HowGap, Host: "host-1", Epoch: 1000, Incarnation: 1000, Seq: 50, Count: 40, From: 1, To: 50})
	next[*Resumed](t, m.log)
	if e := next[*Gap](t, m.log); e.From != 1 || e.To != 50 {
		t.Errorf("gap %+v", e)
	}
	if s := m.r.Status(); s.Seq != 50 || s.Count != 40 {
		t.Errorf("status %+v", s)
	}
}

func TestExpectSendsAgain(t *testing.T) {
	m := joined(t, nil)
	m.send("1", "2", "3")
	for range 3 {
		m.conn.next()
	}
	m.conn.send(wire.Expect{Handle: 7, Next: 2})
	m.conn.wantInput(2, "2")
	m.conn.wantInput(3, "3")
}

func TestBusyRoomGetsInputsAgainLater(t *testing.T) {
	m := joined(t, nil)
	m.send("1")
	m.conn.wantInput(1, "1")
	before := time.Now()
	m.conn.send(wire.ErrorFrame{Handle: 7, Error: wire.Error{Code: wire.CodeBusy, RetryMS: 80}})
	next[*Error](t, m.log)
	m.send("2")
	m.conn.wantInput(1, "1")
	if waited := time.Since(before); waited < 80*time.Millisecond {
		t.Errorf("sent again after %s, want 80ms at least", waited)
	}
	m.conn.wantInput(2, "2")
}

func TestFullBufferGivesUpTheOldest(t *testing.T) {
	m := joined(t, func(c *Config) { c.MaxInputs = 4 })
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	for range 10 {
		m.send("x")
	}
	if e := next[*GaveUp](t, m.log); e.From != 1 || e.To < 1 {
		t.Errorf("gave up %+v", e)
	}
	conn := m.f.accept()
	conn.resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
	if f := want(conn, wire.TypeSkip, wire.DecodeSkip); f.From != 1 || f.To != 6 || f.Handle != 8 {
		t.Errorf("skip %+v, want 1 to 6", f)
	}
	for n := range 4 {
		conn.wantInput(wire.Input(n+7), "x")
	}
	conn.send(wire.Skipped{Handle: 8, From: 1, To: 6})
	for m.log.starts((*GaveUp)(nil)) { // as they came, before or after the resume
		next[*GaveUp](t, m.log)
	}
	next[*Resumed](t, m.log)
	for m.log.starts((*GaveUp)(nil)) {
		next[*GaveUp](t, m.log)
	}
	if e := next[*Skipped](t, m.log); e.From != 1 || e.To != 6 {
		t.Errorf("skipped %+v", e)
	}
	if s := m.r.Status(); s.Sent != 10 {
		t.Errorf("%d inputs were sent, want 10", s.Sent)
	}
}

func TestLeaveOutlivesTheConnection(t *testing.T) {
	m := joined(t, nil)
	left := make(chan error, 1)
	go func() { left <- m.r.Leave(context.Background()) }()
	want(m.conn, wire.TypeLeave, wire.DecodeLeave)
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	conn := m.f.accept()
	conn.resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
	if f := want(conn, wire.TypeLeave, wire.DecodeLeave); f.N != 1 {
		t.Errorf("leave %+v", f)
	}
	conn.send(wire.Left{Handle: 8, Code: wire.CodeLeft})
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func TestEndedMembershipsDoNotComeBack(t *testing.T) {
	t.Run("replaced", func(t *testing.T) {
		m := joined(t, nil)
		m.conn.send(wire.Left{Handle: 7, Code: wire.CodeReplaced, Text: "elsewhere"})
		if e := next[*Left](t, m.log); e.Code != wire.CodeReplaced || e.Text != "elsewhere" {
			t.Errorf("left %+v", e)
		}
		m.c.Drop()
		conn := m.f.accept()
		go m.c.Join(context.Background(), wire.ModeJoin, "arena", "lobby", nil)
		want(conn, wire.TypeJoin, wire.DecodeJoin) // and no resume before it
		var e *wire.Error
		if err := m.r.Settle(context.Background()); err != nil {
			t.Errorf("nothing was sent, yet: %v", err)
		}
		if over := m.r.Status().Over; !errors.As(over, &e) || e.Code != wire.CodeReplaced {
			t.Errorf("over with %v", over)
		}
	})
	t.Run("refused resume", func(t *testing.T) {
		m := joined(t, nil)
		m.conn.ws.Close()
		next[*Dropped](t, m.log)
		conn := m.f.accept()
		f := want(conn, wire.TypeResume, wire.DecodeResume)
		conn.send(wire.ErrorFrame{Ref: f.Ref, Error: wire.Error{Code: wire.CodeGraceOver}})
		if e := next[*Left](t, m.log); e.Code != wire.CodeGraceOver {
			t.Errorf("left %+v", e)
		}
	})
}

func TestResumeIsTriedAgain(t *testing.T) {
	m := joined(t, nil)
	m.conn.ws.Close()
	next[*Dropped](t, m.log)
	conn := m.f.accept()
	f := want(conn, wire.TypeResume, wire.DecodeResume)
	conn.send(wire.ErrorFrame{Ref: f.Ref, Error: wire.Error{Code: wire.CodeUnavailable, RetryMS: 50}})
	if e := next[*Waiting](t, m.log); e.Code != wire.CodeUnavailable {
		t.Errorf("waiting %+v", e)
	}
	again := conn.resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
	if again.Ref == f.Ref {
		t.Error("the same ref twice")
	}
	next[*Resumed](t, m.log)
}

func TestUnansweredCreateIsNotAskedAgain(t *testing.T) {
	f := newFake(t)
	c := dial(t, Config{URLs: []string{f.url}})
	conn := f.accept()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Join(context.Background(), wire.ModeCreate, "arena", "lobby", nil)
		answered <- err
	}()
	want(conn, wire.TypeJoin, wire.DecodeJoin)
	conn.ws.Close()
	var e *wire.Error
	if err := <-answered; !errors.As(err, &e) || e.Code != wire.CodeTimeout {
		t.Errorf("error %v, want %s", err, wire.CodeTimeout)
	}
}

func TestUnansweredJoinIsAskedAgain(t *testing.T) {
	f := newFake(t)
	c := dial(t, Config{URLs: []string{f.url}})
	conn := f.accept()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Join(context.Background(), wire.ModeJoinOrCreate, "arena", "lobby", nil)
		answered <- err
	}()
	want(conn, wire.TypeJoin, wire.DecodeJoin)
	conn.ws.Close()
	f.accept().admit(atStart)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// Every promise that the other end can break is told when it does.
func TestViolationsAreTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames []appender
		says   string
	}{
		{"a message twice", []appender{
			wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 3}, wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 3},
		}, "message 3 after message 3"},
		{"messages out of order", []appender{
			wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 4}, wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 3},
		}, "message 3 after message 4"},
		{"a message missing", []appender{wire.Ack{Handle: 7, Count: 2}}, "2 reliable messages were addressed to this member, 0 came"},
		{"ack of what was not sent", []appender{wire.Ack{Handle: 7, Applied: 9}}, "ack of input 9"},
		{"ack going back", []appender{
			wire.Ack{Handle: 7, Applied: 2, Durable: 1}, wire.Ack{Handle: 7, Applied: 1, Durable: 1},
		}, "ack went back"},
		{"durable above applied", []appender{wire.Ack{Handle: 7, Applied: 1, Durable: 2}}, "durable 2 above applied 1"},
		{"expecting what was acknowledged", []appender{
			wire.Ack{Handle: 7, Applied: 2}, wire.Expect{Handle: 7, Next: 2},
		}, "input 2 is expected, but 2 was acknowledged"},
		{"expecting what was not sent", []appender{wire.Expect{Handle: 7, Next: 9}}, "input 9 is expected"},
		{"epoch going back", []appender{wire.Attached{Handle: 7, Attach: wire.Attach{Epoch: 999, Incarnation: 1000}}}, "epoch went back"},
		{"another incarnation", []appender{wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowRewound, Epoch: 1001, Incarnation: 1001}}}, "incarnation changed"},
		{"durable going back", []appender{
			wire.Ack{Handle: 7, Applied: 2, Durable: 2},
			wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowRewound, Epoch: 1001, Incarnation: 1000, Applied: 1, Durable: 1}},
		}, "durable inputs went back from 2 to 1"},
		{"applied going back in a resume", []appender{
			wire.Ack{Handle: 7, Applied: 2},
			wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowResumed, Epoch: 1001, Incarnation: 1000, Applied: 1}},
		}, "applied went back"},
		{"resuming elsewhere", []appender{
			wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowResumed, Epoch: 1000, Incarnation: 1000, Seq: 2, Count: 1}},
		}, "resumed behind message 2"},
		{"having inputs that were not sent", []appender{
			wire.Attached{Handle: 7, Attach: wire.Attach{How: wire.HowRewound, Epoch: 1001, Incarnation: 1000, Applied: 4}},
		}, "the room has input 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := joined(t, nil)
			m.send("1", "2")
			m.conn.next()
			m.conn.next()
			m.conn.send(c.frames...)
			deadline := time.Now().Add(within)
			for {
				m.log.mu.Lock()
				events := append([]Event(nil), m.log.events...)
				m.log.mu.Unlock()
				for _, e := range events {
					if v, ok := e.(*Violation); ok {
						if !strings.Contains(v.Text, c.says) {
							t.Errorf("violation %q, want %q", v.Text, c.says)
						}
						return
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("no violation told in %d events", len(events))
				}
				select {
				case <-m.log.more:
				case <-time.After(time.Until(deadline)):
				}
			}
		})
	}
}

func TestMissedMessagesBringFullState(t *testing.T) {
	m := joined(t, nil)
	m.conn.send(wire.Message{Type: wire.TypeMessage, Handle: 7, Seq: 3}, wire.Ack{Handle: 7, Count: 2})
	next[*Message](t, m.log)
	next[*Ack](t, m.log)
	next[*Violation](t, m.log)
	next[*Dropped](t, m.log)
	f := m.f.accept().resume(wire.Attach{How: wire.HowRewound, Host: "host-1", Epoch: 1000, Incarnation: 1000, Seq: 9, Count: 5})
	if f.At != (wire.Position{}) {
		t.Errorf("resumed from %+v, want from nowhere", f.At)
	}
	next[*Resumed](t, m.log)
	next[*Rewound](t, m.log)
	m.log.none(t)
}

func TestGarbledFrameEndsTheConnection(t *testing.T) {
	m := joined(t, nil)
	m.conn.write([]byte{byte(wire.TypeAck), 0, 0})
	if e := next[*Violation](t, m.log); !strings.Contains(e.Text, "ack frame") {
		t.Errorf("violation %q does not name the frame", e.Text)
	}
	next[*Dropped](t, m.log)
	want(m.f.accept(), wire.TypeResume, wire.DecodeResume)
}
