package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/gateway/internal/ws"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// raw is bytes as they are.
type raw []byte

func (r raw) Append(b []byte) []byte { return append(b, r...) }

func hello() wire.Hello { return wire.Hello{Instance: wire.Instance{1}} }

// What a client can send that is wrong, and what it gets for it.
func TestBadInput(t *testing.T) {
	whole := wire.Join{Ref: 3, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"}.Append(nil)
	for name, tc := range map[string]struct {
		frames []encoder
		code   wire.Code // of an error frame that leaves the connection open; 0: none
		closes wire.Code // 0: stays open
	}{
		"no hello first":       {[]encoder{raw(whole)}, 0, wire.CloseBadFrame},
		"truncated hello":      {[]encoder{raw(hello().Append(nil)[:10])}, 0, wire.CloseBadFrame},
		"second hello":         {[]encoder{hello(), hello()}, 0, wire.CloseBadFrame},
		"empty message":        {[]encoder{hello(), raw{}}, 0, wire.CloseBadFrame},
		"truncated join":       {[]encoder{hello(), raw(whole[:7])}, 0, wire.CloseBadFrame},
		"truncated input":      {[]encoder{hello(), raw{byte(wire.TypeInput), 0, 0}}, 0, wire.CloseBadFrame},
		"input 0":              {[]encoder{hello(), input{Handle: 1}}, 0, wire.CloseBadFrame},
		"skip backwards":       {[]encoder{hello(), wire.Skip{Handle: 1, From: 3, To: 2}}, 0, wire.CloseBadFrame},
		"leave 0":              {[]encoder{hello(), wire.Leave{Handle: 1}}, 0, wire.CloseBadFrame},
		"truncated ping":       {[]encoder{hello(), raw{byte(wire.TypePing), 1}}, 0, wire.CloseBadFrame},
		"truncated resume":     {[]encoder{hello(), raw{byte(wire.TypeResume), 1, 2, 3, 4, 5}}, 0, wire.CloseBadFrame},
		"truncated list":       {[]encoder{hello(), raw{byte(wire.TypeList), 1, 2}}, 0, wire.CloseBadFrame},
		"bad kind":             {[]encoder{hello(), wire.Join{Kind: "No Such", Name: "x"}}, wire.CodeBadRequest, 0},
		"bad name":             {[]encoder{hello(), wire.Join{Kind: "chat", Name: "a{b}"}}, wire.CodeBadRequest, 0},
		"any with a name":      {[]encoder{hello(), wire.Join{Mode: wire.ModeAny, Kind: "chat", Name: "x"}}, wire.CodeBadRequest, 0},
		"unknown mode":         {[]encoder{hello(), wire.Join{Mode: 9, Kind: "chat", Name: "x"}}, wire.CodeBadRequest, 0},
		"too much data":        {[]encoder{hello(), wire.Join{Kind: "chat", Name: "x", Data: make([]byte, wire.MaxJoinData+1)}}, wire.CodeBadRequest, 0},
		"too long a token":     {[]encoder{hello(), wire.Resume{Token: make([]byte, wire.MaxToken+1)}}, wire.CodeBadRequest, 0},
		"bad kind of a list":   {[]encoder{hello(), wire.List{Kind: "?"}}, wire.CodeBadRequest, 0},
		"input out of nowhere": {[]encoder{hello(), input{Handle: 42, N: 1}}, wire.CodeNotMember, 0},
		"leave out of nowhere": {[]encoder{hello(), wire.Leave{Handle: 42, N: 1}}, wire.CodeNotMember, 0},
		"unknown type":         {[]encoder{hello(), raw{0x7f, 1, 2, 3}}, 0, 0},
		"a gateway's type":     {[]encoder{hello(), wire.Left{Handle: 1}}, 0, 0},
		"trailing bytes":       {[]encoder{hello(), raw(append(wire.AppendPing(nil, wire.TypePing, 1), 1, 2, 3))}, 0, 0},
		"too long a message":   {[]encoder{hello(), raw(make([]byte, maxMessage+1))}, 0, wire.Code(ws.StatusTooBig)},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t)
			p := n.dial()
			for _, f := range tc.frames {
				p.send(f)
			}
			if tc.closes != 0 {
				if code := p.closed(); code != int(tc.closes) {
					t.Errorf("closed with %d, want %d", code, tc.closes)
				}
				return
			}
			p.next(wire.TypeWelcome)
			if tc.code != 0 {
				p.nextError(tc.code)
			}
			p.sendBytes(wire.AppendPing(nil, wire.TypePing, 99))
			for echo := uint64(0); echo != 99; {
				echo, _ = wire.DecodePing(p.next(wire.TypePong))
			}
		})
	}
}

func TestBadFrameIsExplained(t *testing.T) {
	p := start(t).connect()
	p.send(raw{byte(wire.TypeInput), 1})
	if e := p.nextError(wire.CodeBadFrame); !strings.Contains(e.Text, "input") {
		t.Errorf("text %q does not name the frame", e.Text)
	}
	if code := p.closed(); code != int(wire.CloseBadFrame) {
		t.Errorf("closed with %d", code)
	}
}

func TestTextIsRefused(t *testing.T) {
	p := start(t).connect()
	p.ws.WriteMessage(websocket.TextMessage, []byte("hi"))
	if code := p.closed(); code != websocket.CloseUnsupportedData {
		t.Errorf("closed with %d", code)
	}
}

func TestSilence(t *testing.T) {
	impatient := start(t, limits(func(l *Limits) { l.HelloWithin = 100 * time.Millisecond }))
	if code := impatient.dial().closed(); code != int(wire.CloseHelloLate) {
		t.Errorf("without a hello: closed with %d, want %d", code, wire.CloseHelloLate)
	}
	p := start(t, limits(func(l *Limits) { l.Heartbeat = 500 * time.Millisecond })).dial()
	p.send(hello())
	if code := p.closed(); code != int(wire.CloseIdle) {
		t.Errorf("after a hello: closed with %d, want %d", code, wire.CloseIdle)
	}
}

// Frames and both sorts of ping are signs of life.
func TestSignsOfLife(t *testing.T) {
	n := start(t)
	p := n.connect()
	c := n.connections()[0]
	for name, sign := range map[string]func(){
		"a frame": p.nothingMore,
		"a ping":  func() { p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)) },
	} {
		c.touch(time.Now().Add(-time.Minute)) // which may be before the gateway's start
		sign()
		until(t, name+" is heard", func() bool { return c.idle() < time.Minute })
	}
}

func TestPeersClose(t *testing.T) {
	p := start(t).connect()
	p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"), time.Now().Add(patience))
	if code := p.closed(); code != 4321 {
		t.Errorf("closed with %d, want the code sent back", code)
	}
}

func TestFloods(t *testing.T) {
	t.Run("a burst of frames", func(t *testing.T) {
		p := start(t, limits(func(l *Limits) { l.Frames = 50 })).connect()
		// The first hundred are free, and those above them slower. They come as one,
		// or a stalled sender would be within its rate.
		p.ws.NetConn().Write(bytes.Repeat(clientFrame(finBinary, unknown(1)), 120))
		p.nextError(wire.CodeRateLimited)
		p.nothingMore()
	})
	t.Run("frames", func(t *testing.T) {
		p := start(t, limits(func(l *Limits) { l.Frames, l.FloodAfter = 50, 300*time.Millisecond })).connect()
		go func() {
			for p.ws.WriteMessage(websocket.BinaryMessage, []byte{0x7f}) == nil {
			}
		}()
		if code := p.closed(); code != int(wire.CloseFlood) {
			t.Errorf("closed with %d, want %d", code, wire.CloseFlood)
		}
	})
	t.Run("pings", func(t *testing.T) {
		p := start(t).connect()
		for range 2*10 + 5 {
			p.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience))
		}
		if code := p.closed(); code != int(wire.CloseFlood) {
			t.Errorf("closed with %d, want %d", code, wire.CloseFlood)
		}
	})
	t.Run("a message of fragments that never ends", func(t *testing.T) {
		p := start(t).connect()
		key := []byte{1, 2, 3, 4}
		nc := p.ws.NetConn()
		nc.Write(append([]byte{byte(ws.Binary), 0x80}, key...))
		go func() {
			for {
				if _, err := nc.Write(append([]byte{0, 0x80}, key...)); err != nil {
					return
				}
			}
		}()
		if code := p.closed(); code != int(wire.CloseFlood) {
			t.Errorf("closed with %d, want %d", code, wire.CloseFlood)
		}
	})
}

func TestAuthentication(t *testing.T) {
	h := startHost(t, "h#1")
	n := start(t, func(c *Config) {
		c.Authenticate = func(_ context.Context, token []byte) (Identity, error) {
			if string(token) != "let me in" {
				return Identity{}, errors.New("wrong word")
			}
			return Identity{User: "ann", Claims: []byte(`{"sub":"ann"}`)}, nil
		}
	})
	n.dir.put(h.at(room, 10))
	p := n.dial()
	p.send(wire.Hello{Token: []byte("please")})
	if code := p.closed(); code != int(wire.CloseUnauthorized) {
		t.Errorf("closed with %d, want %d", code, wire.CloseUnauthorized)
	}
	q := n.dial()
	q.send(wire.Hello{Token: []byte("let me in")})
	q.next(wire.TypeWelcome)
	q.send(wire.Join{Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
	if a := h.nextAttach(); a.User != "ann" || string(a.Claims) != `{"sub":"ann"}` {
		t.Errorf("user %q with claims %q, want ann and hers", a.User, a.Claims)
	}
}

func TestHandshake(t *testing.T) {
	n := start(t, func(c *Config) {
		c.Origins = []string{"https://game.example"}
		c.Limits.Connections = 3
		c.Static = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	own := "http://" + n.addr
	for name, tc := range map[string]struct {
		protocol string
		origins  []string
		want     int
	}{
		"no subprotocol":      {"", nil, http.StatusBadRequest},
		"another subprotocol": {"limpet.v2", nil, http.StatusBadRequest},
		"one of two":          {"limpet.v2, limpet.v1", nil, http.StatusSwitchingProtocols},
		"allowed":             {"limpet.v1", []string{"https://game.example"}, http.StatusSwitchingProtocols},
		"with its port":       {"limpet.v1", []string{"https://GAME.example:443"}, http.StatusSwitchingProtocols},
		"own":                 {"limpet.v1", []string{own}, http.StatusSwitchingProtocols},
		"other scheme":        {"limpet.v1", []string{"http://game.example"}, http.StatusForbidden},
		"other port":          {"limpet.v1", []string{"https://game.example:444"}, http.StatusForbidden},
		"longer name":         {"limpet.v1", []string{"https://game.example.evil.example"}, http.StatusForbidden},
		"null":                {"limpet.v1", []string{"null"}, http.StatusForbidden},
		"empty":               {"limpet.v1", []string{""}, http.StatusForbidden},
		"user":                {"limpet.v1", []string{"https://game.example@evil.example"}, http.StatusForbidden},
		"file":                {"limpet.v1", []string{"file://game.example"}, http.StatusForbidden},
		"two":                 {"limpet.v1", []string{"https://game.example", "https://evil.example"}, http.StatusForbidden},
	} {
		req, _ := http.NewRequest("GET", own+"/any/path", nil)
		req.Header["Connection"] = []string{"Upgrade"}
		req.Header["Upgrade"] = []string{"websocket"}
		req.Header["Sec-Websocket-Version"] = []string{"13"}
		req.Header["Sec-Websocket-Key"] = []string{"dGhlIHNhbXBsZSBub25jZQ=="}
		if tc.protocol != "" {
			req.Header.Set("Sec-WebSocket-Protocol", tc.protocol)
		}
		for _, o := range tc.origins {
			req.Header.Add("Origin", o)
		}
		if got, _ := get(t, req); got != tc.want {
			t.Errorf("%s: status %d, want %d", name, got, tc.want)
		}
		until(t, "connection gone", func() bool { return n.Connections() == 0 })
	}
	for range 3 {
		n.connect()
	}
	if _, resp, err := dialer.Dial(n.url, nil); err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a fourth connection: %v, %+v", err, resp)
	}
	req, _ := http.NewRequest("GET", own+"/index.html", nil)
	if got, _ := get(t, req); got != http.StatusTeapot {
		t.Errorf("page: status %d", got)
	}
}

func TestList(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Lists = 1 }))
	n.dir.mu.Lock()
	n.dir.open = []directory.OpenRoom{{Room: room, Members: 2, Max: 50, Labels: map[string]string{"map": "sea"}}}
	n.dir.mu.Unlock()
	p := n.connect()
	p.send(wire.List{Ref: 4, Kind: "chat", Most: 1})
	f, err := wire.DecodeRooms(p.next(wire.TypeRooms))
	want := `[{"room":"chat/r1","members":2,"max":50,"labels":{"map":"sea"},"open":true}]`
	if err != nil || f.Ref != 4 || f.Asked != 3 || f.Answered != 2 || string(f.JSON) != want {
		t.Errorf("rooms: %+v %s, %v", f, f.JSON, err)
	}
	if q := n.dir.listed(); len(q) != 1 || q[0].Kind != "chat" || q[0].Most != 1 {
		t.Errorf("the directory was asked for %+v", q)
	}
	for range 5 {
		p.send(wire.List{Ref: 5, Kind: "chat"})
	}
	limited := 0
	for range 5 {
		msg, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if wire.TypeOf(msg) == wire.TypeError {
			limited++
		}
	}
	if limited < 4 {
		t.Errorf("%d of 5 lists were refused, want 4", limited)
	}
}

func TestLongListIsCut(t *testing.T) {
	many := make([]directory.OpenRoom, listMost)
	for i := range many {
		many[i] = directory.OpenRoom{Room: room, Labels: map[string]string{"x": strings.Repeat("y", 1000)}}
	}
	if b, n := listJSON(many); n == 0 || n == len(many) || len(b) > listBytes || len(b) < listBytes-2000 || b[len(b)-1] != ']' {
		t.Errorf("list of %d bytes, want just under %d", len(b), listBytes)
	}
}

func TestDrain(t *testing.T) {
	n, h := start(t), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	p, q := n.connect(), n.connect()
	p.join(h, 10)
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(context.Background(), 100*time.Millisecond) }()
	first := uint32(0)
	for _, x := range []*player{p, q} {
		f, err := wire.DecodeGoAway(x.next(wire.TypeGoAway))
		if err != nil || f.AfterMS > 50 || f.SpreadMS != 0 {
			t.Errorf("go away: %+v, %v, want a time of the client's own", f, err)
		}
		first += f.AfterMS
	}
	if first == 0 {
		t.Errorf("both are told to go at once, want the second half of 100ms later")
	}
	if _, resp, err := dialer.Dial(n.url, nil); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection during a drain: %v", err)
	}
	for _, x := range []*player{p, q} {
		if code := x.closed(); code != int(wire.CloseShutdown) {
			t.Errorf("closed with %d, want %d", code, wire.CloseShutdown)
		}
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	h.next(peer.KindDetach)
}

func TestEndOfRunTellsClients(t *testing.T) {
	n := start(t)
	p := n.connect()
	go n.stop()
	p.next(wire.TypeGoAway)
	if code := p.closed(); code != int(wire.CloseShutdown) {
		t.Errorf("closed with %d, want %d", code, wire.CloseShutdown)
	}
	n.stop()
}
