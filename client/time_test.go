package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// pipes is a listener in memory, so that a test's clock may be a fake one.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble is a member whose gateway and clock are in memory.
func bubble(t *testing.T, change func(*fake)) *member {
	t.Helper()
	p := newPipes()
	m := &member{T: t, f: newFakeOn(t, p), log: newLog()}
	if change != nil {
		change(m.f)
	}
	m.c = dial(t, Config{URLs: []string{m.f.url}, OnEvent: m.log.add, NetDial: p.dial})
	m.conn = m.f.accept()
	m.join("lobby", atStart)
	next[*Joined](t, m.log)
	return m
}

func TestSilentConnectionIsPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		m.conn.mu.Lock()
		pings := m.conn.pings
		m.conn.mu.Unlock()
		if pings < 6 || pings > 13 {
			t.Errorf("%d pings in a minute with a heartbeat of 10s", pings)
		}
		m.log.none(t)
		if s := m.c.Stats(); !s.Connected || s.Tries != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestSilentGatewayIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		m.conn.mu.Lock()
		m.conn.mute = true
		m.conn.mu.Unlock()
		start := time.Now()
		next[*Dropped](t, waitFor(m, 30*time.Second))
		if d := time.Since(start); d < 15*time.Second || d > 20*time.Second {
			t.Errorf("given up after %s, want two heartbeats of 10s at most", d)
		}
	})
}

// waitFor lets up to d of fake time pass until an event is there.
func waitFor(m *member, d time.Duration) *log {
	m.Helper()
	deadline := time.After(d)
	for {
		m.log.mu.Lock()
		some := len(m.log.events) > 0
		m.log.mu.Unlock()
		if some {
			return m.log
		}
		select {
		case <-m.log.more:
		case <-deadline:
			return m.log
		}
	}
}

func TestGoAwayMovesWithinTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		start := time.Now()
		m.conn.send(wire.GoAway{AfterMS: 1000, SpreadMS: 4000}, wire.GoAway{AfterMS: 1, SpreadMS: 1})
		m.send("x")
		m.conn.wantInput(1, "x") // it plays on until then
		e := next[*Dropped](t, waitFor(m, 10*time.Second))
		if e.Code != wire.CloseShutdown {
			t.Errorf("dropped %+v", e)
		}
		left := time.Since(start)
		if left < time.Second || left > 5*time.Second {
			t.Errorf("left after %s, want 1s to 5s", left)
		}
		m.f.accept().resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
		next[*Resumed](t, waitFor(m, time.Second))
		if d := time.Since(start) - left; d > 0 {
			t.Errorf("connected again after %s, want at once", d)
		}
	})
}

func TestBackoffGrowsAndStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		var longest time.Duration
		conn := m.conn
		for i := range 40 {
			conn.ws.Close()
			broken := time.Now()
			conn = m.f.accept()
			d := time.Since(broken)
			if bound := min(10*time.Second, 250*time.Millisecond<<min(i, 10)); d > bound {
				t.Errorf("attempt %d after %s, want %s at most", i, d, bound)
			}
			longest = max(longest, d)
		}
		if longest < 5*time.Second {
			t.Errorf("the longest of 40 waits was %s: no back-off", longest)
		}
		conn.resume(wire.Attach{How: wire.HowResumed, Host: "host-1", Epoch: 1000, Incarnation: 1000})
		time.Sleep(11 * time.Second) // stable
		conn.ws.Close()
		broken := time.Now()
		m.f.accept()
		if d := time.Since(broken); d > 250*time.Millisecond {
			t.Errorf("waited %s after a stable connection, want 250ms at most", d)
		}
	})
}

func TestServersAdviceWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		m.conn.send(wire.ErrorFrame{Error: wire.Error{Code: wire.CodeBusy, RetryMS: 30_000}})
		m.conn.closeWith(wire.CloseOverload, "too many")
		next[*Error](t, m.log)
		e := next[*Dropped](t, m.log)
		if e.Code != wire.CloseOverload {
			t.Errorf("dropped %+v", e)
		}
		start := time.Now()
		select {
		case <-m.f.accepted:
		case <-time.After(time.Minute):
			t.Fatal("did not come back")
		}
		if d := time.Since(start); d < 30*time.Second || d > 30*time.Second+250*time.Millisecond {
			t.Errorf("came back after %s, want 30s and up to 250ms", d)
		}
	})
}

func TestUnackedInputsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		m.send("1", "2")
		m.conn.wantInput(1, "1")
		m.conn.wantInput(2, "2")
		start := time.Now()
		select {
		case msg := <-m.conn.in:
			if f, err := wire.DecodeInput(msg); err != nil || f.N != 1 {
				t.Errorf("sent % x, want input 1 again", msg)
			}
		case <-time.After(time.Minute):
			t.Fatal("sent nothing again")
		}
		if d := time.Since(start); d < 5*time.Second || d > 15*time.Second {
			t.Errorf("sent again after %s", d)
		}
	})
}

func TestUnansweredResumeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		m.conn.ws.Close()
		next[*Dropped](t, waitFor(m, time.Second))
		conn := m.f.accept()
		want(conn, wire.TypeResume, wire.DecodeResume)
		time.Sleep(30 * time.Second)
		conn.gone()
		want(m.f.accept(), wire.TypeResume, wire.DecodeResume)
	})
}

func TestGivenUpInputsAreToldWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bubble(t, nil)
		m.f.close()
		next[*Dropped](t, m.log)
		for range 1025 {
			m.send("x")
		}
		synctest.Wait()
		if e := next[*GaveUp](t, m.log); e.From != 1 || e.To != 1 {
			t.Errorf("gave up %+v, want input 1", e)
		}
	})
}
