package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// Owner is whose Reader it is.
type Owner interface {
	// Admit is asked before each frame is read, whether it is a message, a
	// fragment of one or a control frame; its error ends the reader. It is where
	// a flood is noticed that never completes a message. n is the length.
	Admit(op Opcode, n int) error
	// Pong is called for each ping, to answer it. The payload is valid during
	// the call.
	Pong(payload []byte) error
	// Read is called after each read call. It may wait: then more arrives for
	// the next one.
	Read()
}

// Reader reads the messages that a client sends. It is used by one goroutine.
type Reader struct {
	owner Owner
	conn  net.Conn // nil: there is nothing but Arrived
	limit int      // of a message with all its fragments, in bytes
	src   *source  // nil at rest

	buf  *[chunk]byte // nil while nothing is buffered
	r, w int          // buf[r:w] is still to be handled

	open bool    // a fragment came and its last is still to come
	body *[]byte // from bodies, behind msg; nil without
	msg  []byte  // a message of several pieces
}

// Open has a reader at rest read a connection after its handshake: messages of at
// most limit bytes. Deadlines are the owner's. Without a connection, the reader
// can do nothing but Arrived.
func (r *Reader) Open(c net.Conn, limit int, owner Owner) {
	r.conn, r.limit, r.owner = c, limit, owner
}

// Detach moves what the reader holds to another, which goes on when it is
// attached to the connection. The reader is at rest then.
func (r *Reader) Detach() *Reader {
	other := *r
	*r = Reader{}
	return &other
}

// Attach has a detached reader go on with a connection.
func (r *Reader) Attach(c net.Conn) { r.conn = c }

// bodies holds buffers for messages that don't fit a chunk.
var bodies sync.Pool

// Next waits for the next message, which is valid until the call after. A
// *Closed tells that the peer closed, an *Error that it broke the protocol;
// others are the connection's or Owner's. After an error there is
// nothing to be read any more: Release it.
func (r *Reader) Next() ([]byte, error) {
	r.dropMessage()
	for {
		h, err := r.header()
		if err != nil {
			return nil, err
		}
		if err := r.admit(h); err != nil {
			return nil, err
		}
		switch {
		case h.op.control():
			if err := r.control(h); err != nil {
				return nil, err
			}
		case h.fin && !r.open && h.n <= chunk:
			return r.inPlace(h)
		default:
			if err := r.piece(h); err != nil {
				return nil, err
			}
			if !r.open {
				return r.msg, nil
			}
		}
	}
}

// ErrWait is what Arrived returns when Next has to go on, for it may wait.
var ErrWait = errors.New("ws: the rest has to be waited for")

// Rest gives back the buffer behind the last message, and reports whether
// nothing else is held: what comes next may be left to Arrived.
func (r *Reader) Rest() bool {
	r.dropMessage()
	if r.r < r.w || r.open {
		return false
	}
	r.dropChunk()
	r.src = nil
	return true
}

// source is what Next reads from.
func (r *Reader) source() *source {
	if r.src == nil {
		r.src = newSource(r.conn, r.owner)
	}
	return r.src
}

// Arrived reads what has arrived at a socket, while the reader is at rest, and
// hands each message to handle, during whose call it is valid. It never waits: where more
// than messages in one piece and as a whole have come it returns ErrWait. ended
// says that the peer is known to have sent its last. Other errors are those of
// Next, and handle's own.
func (r *Reader) Arrived(fd uintptr, ended bool, handle func(msg []byte) error) error {
	for {
		b := chunks.Get().(*[chunk]byte)
		n, err := once(fd, b[:], r.owner)
		if n <= 0 {
			chunks.Put(b)
			if err == nil {
				return io.EOF
			}
			if err == syscall.EAGAIN {
				return nil
			}
			return err
		}
		r.buf, r.r, r.w = b, 0, n
		for r.r < r.w {
			if !r.plain() {
				return ErrWait
			}
			msg, err := r.Next()
			if err == nil {
				err = handle(msg)
			}
			if err != nil {
				return err
			}
		}
		r.dropChunk()
		if r.r, r.w = 0, 0; n < chunk && !ended { // what comes later is reported
			return nil
		}
	}
}

// plain reports whether the next frame is a message in one piece, all of it
// buffered: Next will return it without waiting.
func (r *Reader) plain() bool {
	p := r.buf[r.r:r.w]
	if len(p) < 2 || r.open {
		return false
	}
	size, err := start(p[0], p[1])
	if err != nil || len(p) < size {
		return false
	}
	h, err := parse(p[:size])
	return err == nil && h.op == Binary && h.fin && h.n <= chunk && len(p) >= size+h.n
}

// Release gives the reader's buffers back. No other call may follow.
func (r *Reader) Release() {
	r.dropMessage()
	r.open = false
	r.r, r.w = 0, 0
	r.dropChunk()
}

// header reads a frame's header, and fails at its first bad byte.
func (r *Reader) header() (header, error) {
	if err := r.ensure(2); err != nil {
		return header{}, err
	}
	size, err := start(r.buf[r.r], r.buf[r.r+1])
	if err != nil {
		return header{}, err
	}
	if err := r.ensure(size); err != nil {
		return header{}, unexpected(err)
	}
	h, err := parse(r.buf[r.r : r.r+size])
	r.r += size
	return h, err
}

// admit checks a header against what came before it.
func (r *Reader) admit(h header) error {
	switch {
	case h.op == Continuation && !r.open:
		return protocol("continuation of no message")
	case h.op == Binary && r.open:
		return protocol("new message inside another")
	case !h.op.control() && h.n > r.limit-len(r.msg):
		return &Error{Code: StatusTooBig, Text: fmt.Sprintf("message is longer than %d bytes", r.limit)}
	}
	return r.owner.Admit(h.op, h.n)
}

func (r *Reader) inPlace(h header) ([]byte, error) {
	if err := r.ensure(h.n); err != nil {
		return nil, unexpected(err)
	}
	if h.n == 0 {
		return []byte{}, nil
	}
	p := r.buf[r.r : r.r+h.n : r.r+h.n]
	r.r += h.n
	unmask(p, h.key)
	return p, nil
}

func (r *Reader) control(h header) error {
	p, err := r.inPlace(h)
	switch {
	case err != nil:
		return err
	case h.op == Close:
		return readClose(p)
	case h.op == Ping:
		return r.owner.Pong(p)
	}
	return nil
}

// piece adds a frame's payload to the message that is being put together.
func (r *Reader) piece(h header) error {
	if r.body == nil {
		r.body = r.takeBody()
		r.msg = (*r.body)[:0]
	}
	at := len(r.msg)
	r.msg = r.msg[:at+h.n]
	p := r.msg[at:]
	n := copy(p, r.buffered())
	r.r += n
	for n < len(p) {
		m, err := r.source().read(p[n:])
		if err != nil {
			return unexpected(err)
		}
		n += m
	}
	unmask(p, h.key)
	r.open = !h.fin
	return nil
}

func (r *Reader) takeBody() *[]byte {
	if b, ok := bodies.Get().(*[]byte); ok && cap(*b) >= r.limit {
		return b
	}
	b := make([]byte, 0, r.limit)
	return &b
}

func (r *Reader) dropMessage() {
	if r.body != nil {
		bodies.Put(r.body)
		r.body, r.msg = nil, nil
	}
}

func (r *Reader) dropChunk() {
	if r.buf != nil {
		chunks.Put(r.buf)
		r.buf = nil
	}
}

func (r *Reader) buffered() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf[r.r:r.w]
}

// ensure waits until n bytes, at most a chunk, are buffered.
func (r *Reader) ensure(n int) error {
	for r.w-r.r < n {
		if r.r == r.w {
			r.dropChunk()
			r.r, r.w = 0, 0
			b, m, err := r.source().first()
			if err != nil {
				return err
			}
			r.buf, r.w = b, m
			continue
		}
		if r.r+n > chunk {
			r.w = copy(r.buf[:], r.buf[r.r:r.w])
			r.r = 0
		}
		m, err := r.source().read(r.buf[r.w:])
		if err != nil {
			return unexpected(err)
		}
		r.w += m
	}
	return nil
}

// unexpected is the end of the connection inside a frame.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
