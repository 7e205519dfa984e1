//go:build linux

package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Colyseus is the protocol of Colyseus 0.18: a seat is asked for by HTTP, taken
// up by a WebSocket, here on the same connection, and confirmed; messages are of
// the kind bytes.
type Colyseus struct{}

const (
	colyseusJoin  = 10
	colyseusError = 11
	colyseusBytes = 17
	colyseusKind  = 1 // as bench/colyseus has it
)

func (Colyseus) Greet(b []byte, c *Client) []byte {
	body := fmt.Sprintf(`{"n":%d}`, c.seats[0].Room)
	return fmt.Appendf(b, "POST /matchmake/joinOrCreate/bench HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
}

func (Colyseus) Input(b []byte, _ *Seat, payload []byte) []byte {
	b = header(b, 2+len(payload))
	at := len(b)
	b = append(append(b, colyseusBytes, colyseusKind), payload...)
	maskInPlace(b[at:])
	return b
}

func (Colyseus) Ping(b []byte) []byte { return b }

func (p Colyseus) Take(l *Loop, c *Client, in []byte) (int, error) {
	switch {
	case !c.reserved:
		path, n, err := reservation(in)
		if n > 0 && err == nil {
			c.reserved = true
			l.send(c, upgrade(l.scratch[:0], path, ""))
		}
		return n, err
	case !c.upgraded:
		return upgraded(c, in)
	}
	msg, n, err := message(in)
	if n == 0 || err != nil || len(msg) == 0 {
		return n, err
	}
	switch {
	case msg[0] == colyseusJoin:
		l.send(c, frame(l.scratch[:0], []byte{colyseusJoin}))
		l.joined(c, &c.seats[0])
	case msg[0] == colyseusBytes && len(msg) > 2:
		l.state(c, &c.seats[0], msg[2:])
	case msg[0] == colyseusError:
		return n, fmt.Errorf("join was refused: %q", msg)
	}
	return n, nil
}

// reservation is the path of the WebSocket that takes up a seat, and the answer's
// length: 0 where it is not whole.
func reservation(p []byte) (path string, n int, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return "", 0, nil
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 200")) {
		return "", end + 4, fmt.Errorf("seat asked for: answered %.300q", p)
	}
	size := 0
	for _, line := range bytes.Split(p[:end], []byte("\r\n")) {
		if name, v, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return "", end + 4, fmt.Errorf("length of the answer: %w", err)
			}
		}
	}
	if n = end + 4 + size; len(p) < n {
		return "", 0, nil
	}
	var seat struct{ SessionID, RoomID, ProcessID string }
	if err := json.Unmarshal(p[end+4:n], &seat); err != nil || seat.SessionID == "" {
		return "", n, fmt.Errorf("seat asked for: answered %.300q", p[end+4:n])
	}
	return fmt.Sprintf("/%s/%s?sessionId=%s", seat.ProcessID, seat.RoomID, seat.SessionID), n, nil
}
