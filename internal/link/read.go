package link

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// readFrames handles frames in order. A frame that fits r's buffer is handled
// in place.
func (l *Link) readFrames(r *bufio.Reader) error {
	for {
		head, err := l.peek(r, 4)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(head))
		if n < 1 || n > MaxFrame {
			return fmt.Errorf("frame of %d bytes: want 1 to %d", n, MaxFrame)
		}
		if err := l.readFrame(r, n); err != nil {
			return err
		}
		l.heard.Add(1)
		l.mesh.metrics.received.Add(float64(4 + n))
	}
}

func (l *Link) readFrame(r *bufio.Reader, n int) error {
	if 4+n <= r.Size() {
		p, err := l.peek(r, 4+n)
		if err != nil {
			return err
		}
		if err := l.handle(p[4], p[5:]); err != nil {
			return err
		}
		_, err = r.Discard(4 + n)
		return err
	}
	if _, err := r.Discard(4); err != nil {
		return err
	}
	l.settle()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	return l.handle(p[0], p[1:])
}

// peek is r.Peek that ends the batch before it has to wait.
func (l *Link) peek(r *bufio.Reader, n int) ([]byte, error) {
	if r.Buffered() < n {
		l.settle()
		for _, h := range l.mesh.onBatch {
			h(l)
		}
	}
	return r.Peek(n)
}

// settle has the answers written that the reader has queued. It comes before all
// that the reader waits for.
func (l *Link) settle() {
	if l.owes {
		l.owes = false
		l.wakeWriter()
	}
}

func (l *Link) handle(kind uint8, body []byte) error {
	switch kind {
	case kindPing:
		return nil
	case kindCall:
		return l.handleCall(body)
	case kindReply:
		return l.handleReply(body)
	case kindError:
		return l.handleError(body)
	}
	if h := l.mesh.messages[kind]; h != nil {
		if !l.may(kind) {
			return fmt.Errorf("a %s may not send messages of kind %#x", l.role, kind)
		}
		h(l, body)
		return nil
	}
	// A newer build may send kinds that this one does not know.
	l.mesh.metrics.unknown.Inc()
	return nil
}
