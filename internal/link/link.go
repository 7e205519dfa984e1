package link

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Link is one connection to a peer. All methods may be called concurrently.
type Link struct {
	// Static.
	mesh  *Mesh
	peer  string
	role  string // that the peer has proved; empty: the link is plain
	conn  net.Conn
	ctx   context.Context
	end   context.CancelCauseFunc
	done  chan struct{} // closed when the link is closed
	calls chan struct{} // one token a call being handled

	heard atomic.Uint64 // frames read: what the heartbeat watches

	wake chan struct{} // capacity 1: there is something to write

	// Owned by the reader.
	reply []byte // of the call being answered
	owes  bool   // answers are queued and the writer does not know

	mu      sync.Mutex
	out     []byte                 // unsent frames; guarded by mu
	frames  int                    // of out; guarded by mu
	urgent  bool                   // out has a call or an answer, for which somebody waits; guarded by mu
	closed  bool                   // guarded by mu
	waiting map[uint64]chan answer // calls of ours, each sent one answer by whoever removes it; guarded by mu
	lastID  uint64                 // guarded by mu
}

func newLink(m *Mesh, h *handshaken) *Link {
	l := &Link{
		mesh: m, peer: h.peer, role: h.proved.Role, conn: h.conn,
		done:    make(chan struct{}),
		calls:   make(chan struct{}, m.cfg.MaxCalls),
		wake:    make(chan struct{}, 1),
		waiting: map[uint64]chan answer{},
	}
	l.ctx, l.end = context.WithCancelCause(m.ctx)
	return l
}

// Peer is the process at the other end, as NAME#BOOT.
func (l *Link) Peer() string { return l.peer }

// may reports whether the peer may send a kind.
func (l *Link) may(kind uint8) bool {
	want := l.mesh.only[kind]
	return want == "" || l.role == "" || l.role == want
}

// Done is closed when the link is.
func (l *Link) Done() <-chan struct{} { return l.done }

// Close breaks the link. Unsent messages are lost.
func (l *Link) Close(cause error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.mu.Unlock()
	l.end(cause)
	close(l.done)
	l.conn.Close()
}

// Send queues a one-way message, head and tail in one, and returns without
// waiting for it to be written. It copies both.
func (l *Link) Send(kind uint8, head, tail []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.queue(kind, head, tail); err != nil {
		return err
	}
	l.wakeWriter()
	return nil
}

func (l *Link) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// queue appends a frame, of which the writer is yet to be told; mu is held.
func (l *Link) queue(kind uint8, head, tail []byte) error {
	if l.closed {
		return ErrClosed
	}
	n := 1 + len(head) + len(tail)
	if len(l.out)+4+n > l.mesh.cfg.QueueBytes || n > MaxFrame {
		l.mesh.metrics.full.Inc()
		return ErrFull
	}
	l.out = binary.BigEndian.AppendUint32(l.out, uint32(n))
	l.out = append(l.out, kind)
	l.out = append(l.out, head...)
	l.out = append(l.out, tail...)
	l.frames++
	l.urgent = l.urgent || kind <= kindError
	return nil
}

// keepBuffer is the largest write buffer that is kept for the next batch.
const keepBuffer = 256 << 10

// write sends what is queued, all of it in one system call, until the link is
// closed. Messages that arrive during a write go with the next, and where many
// come a write waits for them.
func (l *Link) write() {
	beat, pause := l.mesh.cfg.Alarms.New(), l.mesh.cfg.Alarms.New()
	defer beat.Stop()
	defer pause.Stop()
	beat.Set(time.Now(), l.mesh.cfg.Heartbeat)
	var spare []byte
	var heard uint64
	var g linger
	silent := 0
	for {
		select {
		case <-l.done:
			return
		case now := <-beat.C:
			beat.Set(now, l.mesh.cfg.Heartbeat)
			if now := l.heard.Load(); now != heard {
				heard, silent = now, 0
			} else if silent++; silent >= 4 {
				l.Close(errSilent)
				return
			}
			l.Send(kindPing, nil, nil)
			continue
		case <-l.wake:
		}
		l.mu.Lock()
		waiting, urgent := len(l.out), l.urgent
		l.mu.Unlock()
		now := time.Now()
		lingered := waiting > 0 && !urgent && g.wait(now, waiting)
		if urgent {
			runtime.Gosched() // others that wait to run may have calls to make too
		}
		if lingered {
			pause.Set(now, lingerFor)
			select {
			case <-l.done:
				return
			case <-pause.C:
			}
		}
		l.mu.Lock()
		batch, frames := l.out, l.frames
		l.out, l.frames, l.urgent = spare[:0], 0, false
		l.mu.Unlock()
		if len(batch) == 0 { // it went with the last
			spare = batch
			continue
		}
		now = time.Now()
		if g.wrote(now, frames); lingered {
			g.gathered(now, frames)
		}
		if _, err := l.conn.Write(batch); err != nil {
			l.Close(err)
			return
		}
		l.mesh.metrics.sent.Add(float64(len(batch)))
		l.mesh.metrics.writes.Inc()
		if spare = batch; cap(spare) > keepBuffer {
			spare = nil
		}
	}
}

// read handles what arrives until the link breaks, then ends the link.
func (l *Link) read() {
	err := l.readFrames(bufio.NewReaderSize(l.conn, 64<<10))
	l.Close(err)
	cause := context.Cause(l.ctx)
	l.failCalls()
	for _, h := range l.mesh.onDown {
		h(l, cause)
	}
	l.mesh.drop(l)
	l.mesh.metrics.down.Inc()
	l.mesh.cfg.Log.Info().Str("peer", l.peer).AnErr("cause", cause).Msg("link down")
}
