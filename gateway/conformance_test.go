package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/gateway/internal/ws"
	"github.com/limpet-games/limpet/wire"
)

// These are the case groups of the Autobahn test suite (crossbario), against a
// gateway's own socket. It takes no text, so that groups 1 and 6 want 1003 for
// it, and the protocol's ping stands for the echo.

// rawClient is a client that writes frames byte by byte as it likes.
type rawClient struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

const goodHandshake = "GET / HTTP/1.1\r\nHost: game.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: limpet.v1\r\n"

// request opens a connection and sends a request.
func (n *node) request(text string) *rawClient {
	n.t.Helper()
	nc, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, text)
	return &rawClient{n.t, nc, bufio.NewReader(nc)}
}

func (c *rawClient) response() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// greeted is a raw client after its handshake and hello.
func (n *node) greeted() *rawClient {
	n.t.Helper()
	c := n.request(goodHandshake + "\r\n")
	if resp := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		n.t.Fatalf("handshake: %s", resp.Status)
	}
	c.write(clientFrame(0x82, wire.Hello{Instance: wire.Instance{1}}.Append(nil)), 0)
	if got := c.next(); got != "frame 0x81" {
		n.t.Fatalf("welcome: %s", got)
	}
	return c
}

// write sends b in chops, 0 for all at once. The peer may have hung up.
func (c *rawClient) write(b []byte, chop int) {
	if chop == 0 {
		chop = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(chop, len(b))
		if _, err := c.nc.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// next tells the next frame in a word.
func (c *rawClient) next() string {
	var h [2]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		if err == io.EOF {
			return "end"
		}
		return "broken: " + err.Error()
	}
	if h[0]&0xf0 != 0x80 || h[1]&0x80 != 0 {
		return fmt.Sprintf("bad header % x", h)
	}
	n := int(h[1])
	switch n {
	case 126:
		var b [2]byte
		io.ReadFull(c.r, b[:])
		n = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		return "too long"
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(c.r, p); err != nil {
		return "broken: " + err.Error()
	}
	switch op := h[0] & 0x0f; {
	case op == byte(ws.Close) && n >= 2:
		return fmt.Sprintf("close %d", binary.BigEndian.Uint16(p))
	case op == byte(ws.Close):
		return "close"
	case op == byte(ws.Pong):
		return fmt.Sprintf("pong %q", p)
	case op == byte(ws.Binary) && n == 9 && wire.TypeOf(p) == wire.TypePong:
		return fmt.Sprintf("echo %d", binary.BigEndian.Uint64(p[1:]))
	case op == byte(ws.Binary) && n > 0:
		return fmt.Sprintf("frame %#x", p[0])
	default:
		return fmt.Sprintf("opcode %d", op)
	}
}

// clientFrame is a masked frame with any first byte.
func clientFrame(b0 byte, payload []byte) []byte {
	b := ws.AppendHeader(nil, ws.Binary, len(payload))
	b[0], b[1] = b0, b[1]|0x80
	key := [4]byte{0xa1, 0x02, 0x5c, 0x99}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i&3])
	}
	return b
}

const (
	finBinary, finText, finClose, finPing, finPong = 0x82, 0x81, 0x88, 0x89, 0x8a
	binaryPart, textPart, part, lastPart           = 0x02, 0x01, 0x00, 0x80
)

func echo(n uint64) []byte { return wire.AppendPing(nil, wire.TypePing, n) }

// unknown is a frame of a type that gateways pass over.
func unknown(n int) []byte { return bytes.Repeat([]byte{0x7f}, n) }

func closeFrame(code uint16, reason string) []byte {
	return clientFrame(finClose, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// conversation is a case: what is sent, and the answers in order. One that
// does not end with a close is ended by the client then.
type conversation struct {
	name string
	send []byte
	want []string
}

func both(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func wants(s ...string) []string { return s }

func conversations() (all []conversation) {
	add := func(name string, send []byte, want ...string) {
		all = append(all, conversation{name, send, want})
	}
	ask := clientFrame(finBinary, echo(7))
	// 1 Framing
	for _, n := range []int{1, 125, 126, 127, 128, 16383, 16384} {
		add(fmt.Sprintf("1.2 binary of %d", n), both(clientFrame(finBinary, unknown(n)), ask), "echo 7")
	}
	for _, n := range []int{16385, 65535, 65536, 1 << 20} {
		add(fmt.Sprintf("1.2 binary of %d is too long", n), clientFrame(finBinary, unknown(n)), "close 1009")
	}
	add("1.2 binary of 0", clientFrame(finBinary, nil), "frame 0x8e", "close 4500")
	for _, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		add(fmt.Sprintf("1.1 text of %d", n), clientFrame(finText, unknown(n)), "close 1003")
	}
	// 2 Pings and pongs
	for name, p := range map[string]string{"empty": "", "small": "hello", "no text": "\x00\xff\xfe\xfd", "125": strings.Repeat("p", 125)} {
		add("2 ping "+name, clientFrame(finPing, []byte(p)), fmt.Sprintf("pong %q", p))
	}
	add("2.5 ping of 126", clientFrame(finPing, make([]byte, 126)), "close 1002")
	add("2.7 unsolicited pong", both(clientFrame(finPong, nil), ask), "echo 7")
	add("2.8 unsolicited pong with payload", both(clientFrame(finPong, []byte("x")), ask), "echo 7")
	add("2.9 pong, then ping", both(clientFrame(finPong, []byte("x")), clientFrame(finPing, []byte("y"))), `pong "y"`)
	var pings []byte
	var pongs []string
	for i := range 10 {
		pings = append(pings, clientFrame(finPing, fmt.Appendf(nil, "%d", i))...)
		pongs = append(pongs, fmt.Sprintf(`pong "%d"`, i))
	}
	add("2.10 ten pings", pings, pongs...)
	// 3 Reserved bits
	for rsv := byte(1); rsv <= 7; rsv++ {
		for name, op := range map[string]byte{"binary": finBinary, "text": finText, "ping": finPing, "pong": finPong, "close": finClose} {
			add(fmt.Sprintf("3.%d on %s", rsv, name), both(ask, clientFrame(op|rsv<<4, nil), clientFrame(finPing, nil)), "echo 7", "close 1002")
		}
	}
	// 4 Opcodes
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("4 opcode %d", op), both(ask, clientFrame(0x80|op, nil), clientFrame(finPing, nil)), "echo 7", "close 1002")
		add(fmt.Sprintf("4 opcode %d with payload", op), both(ask, clientFrame(0x80|op, []byte("x")), clientFrame(finPing, nil)), "echo 7", "close 1002")
	}
	all = append(all, fragments(ask)...)
	all = append(all, texts(ask)...)
	all = append(all, closings(ask)...)
	return append(all, ourOwn(ask)...)
}

// fragments is group 5, and 9's and 10's messages in many pieces.
func fragments(ask []byte) (all []conversation) {
	add := func(name string, send []byte, want ...string) {
		all = append(all, conversation{name, send, want})
	}
	first, rest := clientFrame(binaryPart, echo(7)[:4]), clientFrame(lastPart, echo(7)[4:])
	middle := clientFrame(part, nil)
	ping := clientFrame(finPing, []byte("p"))
	add("5.1 fragmented ping", both(clientFrame(0x09, nil), clientFrame(lastPart, nil)), "close 1002")
	add("5.2 fragmented pong", both(clientFrame(0x0a, nil), clientFrame(lastPart, nil)), "close 1002")
	add("5 fragmented close", clientFrame(0x08, nil), "close 1002")
	add("5.3 two fragments", both(first, rest), "echo 7")
	add("5.6 ping between", both(first, ping, rest), `pong "p"`, "echo 7")
	add("5 empty fragments", both(clientFrame(binaryPart, nil), middle, first[:0], clientFrame(lastPart, echo(7))), "echo 7")
	add("5.9 nothing to continue, last", both(clientFrame(lastPart, echo(7)), ask), "close 1002")
	add("5.12 nothing to continue, not last", both(clientFrame(part, echo(7)), ask), "close 1002")
	add("5.15 whole, then a continuation", both(first, rest, middle, ask), "echo 7", "close 1002")
	add("5.18 new message inside", both(first, ask), "close 1002")
	add("5 new fragmented message inside", both(first, first), "close 1002")
	add("5 text inside", both(first, clientFrame(finText, nil)), "close 1003")
	add("5.19 pings between five", both(clientFrame(binaryPart, echo(7)[:1]), clientFrame(part, echo(7)[1:3]), ping, clientFrame(part, echo(7)[3:4]),
		clientFrame(part, echo(7)[4:5]), ping, rest5()), `pong "p"`, `pong "p"`, "echo 7")
	for _, size := range []int{64, 256, 1024, 4096} {
		add(fmt.Sprintf("9 16 KiB in fragments of %d", size), both(pieces(16384, size), ask), "echo 7")
		add(fmt.Sprintf("9 more in fragments of %d", size), both(pieces(16384+size, size), ask), "close 1009")
	}
	add("10.1 16 KiB in fragments of 1300", both(pieces(16384, 1300), ask), "echo 7")
	for _, n := range []int{1, 16, 64, 256, 1024, 4096, 16384} {
		add(fmt.Sprintf("9.7 a thousand of %d", n), both(bytes.Repeat(clientFrame(finBinary, unknown(n)), 1000), ask), "echo 7")
	}
	add("9.2 binary of 16 MiB, of which no more than the header comes", []byte{finBinary, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, "close 1009")
	add("9.1 text of 16 MiB, of which no more than the header comes", []byte{finText, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, "close 1003")
	var many []byte
	var echoes []string
	for i := range 1000 {
		many = append(many, clientFrame(finBinary, echo(uint64(i)))...)
		echoes = append(echoes, fmt.Sprintf("echo %d", i))
	}
	add("9.7 a thousand echoes", many, echoes...)
	return all
}

func rest5() []byte { return clientFrame(lastPart, echo(7)[5:]) }

// pieces is a message of n bytes, each piece of which is one of size.
func pieces(n, size int) (b []byte) {
	for at := 0; at < n; at += size {
		b0 := byte(part)
		if at == 0 {
			b0 = binaryPart
		}
		if at+size >= n {
			b0 |= 0x80
		}
		b = append(b, clientFrame(b0, unknown(min(size, n-at)))...)
	}
	return b
}

// badText is Markus Kuhn's list, as group 6 has it.
var badText = []string{
	"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", // a surrogate
	"\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", // above the last code point
	"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", // continuations alone
	"\xc0 \xc1 ", "\xe0 \xe1 \xef ", "\xf0 \xf7 ", "\xf8 \xfb ", "\xfc \xfd ", // starts alone
	"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", // the last byte is missing
	"\xfe", "\xff", "\xfe\xfe\xff\xff", // never allowed
	"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", // overlong
	"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", // surrogates
	"\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf", // in pairs
}

var goodText = []string{
	"", "hello", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe", "κόσμε",
}

// texts is group 6: text is refused before it is looked at, whole or not; in a
// close frame's reason, the only text that is taken, it must be UTF-8.
func texts(ask []byte) (all []conversation) {
	for i, s := range append(badText[:len(badText):len(badText)], goodText...) {
		all = append(all,
			conversation{fmt.Sprintf("6 text %d", i), both(clientFrame(finText, []byte(s)), ask), wants("close 1003")},
			conversation{fmt.Sprintf("6 text %d in parts", i), both(clientFrame(textPart, []byte(s)), clientFrame(lastPart, nil), ask), wants("close 1003")},
			conversation{fmt.Sprintf("6 text %d as binary", i), both(clientFrame(finBinary, append([]byte{0x7f}, s...)), ask), wants("echo 7")})
	}
	for i, s := range badText {
		all = append(all, conversation{fmt.Sprintf("6 bad reason %d", i), closeFrame(1000, s), wants("close 1007")})
	}
	for i, s := range goodText {
		all = append(all, conversation{fmt.Sprintf("6 good reason %d", i), closeFrame(1000, s), wants("close 1000")})
	}
	return all
}

// closings is group 7.
func closings(ask []byte) (all []conversation) {
	add := func(name string, send []byte, want ...string) {
		all = append(all, conversation{name, send, want})
	}
	add("7.1.1 message, then close", both(ask, closeFrame(1000, "")), "echo 7", "close 1000")
	add("7.1.2 two closes", both(closeFrame(1000, ""), closeFrame(1000, "")), "close 1000")
	add("7.1.3 close, then ping", both(closeFrame(1000, ""), clientFrame(finPing, nil)), "close 1000")
	add("7.1.4 close, then message", both(closeFrame(1000, ""), ask), "close 1000")
	add("7.1.5 close amid fragments", both(clientFrame(binaryPart, []byte{0x7f}), closeFrame(1000, ""), clientFrame(lastPart, nil)), "close 1000")
	add("7.1.6 256 KiB, then close", both(clientFrame(finBinary, unknown(256<<10)), closeFrame(1000, "")), "close 1009")
	add("7.3.1 no code", clientFrame(finClose, nil), "close 1000")
	add("7.3.2 half a code", clientFrame(finClose, []byte{3}), "close 1002")
	add("7.3.3 code alone", closeFrame(1000, ""), "close 1000")
	add("7.3.4 reason", closeFrame(1000, "bye"), "close 1000")
	add("7.3.5 longest reason", closeFrame(1000, strings.Repeat("x", 123)), "close 1000")
	add("7.3.6 too long a reason", closeFrame(1000, strings.Repeat("x", 124)), "close 1002")
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.7 code %d", code), closeFrame(code, ""), fmt.Sprintf("close %d", code))
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.9 code %d", code), closeFrame(code, ""), "close 1002")
	}
	return all
}

// ourOwn is what Autobahn has not.
func ourOwn(ask []byte) (all []conversation) {
	add := func(name string, send []byte, want ...string) {
		all = append(all, conversation{name, send, want})
	}
	bare := append(ws.AppendHeader(nil, ws.Binary, 9), echo(7)...)
	add("not masked", both(ask, bare, clientFrame(finPing, nil)), "echo 7", "close 1002")
	add("ping not masked", []byte{finPing, 0}, "close 1002")
	add("close not masked", []byte{finClose, 0}, "close 1002")
	add("masked with zeros", both([]byte{finBinary, 0x89, 0, 0, 0, 0}, echo(7)), "echo 7")
	add("64-bit length with its top bit", []byte{finBinary, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, "close 1002")
	add("64-bit length of the largest number", []byte{finBinary, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, "close 1009")
	add("9 in 16 bits", both([]byte{finBinary, 0xfe, 0, 9, 0, 0, 0, 0}, echo(7)), "close 1002")
	add("9 in 64 bits", both([]byte{finBinary, 0xff, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0}, echo(7)), "close 1002")
	add("65535 in 64 bits", []byte{finBinary, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, "close 1002")
	add("ping of 9 in 16 bits", []byte{finPing, 0xfe, 0, 9, 0, 0, 0, 0}, "close 1002")
	add("compressed message", clientFrame(finBinary|0x40, []byte{0xca, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}), "close 1002")
	add("TLS hello", []byte("\x16\x03\x01\x02\x00\x01\x00"), "close 1002")
	add("HTTP request", []byte("GET / HTTP/1.1\r\n\r\n"), "close 1002")
	return all
}

func conformant(t *testing.T) *node {
	return start(t, limits(func(l *Limits) {
		l.Controls, l.Frames, l.Bytes = 1<<20, 1<<20, 1<<30
	}))
}

func TestConformance(t *testing.T) {
	n := conformant(t)
	for _, c := range conversations() {
		chops := []int{0}
		if len(c.send) <= 2048 {
			chops = []int{0, 1}
		} else if len(c.send) <= 64<<10 {
			chops = []int{0, 997}
		}
		for _, chop := range chops {
			if got := n.converse(c, chop); got != "" {
				t.Errorf("%s, in chops of %d: %s", c.name, chop, got)
			}
		}
	}
}

// converse says what went wrong with a case.
func (n *node) converse(c conversation, chop int) string {
	r := n.greeted()
	defer r.nc.Close()
	go r.write(c.send, chop)
	closed := false
	for i, want := range c.want {
		got := r.next()
		if got != want {
			return fmt.Sprintf("answer %d is %s, want %s", i, got, want)
		}
		closed = strings.HasPrefix(got, "close")
	}
	if !closed {
		r.write(closeFrame(1000, ""), 0)
		if got := r.next(); got != "close 1000" {
			return "answer to close is " + got
		}
	}
	if got := r.next(); got != "end" {
		return "after the close: " + got
	}
	return ""
}

// TestConformanceAtOnce: what can be answered is, before the rest of a message has
// come, a header at the latest: pings between fragments (5.19, 5.20), and the first wrong byte of groups 3,
// 4, 5 and 6.4.
func TestConformanceAtOnce(t *testing.T) {
	n := conformant(t)
	first := clientFrame(binaryPart, echo(7)[:4])
	type step struct {
		send []byte
		want string // "": nothing comes that must be waited for
	}
	ping := step{clientFrame(finPing, []byte("p")), `pong "p"`}
	for name, steps := range map[string][]step{
		"5.20 pings between fragments": {{first, ""}, ping, {clientFrame(part, echo(7)[4:6]), ""}, ping, {clientFrame(lastPart, echo(7)[6:]), "echo 7"}},
		"3 reserved bit, no payload":   {{clientFrame(finBinary|0x40, []byte("x"))[:2], "close 1002"}},
		"4 reserved opcode, no length": {{[]byte{0x83, 0x85}, "close 1002"}},
		"5 continuation of nothing":    {{clientFrame(part, []byte("xyz"))[:6], "close 1002"}},
		"6.4 text, its first bytes":    {{clientFrame(textPart, []byte("xyz"))[:2], "close 1003"}},
		"6.4 text inside a message":    {{first, ""}, {clientFrame(finText, []byte("xyz"))[:2], "close 1003"}},
		"2.5 ping that is too long":    {{[]byte{finPing, 0xfe}, "close 1002"}},
		"9 message that is too long":   {{[]byte{finBinary, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, "close 1009"}},
		"not masked":                   {{[]byte{finBinary, 0x09}, "close 1002"}},
	} {
		t.Run(name, func(t *testing.T) {
			n.t = t
			r := n.greeted()
			defer r.nc.Close()
			for i, s := range steps {
				r.write(s.send, 0)
				if s.want == "" {
					continue
				}
				if got := r.next(); got != s.want {
					t.Fatalf("step %d: %s, want %s", i, got, s.want)
				}
			}
		})
	}
}

// handshakeCase is a request, but for its empty line, and the status of its answer.
type handshakeCase struct {
	request string
	want    int
}

func handshakeCases() map[string]handshakeCase {
	without := func(header string) string {
		at := strings.Index(goodHandshake, header)
		return goodHandshake[:at] + goodHandshake[at+strings.Index(goodHandshake[at:], "\n")+1:]
	}
	return map[string]handshakeCase{
		"good":                       {goodHandshake, 101},
		"with compression":           {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", 101},
		"with other extensions":      {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover, x-webkit-deflate-frame\r\n", 101},
		"offer 13.2":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n", 101},
		"offer 13.3":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=9\r\n", 101},
		"offer 13.4":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=15\r\n", 101},
		"offer 13.5":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=9\r\n", 101},
		"offer 13.6":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=15\r\n", 101},
		"offer 13.7":                 {goodHandshake + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate\r\n", 101},
		"no version":                 {without("Sec-WebSocket-Version"), 426},
		"version 8":                  {without("Sec-WebSocket-Version") + "Sec-WebSocket-Version: 8\r\n", 426},
		"two versions":               {goodHandshake + "Sec-WebSocket-Version: 8\r\n", 400},
		"no key":                     {without("Sec-WebSocket-Key"), 400},
		"short key":                  {without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400},
		"key that is no base64":      {without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", 400},
		"two keys":                   {goodHandshake + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400},
		"two origins":                {goodHandshake + "Origin: http://game.example\r\nOrigin: http://evil.example\r\n", 403},
		"null origin":                {goodHandshake + "Origin: null\r\n", 403},
		"another port's origin":      {goodHandshake + "Origin: http://game.example:8081\r\n", 403},
		"another scheme's origin":    {goodHandshake + "Origin: ftp://game.example\r\n", 403},
		"origin with a user":         {goodHandshake + "Origin: http://game.example@evil.example\r\n", 403},
		"origin that only begins":    {goodHandshake + "Origin: http://game.example.evil.example\r\n", 403},
		"own origin":                 {goodHandshake + "Origin: http://game.example\r\n", 101},
		"no upgrade":                 {without("Upgrade: websocket"), 404},
		"POST":                       {strings.Replace(goodHandshake, "GET", "POST", 1) + "Content-Length: 0\r\n", 405},
		"HTTP/1.0":                   {strings.Replace(goodHandshake, "HTTP/1.1", "HTTP/1.0", 1), 505},
		"two hosts":                  {goodHandshake + "Host: evil.example\r\n", 400},
		"no host":                    {without("Host"), 400},
		"headers of 20 KiB":          {goodHandshake + "X-Long: " + strings.Repeat("x", 20<<10) + "\r\n", 431},
		"a thousand headers":         {goodHandshake + strings.Repeat("X-A: bbbbbbbbb\r\n", 1000), 431},
		"body before the upgrade":    {goodHandshake + "Content-Length: 5\r\n", 400},
		"chunked body":               {goodHandshake + "Transfer-Encoding: chunked\r\n", 400},
		"HTTP/2":                     {"PRI * HTTP/2.0\r\n\r\nSM\r\n", 404},
		"HTTP/2 by upgrade":          {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", 404},
		"line break in a header":     {goodHandshake + "X-A: b\rc\r\n", 400},
		"space before the colon":     {goodHandshake + "X-A : b\r\n", 400},
		"token in the query":         {strings.Replace(goodHandshake, "GET /", "GET /?token=abc", 1), 101}, // passed over: it is no place for one
		"extension with bad grammar": {goodHandshake + "Sec-WebSocket-Extensions: ,,;;\x7f\r\n", 400},
	}
}

// Handshakes are answered alike by a loop, where they come at once, and by the HTTP
// server, where the rest comes later.
func TestConformanceOfTheHandshake(t *testing.T) {
	n := conformant(t)
	for name, c := range handshakeCases() {
		t.Run(name, func(t *testing.T) {
			n.t = t
			resp, body := n.answerTo(c.request+"\r\n", 0)
			if resp.StatusCode != c.want {
				t.Fatalf("%s, want %d", resp.Status, c.want)
			}
			if x := resp.Header.Values("Sec-WebSocket-Extensions"); len(x) > 0 {
				t.Errorf("extensions %q are taken", x)
			}
			if c.want == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("the answer does not say which version: %v", resp.Header)
			}
			if c.want == 101 && resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("accept %q", resp.Header.Get("Sec-WebSocket-Accept"))
			}
			later, text := n.answerTo(c.request+"\r\n", 7)
			resp.Header.Del("Date")
			later.Header.Del("Date")
			if later.Status != resp.Status || text != body || !reflect.DeepEqual(later.Header, resp.Header) {
				t.Errorf("in two pieces: %s %v %q, at once: %s %v %q", later.Status, later.Header, text, resp.Status, resp.Header, body)
			}
		})
	}
}

// answerTo sends a request, the bytes from at on when the others have been read,
// and reads the answer.
func (n *node) answerTo(request string, at int) (*http.Response, string) {
	n.t.Helper()
	r := n.request(request[:at])
	defer r.nc.Close()
	if at > 0 {
		until(n.t, "the beginning is read", func() bool { return n.watched() == 0 })
	}
	io.WriteString(r.nc, request[at:])
	resp := r.response()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

// A client that does not wait for the answer to its handshake is turned away,
// and what it sent is never taken for frames of somebody else.
func TestBytesAheadOfTheHandshakesAnswer(t *testing.T) {
	n := conformant(t)
	r := n.request(goodHandshake + "\r\n" + string(clientFrame(finBinary, wire.Hello{}.Append(nil))))
	for {
		if got := r.next(); got == "end" || strings.HasPrefix(got, "broken") {
			break
		} else if strings.HasPrefix(got, "frame") {
			t.Fatalf("answered with %s", got)
		}
	}
}
