package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

const kindQuick = 0x30

// quick answers what starts with q, refuses what starts with r, and leaves the rest.
func quick(m *Mesh) {
	m.OnQuickCall(kindQuick, func(_ *Link, body, reply []byte) ([]byte, bool, error) {
		switch {
		case bytes.HasPrefix(body, []byte("q")):
			return append(reply, body...), true, nil
		case bytes.HasPrefix(body, []byte("r")):
			return nil, true, &wire.Error{Code: wire.CodeBusy, Text: string(body)}
		}
		return nil, false, nil
	}, func(_ context.Context, _ *Link, body []byte) ([]byte, error) {
		return append([]byte("slow "), body...), nil
	})
}

// linked runs the reader and the writer of a link over an end of a pipe, and
// answers the other end.
func linked(t *testing.T, m *Mesh) (*Link, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := newLink(m, &handshaken{conn: ours, peer: "peer#1"})
	m.wg.Go(l.read)
	m.wg.Go(l.write)
	t.Cleanup(func() { l.Close(ErrClosed); m.wg.Wait() })
	return l, theirs
}

func callFrame(id uint64, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(14+len(body)))
	b = append(b, kindCall)
	b = binary.BigEndian.AppendUint64(b, id)
	b = binary.BigEndian.AppendUint32(b, 1000)
	return append(append(b, kindQuick), body...)
}

func TestQuickCalls(t *testing.T) {
	b := start(t, Config{Self: "b#1"}, quick)
	a := start(t, Config{Self: "a#1"})
	var all sync.WaitGroup
	for w := range 32 {
		all.Go(func() {
			for i := range 200 {
				body := fmt.Sprintf("%c %d %d", "qrs"[i%3], w, i)
				got, err := a.Call(t.Context(), "b#1", b.addr, kindQuick, []byte(body))
				switch body[0] {
				case 'r':
					if e := wire.CodeOf(err); e.Code != wire.CodeBusy || e.Text != body {
						t.Errorf("%s: answered %v", body, err)
					}
				case 's':
					body = "slow " + body
					fallthrough
				default:
					if err != nil || string(got) != body {
						t.Errorf("%s: answered %q, %v", body, got, err)
					}
				}
			}
		})
	}
	all.Wait()
}

// What one read brings is answered by one write, and what waits for the rest of a
// long frame is answered before.
func TestQuickAnswersGoTogether(t *testing.T) {
	m := New(Config{Self: "a#1", Cluster: "test"})
	quick(m)
	_, peer := linked(t, m)
	var calls []byte
	const n = 100
	for i := range uint64(n) {
		calls = append(calls, callFrame(i, []byte("q"))...)
	}
	long := callFrame(n, append([]byte("q"), make([]byte, 1<<20)...))
	if _, err := peer.Write(append(calls, long[:4]...)); err != nil {
		t.Fatal(err)
	}
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	p := make([]byte, 64<<10)
	got, err := peer.Read(p)
	if want := n * (4 + 1 + 8 + 1); err != nil || got != want {
		t.Errorf("%d bytes of answers in one write, %v: want %d", got, err, want)
	}
}

// Callers who wait for answers send in step: to wait for more of them at each
// write would only hold them up.
func TestCallsDoNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answerAfter, rounds = 2 * lingerFor, 200
		m := New(Config{Self: "a#1", Cluster: "test"})
		m.OnCall(kindEcho, func(_ context.Context, _ *Link, body []byte) ([]byte, error) {
			time.Sleep(answerAfter)
			return body, nil
		})
		ours, theirs := net.Pipe()
		a, b := newLink(m, &handshaken{conn: ours, peer: "b#1"}), newLink(m, &handshaken{conn: theirs, peer: "a#1"})
		for _, l := range []*Link{a, b} {
			m.wg.Go(l.read)
			m.wg.Go(l.write)
		}
		begun := time.Now()
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				for range rounds {
					if _, err := a.Call(t.Context(), kindEcho, nil); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took > rounds*answerAfter*11/10 {
			t.Errorf("%d calls in a row took %s: want %s each", rounds, took, answerAfter)
		}
		a.Close(ErrClosed)
		m.wg.Wait()
	})
}

// A caller that gave up leaves nothing behind for those who call later.
func TestLateAnswersReachNobody(t *testing.T) {
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) {
		m.OnCall(kindEcho, func(_ context.Context, _ *Link, body []byte) ([]byte, error) {
			time.Sleep(rand.N(2 * time.Millisecond))
			return body, nil
		})
	})
	a := start(t, Config{Self: "a#1"})
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for w := range 16 {
		all.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				body := fmt.Append(nil, w, " ", i)
				got, err := l.Call(ctx, kindEcho, body)
				cancel()
				if err == nil && !bytes.Equal(got, body) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: answered %q, %v", body, got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestCallsEndWithTheirLink(t *testing.T) {
	b := start(t, Config{Self: "b#1"}, func(m *Mesh) {
		m.OnCall(kindEcho, func(ctx context.Context, l *Link, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	a := start(t, Config{Self: "a#1"})
	l, err := a.Link(t.Context(), "b#1", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	const n = 100
	for range n {
		go func() { _, err := l.Call(t.Context(), kindEcho, nil); errs <- err }()
	}
	l.Close(ErrClosed) // some have called, others are about to
	for range n {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("call on a link that was closed: %v", err)
		}
	}
}
