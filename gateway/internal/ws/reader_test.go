package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sent is a frame as a client sends it.
func sent(b0 byte, payload []byte) []byte {
	b := AppendHeader(nil, Binary, len(payload))
	b[0] = b0
	b[1] |= bitMask
	key := [4]byte{0x11, 0x22, 0x33, 0x44}
	b = append(b, key[:]...)
	at := len(b)
	b = append(b, payload...)
	for i := range payload {
		b[at+i] ^= key[i&3]
	}
	return b
}

const fin = bitFin

func bin(p []byte) []byte  { return sent(fin|byte(Binary), p) }
func ping(p []byte) []byte { return sent(fin|byte(Ping), p) }

func closing(code uint16, reason string) []byte {
	return sent(fin|byte(Close), append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// pair is a connection whose far end belongs to the test.
func pair(t testing.TB) (far, near net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { far.Close(); near.Close() })
	return far, near
}

// outcome is what a reader made of some bytes.
type outcome struct {
	messages []string
	pongs    []string
	err      error
}

const limit = 1 << 16

// owner allows everything unless it says otherwise.
type owner struct {
	admit func(Opcode, int) error
	pong  func([]byte) error
	read  func()
}

func (o owner) Admit(op Opcode, n int) error {
	if o.admit == nil {
		return nil
	}
	return o.admit(op, n)
}

func (o owner) Pong(p []byte) error {
	if o.pong == nil {
		return nil
	}
	return o.pong(p)
}

func open(c net.Conn, o owner) *Reader {
	r := &Reader{}
	r.Open(c, limit, o)
	return r
}

func (o owner) Read() {
	if o.read != nil {
		o.read()
	}
}

// feed writes b in pieces of the given size and reads until the reader ends.
func feed(t testing.TB, b []byte, piece int) outcome {
	t.Helper()
	far, near := pair(t)
	go func() {
		for len(b) > 0 {
			n := min(piece, len(b))
			if _, err := far.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
		far.(*net.TCPConn).CloseWrite()
	}()
	return drainReader(near)
}

func drainReader(near net.Conn) (o outcome) {
	r := open(near, owner{pong: func(p []byte) error {
		o.pongs = append(o.pongs, string(p))
		return nil
	}})
	defer r.Release()
	o.err = serve(r, func(msg []byte) error {
		o.messages = append(o.messages, string(msg))
		return nil
	})
	return o
}

// descriptor is the socket of a connection, where that is TCP.
func descriptor(c net.Conn) (fd uintptr, ok bool) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, false
	}
	raw.Control(func(is uintptr) { fd = is })
	return fd, true
}

// serve reads as the gateway does: what has arrived by itself, and the rest
// with Next.
func serve(r *Reader, handle func([]byte) error) error {
	fd, polled := descriptor(r.conn)
	for {
		for polled && r.Rest() {
			const peerClosed = 0x2000 // POLLRDHUP, on Linux
			w := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | peerClosed}}
			if n, err := unix.Poll(w, 20_000); n == 0 && err == nil {
				return os.ErrDeadlineExceeded
			}
			if err := r.Arrived(fd, w[0].Revents&peerClosed != 0, handle); err == ErrWait {
				break
			} else if err != nil {
				return err
			}
		}
		msg, err := r.Next()
		if err == nil {
			err = handle(msg)
		}
		if err != nil {
			return err
		}
	}
}

func (o outcome) code() uint16 {
	var e *Error
	var c *Closed
	switch {
	case errors.As(o.err, &e):
		return e.Code
	case errors.As(o.err, &c):
		return c.Code
	}
	return 0
}

func random(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return p
}

// The case groups of the Autobahn suite, for a server that takes binary only.
func TestFraming(t *testing.T) {
	type test struct {
		name     string
		in       []byte
		code     uint16 // of the error or the peer's close; 0: the connection just ended
		messages int
		pongs    int
	}
	tests := []test{
		{"2.1 empty ping", ping(nil), 0, 0, 1},
		{"2.4 ping of 125", ping(random(125)), 0, 0, 1},
		{"2.5 ping of 126", ping(random(126)), StatusProtocol, 0, 0},
		{"2.7 pong unasked", sent(fin|byte(Pong), []byte("x")), 0, 0, 0},
		{"2.10 ten pings", bytes.Repeat(ping([]byte("p")), 10), 0, 0, 10},
		{"5.1 fragmented ping", sent(byte(Ping), nil), StatusProtocol, 0, 0},
		{"5.2 fragmented pong", sent(byte(Pong), nil), StatusProtocol, 0, 0},
		{"5.3 two fragments", join(sent(byte(Binary), []byte("a")), sent(fin, []byte("b"))), 0, 1, 0},
		{"5.6 ping between", join(sent(byte(Binary), []byte("a")), ping(nil), sent(fin, []byte("b"))), 0, 1, 1},
		{"5.9 continuation of nothing", join(sent(fin, []byte("b")), bin(nil)), StatusProtocol, 0, 0},
		{"5.10 open continuation of nothing", sent(0, []byte("b")), StatusProtocol, 0, 0},
		{"5.15 continuation after the end", join(sent(byte(Binary), nil), sent(fin, nil), sent(0, nil)), StatusProtocol, 1, 0},
		{"5.18 second start", join(sent(byte(Binary), nil), bin(nil)), StatusProtocol, 0, 0},
		{"text", sent(fin|byte(Text), []byte("hi")), StatusUnsupported, 0, 0},
		{"7.1 message after close", join(closing(1000, ""), bin([]byte("late"))), 1000, 0, 0},
		{"7.1 close amid fragments", join(sent(byte(Binary), []byte("a")), closing(1001, "")), 1001, 0, 0},
		{"7.3.1 empty close", sent(fin|byte(Close), nil), StatusNone, 0, 0},
		{"7.3.2 half a code", sent(fin|byte(Close), []byte{3}), StatusProtocol, 0, 0},
		{"7.3.5 longest reason", closing(1000, strings.Repeat("*", 123)), 1000, 0, 0},
		{"7.3.6 reason too long", closing(1000, strings.Repeat("*", 124)), StatusProtocol, 0, 0},
		{"7.5.1 reason not UTF-8", closing(1000, "\xce\xba\xed\xa0\x80"), StatusBadText, 0, 0},
		{"fragmented close", sent(byte(Close), nil), StatusProtocol, 0, 0},
		{"unmasked", AppendHeader(nil, Binary, 0), StatusProtocol, 0, 0},
		{"unmasked ping", AppendHeader(nil, Ping, 0), StatusProtocol, 0, 0},
		{"16-bit length of 125", []byte{fin | 2, bitMask | 126, 0, 125, 1, 2, 3, 4}, StatusProtocol, 0, 0},
		{"64-bit length of 65535", []byte{fin | 2, bitMask | 127, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4}, StatusProtocol, 0, 0},
		{"64-bit length, top bit", []byte{fin | 2, bitMask | 127, 128, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}, StatusProtocol, 0, 0},
		{"9 above the limit", bin(make([]byte, limit+1)), StatusTooBig, 0, 0},
		{"9 above the limit in fragments", join(sent(byte(Binary), make([]byte, limit)), sent(fin, []byte{1})), StatusTooBig, 0, 0},
		{"9 terabytes announced", []byte{fin | 2, bitMask | 127, 0, 0, 255, 0, 0, 0, 0, 0, 1, 2, 3, 4}, StatusTooBig, 0, 0},
		{"ended in a header", []byte{fin | 2}, 0, 0, 0},
		{"ended in a payload", bin([]byte("hello"))[:8], 0, 0, 0},
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []Opcode{Binary, Ping, Close} {
			tests = append(tests, test{"3 reserved bits", join(bin([]byte("a")), sent(fin|rsv<<4|byte(op), nil), ping(nil)), StatusProtocol, 1, 0})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		tests = append(tests,
			test{"4 opcode", sent(fin|op, nil), StatusProtocol, 0, 0},
			test{"4 opcode with a payload", join(bin(nil), sent(fin|op, []byte("x")), ping(nil)), StatusProtocol, 1, 0})
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		tests = append(tests, test{"7.7 valid close code", closing(code, "bye"), code, 0, 0})
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535} {
		tests = append(tests, test{"7.9 invalid close code", closing(code, "bye"), StatusProtocol, 0, 0})
	}
	for _, tc := range tests {
		for _, piece := range []int{1 << 20, 1} {
			if piece == 1 && len(tc.in) > 1000 {
				piece = 997
			}
			got := feed(t, tc.in, piece)
			if got.code() != tc.code || len(got.messages) != tc.messages || len(got.pongs) != tc.pongs {
				t.Errorf("%s, %d bytes at a time: code %d (%v), %d messages, %d pongs, want %d, %d, %d", tc.name, piece,
					got.code(), got.err, len(got.messages), len(got.pongs), tc.code, tc.messages, tc.pongs)
			}
		}
	}
}

func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 31, 32, 33, 125, 126, 127, 128, 4083, 4084, 4085, 4095, 4096, 4097, 65535, 65536} {
		for _, piece := range []int{1 << 20, 997} {
			p := random(n)
			got := feed(t, join(bin(p), bin([]byte("after"))), piece)
			if len(got.messages) != 2 || got.messages[0] != string(p) || got.messages[1] != "after" || got.err != io.EOF {
				t.Fatalf("%d bytes, %d at a time: %d messages, %v", n, piece, len(got.messages), got.err)
			}
		}
	}
}

func TestFragmentsOfManyPieces(t *testing.T) {
	whole := random(40_000)
	for _, size := range []int{1, 64, 1300, 4096, 39_999} {
		var in []byte
		op := byte(Binary)
		for rest := whole; len(rest) > 0; op = 0 {
			n := min(size, len(rest))
			if n == len(rest) {
				op |= fin
			}
			in = append(in, sent(op, rest[:n])...)
			rest = rest[n:]
		}
		got := feed(t, in, 1<<20)
		if len(got.messages) != 1 || got.messages[0] != string(whole) {
			t.Errorf("fragments of %d: %d messages, %v", size, len(got.messages), got.err)
		}
	}
}

// A message of empty fragments never grows, so only the owner's budget ends it.
func TestBudgetSeesEveryFrame(t *testing.T) {
	spent := errors.New("spent")
	for name, frame := range map[string][]byte{"fragments": sent(0, nil), "pings": ping(nil), "pongs": sent(fin|byte(Pong), nil)} {
		far, near := pair(t)
		frames := 0
		r := open(near, owner{admit: func(Opcode, int) error {
			if frames++; frames > 100 {
				return spent
			}
			return nil
		}})
		go func() {
			if _, err := far.Write(sent(byte(Binary), nil)); err != nil {
				return
			}
			for {
				if _, err := far.Write(frame); err != nil {
					return
				}
			}
		}()
		if _, err := r.Next(); err != spent {
			t.Errorf("%s: %v, want the budget's error", name, err)
		}
		near.Close()
	}
}

// A quiet connection holds no buffer.
func TestIdleHoldsNothing(t *testing.T) {
	far, near := pair(t)
	r := open(near, owner{})
	far.Write(bin([]byte("one")))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	near.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := r.Next(); err == nil {
		t.Fatal("read from a quiet connection")
	}
	if r.buf != nil || r.src.buf != nil || r.body != nil {
		t.Error("a quiet reader holds a buffer")
	}
}

// A message that arrives whole costs one read call, and no allocation; and
// behind it no buffer is held.
func TestArrivedReadsOnce(t *testing.T) {
	far, near := pair(t)
	reads := 0
	r := open(near, owner{read: func() { reads++ }})
	got := 0
	fd, _ := descriptor(near)
	frame := bin(make([]byte, 32))
	one := func() {
		far.Write(frame)
		w := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(w[:], 20_000)
		if err := r.Arrived(fd, false, func(msg []byte) error { got += len(msg); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 1000
	if got := testing.AllocsPerRun(messages, one); got > 0.1 {
		t.Errorf("%.2f allocations a message, want 0", got)
	}
	if n := reads; n != messages+1 || got != 32*int(n) { // one to warm up
		t.Errorf("%d read calls for %d messages, %d bytes", n, messages+1, got)
	}
	if r.buf != nil || r.src != nil || r.body != nil {
		t.Error("a quiet reader holds a buffer")
	}
}

// What Arrived can't take whole is left for Next, with nothing lost.
func TestArrivedLeavesTheRestToNext(t *testing.T) {
	far, near := pair(t)
	r := open(near, owner{})
	defer r.Release()
	fd, _ := descriptor(near)
	long := random(6000)
	whole := join(bin([]byte("one")), bin(long), bin([]byte("two")))
	far.Write(whole[:100])
	var got []string
	handle := func(msg []byte) error { got = append(got, string(msg)); return nil }
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := r.Arrived(fd, false, handle)
		if err == ErrWait {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if len(got) != 1 || got[0] != "one" || r.Rest() {
		t.Fatalf("got %q, and rests", got)
	}
	far.Write(whole[100:])
	for _, want := range []string{string(long), "two"} {
		if msg, err := r.Next(); err != nil || string(msg) != want {
			t.Fatalf("got %d bytes, %v, want %d", len(msg), err, len(want))
		}
	}
	if !r.Rest() {
		t.Error("does not rest behind the last message")
	}
}

// Over net.Pipe, which is not TCP, the reader waits in the ordinary way.
func TestOtherConnections(t *testing.T) {
	far, near := net.Pipe()
	defer far.Close()
	defer near.Close()
	p := random(10_000)
	go func() { far.Write(join(bin([]byte("a")), bin(p), closing(1000, "done"))) }()
	got := drainReader(near)
	if len(got.messages) != 2 || got.messages[1] != string(p) || got.code() != 1000 {
		t.Errorf("got %d messages, %v", len(got.messages), got.err)
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	for _, n := range []int{32, 8000} {
		far, near := pair(t)
		r := open(near, owner{})
		frame := bin(make([]byte, n))
		one := func() {
			far.Write(frame)
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			one()
		}
		if got := testing.AllocsPerRun(1000, one); got > 0.1 {
			t.Errorf("%d bytes: %.2f allocations a message, want 0", n, got)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	for n, want := range map[int][]byte{
		0: {0x82, 0}, 125: {0x82, 125}, 126: {0x82, 126, 0, 126}, 65535: {0x82, 126, 255, 255},
		65536: {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		if got := AppendHeader(nil, Binary, n); !bytes.Equal(got, want) {
			t.Errorf("%d: % x, want % x", n, got, want)
		}
	}
}

func TestAppendClose(t *testing.T) {
	b := AppendClose(nil, 4001, strings.Repeat("é", 100))
	if len(b) != 2+2+122 || b[1] != 124 {
		t.Errorf("close frame of %d bytes, length %d: a cut reason must stay whole UTF-8", len(b), b[1])
	}
	if b := AppendClose(nil, 1000, ""); !bytes.Equal(b, []byte{0x88, 2, 3, 0xe8}) {
		t.Errorf("% x", b)
	}
}

func TestUnmask(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for n := range 100 {
		p := random(n)
		want := bytes.Clone(p)
		for i := range want {
			want[i] ^= key[i&3]
		}
		if unmask(p, key); !bytes.Equal(p, want) {
			t.Fatalf("%d bytes: wrong", n)
		}
	}
}

// FuzzReader holds the reader to its bounds whatever comes, and to the same
// result however it is cut.
func FuzzReader(f *testing.F) {
	f.Add(join(bin([]byte("hello")), ping([]byte("x")), closing(1000, "bye")), uint16(3))
	f.Add(join(sent(byte(Binary), []byte("a")), ping(nil), sent(fin, []byte("b"))), uint16(1))
	f.Add(bin(random(5000)), uint16(100))
	f.Add([]byte{fin | 2, bitMask | 127, 128, 0, 0, 0, 0, 0, 0, 1}, uint16(2))
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		whole := fromPieces(in, len(in)+1)
		cut := fromPieces(in, int(piece)+1)
		if len(whole.messages) != len(cut.messages) || whole.code() != cut.code() {
			t.Fatalf("whole: %d messages, %v; cut: %d messages, %v", len(whole.messages), whole.err, len(cut.messages), cut.err)
		}
		for i, m := range whole.messages {
			if m != cut.messages[i] || len(m) > limit {
				t.Fatalf("message %d differs", i)
			}
		}
		if whole.err == nil {
			t.Fatal("reader went on after the end")
		}
	})
}

// pieces is a connection that gives its bytes a few at a time.
type pieces struct {
	net.Conn
	b []byte
	n int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

func fromPieces(in []byte, n int) outcome { return drainReader(&pieces{b: in, n: n}) }

func BenchmarkRead32(b *testing.B) {
	frame := bin(make([]byte, 32))
	r := open(&forever{b: bytes.Repeat(frame, 64)}, owner{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmask256(b *testing.B) {
	p := make([]byte, 256)
	b.SetBytes(256)
	for b.Loop() {
		unmask(p, [4]byte{1, 2, 3, 4})
	}
}

// forever is a connection that gives the same bytes again and again.
type forever struct {
	net.Conn
	b  []byte
	at int
}

func (f *forever) Read(to []byte) (int, error) {
	n := copy(to, f.b[f.at:])
	f.at = (f.at + n) % len(f.b)
	return n, nil
}
