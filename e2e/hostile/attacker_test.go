package hostile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// attacker is a connection without any manners.
type attacker struct {
	nc     *net.TCPConn
	r      *bufio.Reader
	advice string // the last handshake's Retry-After
}

const upgrade = "GET / HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: limpet.v1\r\n"

func (x *target) dial(t testing.TB) *attacker {
	t.Helper()
	nc, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &attacker{nc: nc.(*net.TCPConn), r: bufio.NewReader(nc)}
}

// handshake asks for a WebSocket as a client at an address, "" for loopback.
func (a *attacker) handshake(from string) (status int, err error) {
	req := upgrade
	if from != "" {
		req += "X-Forwarded-For: " + from + "\r\n"
	}
	if _, err := io.WriteString(a.nc, req+"\r\n"); err != nil {
		return 0, err
	}
	a.nc.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return 0, err
	}
	a.advice = resp.Header.Get("Retry-After")
	return resp.StatusCode, nil
}

// in is an attacker behind handshake and hello.
func (x *target) in(t testing.TB) *attacker {
	t.Helper()
	a := x.dial(t)
	if status, err := a.handshake(""); status != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %d, %v", status, err)
	}
	a.send(wire.Hello{Instance: wire.Instance{byte(time.Now().UnixNano()), 7}}.Append(nil))
	if p, code, err := a.read(); wire.TypeOf(p) != wire.TypeWelcome {
		t.Fatalf("welcome: % x, %d, %v", p, code, err)
	}
	return a
}

func frame(b0 byte, p []byte) []byte {
	b := []byte{b0}
	switch {
	case len(p) < 126:
		b = append(b, 0x80|byte(len(p)))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(p)))
	}
	b = append(b, 0, 0, 0, 0) // a key of zeros leaves the payload as it is
	return append(b, p...)
}

func (a *attacker) send(p []byte) error {
	_, err := a.nc.Write(frame(0x82, p))
	return err
}

// read is the next message, or the close code.
func (a *attacker) read() (msg []byte, code int, err error) {
	for {
		var h [10]byte
		if _, err := io.ReadFull(a.r, h[:2]); err != nil {
			return nil, 0, err
		}
		n := int(h[1])
		switch n {
		case 126:
			io.ReadFull(a.r, h[2:4])
			n = int(binary.BigEndian.Uint16(h[2:]))
		case 127:
			io.ReadFull(a.r, h[2:10])
			n = int(binary.BigEndian.Uint64(h[2:]))
		}
		p := make([]byte, n)
		if _, err := io.ReadFull(a.r, p); err != nil {
			return nil, 0, err
		}
		switch h[0] & 0x0f {
		case 8:
			return nil, int(binary.BigEndian.Uint16(p)), nil
		case 2:
			return p, 0, nil
		}
	}
}

// answer is the next message of a type.
func (a *attacker) answer(t testing.TB, types ...wire.Type) []byte {
	t.Helper()
	a.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		p, code, err := a.read()
		if err != nil || code != 0 {
			t.Fatalf("ended with %d, %v", code, err)
		}
		for _, want := range types {
			if wire.TypeOf(p) == want {
				return p
			}
		}
	}
}

// refused checks that the next error or success is the error with a code, with
// advice where the code asks to come back.
func (a *attacker) refused(t testing.TB, ref uint32, want wire.Code) {
	t.Helper()
	p := a.answer(t, wire.TypeError, wire.TypeJoined)
	e, err := wire.DecodeError(p)
	switch {
	case err != nil:
		t.Errorf("answered % x (%v), want error %v", p, err, want)
	case e.Ref != ref || e.Code != want:
		t.Errorf("answered %+v, want %v of %d", e, want, ref)
	case want == wire.CodeRateLimited && e.RetryMS == 0:
		t.Errorf("answered %+v, without advice", e)
	}
}

// mustCut checks that the connection ends within the bound, with a code.
func (a *attacker) mustCut(t testing.TB, began time.Time, want wire.Code) {
	t.Helper()
	a.nc.SetReadDeadline(time.Now().Add(patience))
	defer a.nc.Close()
	for {
		_, code, err := a.read()
		took := time.Since(began)
		switch {
		case err != nil:
			t.Errorf("ended without a code: %v, want %d", err, want)
		case code == 0:
			continue
		case code != int(want):
			t.Errorf("closed with %d, want %d", code, want)
		case took > cutWithin:
			t.Errorf("cut after %v, want %v at most", took, cutWithin)
		}
		return
	}
}

// mustHangUp checks that the connection ends within the bound, with no answer
// but that the request is none: half of its first line is taken for the whole.
func (a *attacker) mustHangUp(t testing.TB, began time.Time) {
	t.Helper()
	a.nc.SetReadDeadline(time.Now().Add(patience))
	defer a.nc.Close()
	answer, err := io.ReadAll(a.r)
	took := time.Since(began)
	switch {
	case len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("half a request was answered with %q, %v", answer, err)
	case took > cutWithin:
		t.Errorf("half a request held for %v, want %v at most", took, cutWithin)
	}
}

// flood writes b again and again until the peer has had enough.
func (a *attacker) flood(b []byte) {
	b = []byte(strings.Repeat(string(b), 1+4096/len(b)))
	a.nc.SetWriteDeadline(time.Now().Add(cutWithin))
	for {
		if _, err := a.nc.Write(b); err != nil {
			return
		}
	}
}
