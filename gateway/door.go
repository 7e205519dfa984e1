package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// door is what a loop reads handshakes with and makes the answers in. It keeps
// nothing of one to the next.
type door struct {
	page [4 << 10]byte // what a connection says first
	head bytes.Reader
	in   *bufio.Reader
	out  *bufio.ReadWriter
	said []byte // the answer
}

func (d *door) open() {
	if d.in == nil {
		d.in = bufio.NewReaderSize(&d.head, len(d.page))
		d.out = bufio.NewReadWriter(bufio.NewReaderSize(&d.head, len(d.page)), bufio.NewWriterSize(unwritten{d: d}, 1<<10))
	}
}

// request is the handshake in head, nil where head is not that and nothing else,
// or where the HTTP server might have something to say about it: it is to decide
// then. The two must agree on all that is not nil.
func (d *door) request(head []byte) *http.Request {
	if len(head) == len(d.page) || !bytes.HasPrefix(head, []byte("GET /")) || !oneHead(head) {
		return nil
	}
	d.open()
	d.head.Reset(head)
	d.in.Reset(&d.head)
	r, err := http.ReadRequest(d.in)
	if err != nil || d.in.Buffered() > 0 || d.head.Len() > 0 {
		return nil
	}
	_, expects := r.Header["Expect"]
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 || expects || r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
		!plainHost(r.Host) || !websocket.IsWebSocketUpgrade(r) {
		return nil
	}
	for name := range r.Header {
		if strings.ContainsFunc(name, func(c rune) bool { return !letterOrDigit(c) && !strings.ContainsRune("-_", c) }) {
			return nil
		}
	}
	return r
}

// oneHead reports whether all of it is lines of printable ASCII, of which only the
// last is empty.
func oneHead(head []byte) bool {
	line := 0
	for i := 0; i < len(head); i++ {
		switch c := head[i]; {
		case c == '\r':
			if i+1 == len(head) || head[i+1] != '\n' {
				return false
			}
			if line == 0 {
				return i+2 == len(head)
			}
			line = 0
			i++
		case c < ' ' || c > '~':
			return false
		default:
			line++
		}
	}
	return false
}

func plainHost(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(c rune) bool { return !letterOrDigit(c) && !strings.ContainsRune(".-:[]", c) })
}

func letterOrDigit(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// answer is what the client of a handshake is to be told, valid until the next.
func (d *door) answer(r *http.Request) ([]byte, error) {
	d.open()
	d.said = d.said[:0]
	_, err := upgrader.Upgrade(visitor{d}, r, nil)
	return d.said, err
}

// visitor is the ResponseWriter of a handshake at a door.
type visitor struct{ d *door }

// Header is http.ResponseWriter's. An error's text is not wanted.
func (v visitor) Header() http.Header { return http.Header{} }

// Write is http.ResponseWriter's.
func (v visitor) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader is http.ResponseWriter's.
func (v visitor) WriteHeader(int) {}

// Hijack is http.Hijacker's.
func (v visitor) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return unwritten{d: v.d}, v.d.out, nil
}

// unwritten is a connection that keeps what is written to it.
type unwritten struct {
	net.Conn // nil
	d        *door
}

var errUnwritten = errors.New("nothing can be read from a door")

func (u unwritten) Read([]byte) (int, error) { return 0, errUnwritten }
func (u unwritten) Write(p []byte) (int, error) {
	u.d.said = append(u.d.said, p...)
	return len(p), nil
}
func (u unwritten) Close() error                     { return nil }
func (u unwritten) SetDeadline(time.Time) error      { return nil }
func (u unwritten) SetWriteDeadline(time.Time) error { return nil }
