package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/limpet-games/limpet/wire"
)

type answer struct {
	body []byte
	err  error
}

// Call sends a request and waits for its answer. An error is a *wire.Error
// from the peer's handler, ctx's, or the link's; after the latter two it is not
// known whether the peer has acted.
func (l *Link) Call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	got, _ := l.mesh.answers.Get().(chan answer)
	if got == nil {
		got = make(chan answer, 1)
	}
	defer l.mesh.answers.Put(got) // empty: each call takes its one answer
	id, err := l.sendCall(ctx, kind, body, got)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", l.peer, err)
	}
	select {
	case a := <-got:
		return a.body, a.err
	case <-ctx.Done():
		l.answer(id, answer{err: fmt.Errorf("call %s: %w", l.peer, ctx.Err())})
		a := <-got // this one, or one that came just before
		return a.body, a.err
	}
}

// Call finds or dials the node's link and calls it.
func (m *Mesh) Call(ctx context.Context, node, addr string, kind uint8, body []byte) ([]byte, error) {
	l, err := m.Link(ctx, node, addr)
	if err != nil {
		return nil, err
	}
	return l.Call(ctx, kind, body)
}

const defaultCallTime = 5 * time.Second

func (l *Link) sendCall(ctx context.Context, kind uint8, body []byte, got chan answer) (uint64, error) {
	left := defaultCallTime
	if d, ok := ctx.Deadline(); ok {
		left = time.Until(d)
	}
	if left <= 0 {
		return 0, context.DeadlineExceeded
	}
	var head [13]byte
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	l.lastID++
	id := l.lastID
	binary.BigEndian.PutUint64(head[:], id)
	binary.BigEndian.PutUint32(head[8:], uint32(max(1, left.Milliseconds())))
	head[12] = kind
	if err := l.queue(kindCall, head[:], body); err != nil {
		return 0, err
	}
	l.waiting[id] = got
	l.wakeWriter()
	return id, nil
}

func (l *Link) handleCall(p []byte) error {
	r := wire.NewReader(p)
	id, left, kind := r.U64("id"), r.U32("time left"), r.U8("kind")
	body := r.Rest("body", MaxFrame)
	if err := r.Err(); err != nil {
		return fmt.Errorf("call frame: %w", err)
	}
	h := l.mesh.calls[kind]
	if h == nil {
		l.sendError(id, wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("no call of kind %#x here", kind)))
		return nil
	}
	if !l.may(kind) {
		l.sendError(id, wire.Refuse(wire.CodeUnauthorized, fmt.Sprintf("a %s may not make calls of kind %#x", l.role, kind)))
		return nil
	}
	if q := l.mesh.quick[kind]; q != nil && l.answerNow(id, q, body) {
		return nil
	}
	select {
	case l.calls <- struct{}{}:
	default:
		l.sendError(id, &wire.Error{Code: wire.CodeBusy, RetryMS: 100, Text: "too many calls on this link"})
		return nil
	}
	body = slices.Clone(body)
	l.mesh.wg.Add(1) // the reader, which runs this, is counted too: never from zero
	go func() {
		defer l.mesh.wg.Done()
		defer func() { <-l.calls }()
		ctx, cancel := context.WithTimeout(l.ctx, time.Duration(left)*time.Millisecond)
		defer cancel()
		reply, err := h(ctx, l, body)
		if err != nil {
			l.sendError(id, asWire(err))
			return
		}
		if l.Send(kindReply, binary.BigEndian.AppendUint64(nil, id), reply) != nil {
			l.sendError(id, wire.Refuse(wire.CodeBusy, "the answer does not fit the link"))
		}
	}()
	return nil
}

// answerNow answers a call on the reader, if q can. What one read brought is
// answered by one write.
func (l *Link) answerNow(id uint64, q QuickHandler, body []byte) bool {
	reply, ok, err := q(l, body, binary.BigEndian.AppendUint64(l.reply[:0], id))
	if !ok {
		return false
	}
	if err != nil {
		l.sendError(id, asWire(err))
		return true
	}
	l.reply = reply
	l.mu.Lock()
	err = l.queue(kindReply, reply, nil)
	l.mu.Unlock()
	if err != nil {
		l.sendError(id, wire.Refuse(wire.CodeBusy, "the answer does not fit the link"))
		return true
	}
	l.owes = true
	return true
}

func asWire(err error) *wire.Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.Refuse(wire.CodeTimeout, err.Error())
	}
	return wire.CodeOf(err)
}

func (l *Link) sendError(id uint64, e *wire.Error) {
	b := binary.BigEndian.AppendUint64(nil, id)
	b = binary.BigEndian.AppendUint16(b, uint16(e.Code))
	b = binary.BigEndian.AppendUint32(b, e.RetryMS)
	b = wire.AppendStr16(b, e.Text[:min(len(e.Text), wire.MaxReasonLen)])
	// The link may be closed or full; the caller's deadline covers both.
	_ = l.Send(kindError, b, nil)
}

func (l *Link) handleReply(p []byte) error {
	r := wire.NewReader(p)
	id := r.U64("id")
	if err := r.Err(); err != nil {
		return fmt.Errorf("reply frame: %w", err)
	}
	l.answer(id, answer{body: slices.Clone(r.Rest("body", MaxFrame))})
	return nil
}

func (l *Link) handleError(p []byte) error {
	r := wire.NewReader(p)
	id := r.U64("id")
	e := &wire.Error{Code: wire.Code(r.U16("code")), RetryMS: r.U32("retry")}
	e.Text = r.Str16("text", wire.MaxReasonLen)
	if err := r.Err(); err != nil {
		return fmt.Errorf("error frame: %w", err)
	}
	l.answer(id, answer{err: e})
	return nil
}

// answer hands an answer to its caller, and reports whether it was the first.
func (l *Link) answer(id uint64, a answer) bool {
	l.mu.Lock()
	got := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if got == nil {
		return false
	}
	got <- a
	return true
}

// failCalls answers the calls that a closed link leaves; no others come.
func (l *Link) failCalls() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, got := range l.waiting {
		got <- answer{err: fmt.Errorf("call %s: %w", l.peer, ErrClosed)}
	}
	clear(l.waiting)
}
