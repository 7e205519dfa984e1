package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/wire"
)

// named lets in who says NAME, with what words behind it allow.
func named(c *Config) {
	c.Authenticate = func(_ context.Context, token []byte) (Identity, error) {
		words := strings.Fields(string(token))
		if len(words) == 0 {
			return Identity{}, errors.New("no token")
		}
		id := Identity{User: words[0]}
		for _, w := range words[1:] {
			if strings.Contains(w, "/") {
				id.Rooms = append(id.Rooms, w)
			} else {
				id.Kinds = append(id.Kinds, w)
			}
		}
		return id, nil
	}
}

func (n *node) connectAs(token string) *player {
	p := n.dial()
	p.send(wire.Hello{Instance: wire.Instance{1}, Token: []byte(token)})
	p.next(wire.TypeWelcome)
	return p
}

func TestTokenInTheSubprotocol(t *testing.T) {
	n, h := start(t, named), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	b64 := base64.RawURLEncoding.EncodeToString
	header := func(protocols string) http.Header {
		return http.Header{"Sec-WebSocket-Protocol": {protocols}}
	}
	d := websocket.Dialer{HandshakeTimeout: patience}
	ws, resp, err := d.Dial(n.url, header("limpet.v1, limpet.token."+b64([]byte("ann"))))
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if got := resp.Header.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "limpet.v1" {
		t.Errorf("the answer chooses %q: the token must not come back", got)
	}
	p := &player{t, ws}
	p.send(wire.Hello{})
	p.next(wire.TypeWelcome)
	p.send(wire.Join{Ref: 1, Mode: wire.ModeJoin, Kind: "chat", Name: "r1"})
	if a := h.nextAttach(); a.User != "ann" {
		t.Errorf("user %q, want ann", a.User)
	}
	for name, protocols := range map[string]string{
		"twice":      "limpet.v1, limpet.token." + b64([]byte("a")) + ", limpet.token." + b64([]byte("b")),
		"empty":      "limpet.v1, limpet.token.",
		"garbled":    "limpet.v1, limpet.token.!!",
		"padded":     "limpet.v1, limpet.token.YQ==",
		"too long":   "limpet.v1, limpet.token." + strings.Repeat("A", 5600),
		"token only": "limpet.token." + b64([]byte("a")),
	} {
		if _, resp, err := d.Dial(n.url, header(protocols)); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
}

func TestNoTokenNoWelcome(t *testing.T) {
	n := start(t, named)
	p := n.dial()
	p.send(wire.Hello{})
	_, err := p.read()
	var c *websocket.CloseError
	if !errors.As(err, &c) || c.Code != int(wire.CloseUnauthorized) || c.Text != "the token was not accepted" {
		t.Errorf("ended with %v", err)
	}
}

func TestGrantsHoldJoinsResumesAndLists(t *testing.T) {
	n, h := start(t, named), startHost(t, "h#1")
	n.dir.put(h.at(room, 10))
	n.dir.put(h.at("board/b", 10))
	join := func(p *player, kind, name string, mode wire.Mode) {
		p.send(wire.Join{Ref: 5, Mode: mode, Kind: kind, Name: name})
	}
	p := n.connectAs("ann chat")
	join(p, "board", "b", wire.ModeJoin)
	p.nextError(wire.CodeUnauthorized)
	join(p, "board", "", wire.ModeAny)
	p.nextError(wire.CodeUnauthorized)
	p.send(wire.List{Ref: 1, Kind: "board"})
	p.nextError(wire.CodeUnauthorized)
	p.send(wire.List{Ref: 1, Kind: "chat"})
	p.next(wire.TypeRooms)
	join(p, "chat", "r1", wire.ModeJoin)
	h.nextAttach().accept(1, 10, wire.HowJoined, 0)
	token := p.nextJoined().Token

	q := n.connectAs("ann chat/r2")
	join(q, "chat", "r1", wire.ModeJoin)
	q.nextError(wire.CodeUnauthorized)
	join(q, "chat", "", wire.ModeAny)
	q.nextError(wire.CodeUnauthorized)
	q.send(wire.List{Ref: 1, Kind: "chat"})
	q.nextError(wire.CodeUnauthorized)
	q.send(wire.Resume{Ref: 2, Token: token})
	q.nextError(wire.CodeUnauthorized)

	r := n.connectAs("eve chat") // with ann's token
	r.send(wire.Resume{Ref: 2, Token: token})
	r.nextError(wire.CodeUnauthorized)
}

func TestGuessingResumeTokensIsCut(t *testing.T) {
	n := start(t)
	p := n.connect()
	for i := range maxForged + 1 {
		p.send(wire.Resume{Ref: 1, Token: []byte(strings.Repeat("A", 200+i))})
	}
	for range maxForged + 1 {
		p.nextError(wire.CodeBadToken)
	}
	if code := p.closed(); code != int(wire.CloseFlood) {
		t.Errorf("closed with %d, want %d", code, wire.CloseFlood)
	}
}

func TestJoinsHaveARate(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.JoinRate = 1 }))
	p := n.connect()
	for range 3 {
		p.send(wire.Join{Ref: 1, Mode: wire.ModeJoin, Kind: "chat", Name: "none"})
	}
	limited := 0
	for range 3 {
		f, err := wire.DecodeError(p.next(wire.TypeError))
		if err != nil {
			t.Fatal(err)
		}
		if f.Code == wire.CodeRateLimited && f.RetryMS > 0 {
			limited++
		}
	}
	if limited != 1 {
		t.Errorf("%d of 3 joins turned away, want 1", limited)
	}
}

func TestClientAddress(t *testing.T) {
	g := &Gateway{cfg: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, c := range []struct {
		peer string
		via  []string
		want string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"198.51.100.1"}, "192.0.2.1"}, // no proxy: what it says is nothing
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:5", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"}, // the first is the client's to make up
		{"10.0.0.1:5", []string{"203.0.113.9", "198.51.100.1, 10.1.1.1"}, "198.51.100.1"},
		{"10.0.0.1:5", []string{"203.0.113.9", "garbage"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{"garbage, 198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:5", []string{"10.2.2.2, 10.3.3.3"}, "10.2.2.2"},
		{"[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		{"[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.via}}
		if got := g.clientAddr(requestPeer(r), r); got.String() != c.want {
			t.Errorf("%s via %q: %s, want %s", c.peer, c.via, got, c.want)
		}
	}
}

func TestAddressesCountBySubscriber(t *testing.T) {
	l := Limits{AddressConnections: 2, AddressHandshakes: 1}
	l.setDefaults()
	table := newAddresses(&l, newMetrics(nil))
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	if !table.open(a("2001:db8::1")) || !table.open(a("2001:db8::2")) || table.open(a("2001:db8::3")) {
		t.Error("a /64 is not one address")
	}
	if !table.open(a("2001:db8:0:1::1")) || !table.open(a("192.0.2.1")) || !table.open(a("::ffff:192.0.2.1")) || table.open(a("192.0.2.1")) {
		t.Error("addresses are not told apart")
	}
	table.close(a("2001:db8::9"))
	if !table.open(a("2001:db8::3")) {
		t.Error("a place that was given back is not free")
	}
	for range 100 {
		if !table.open(a("127.0.0.1")) || !table.open(a("::1")) {
			t.Fatal("loopback is limited")
		}
	}
	now := time.Now()
	for i, want := range []bool{true, true, false} {
		if _, ok := table.handshake(a("192.0.2.1"), now); ok != want {
			t.Errorf("handshake %d: %v", i, ok)
		}
	}
	if _, ok := table.handshake(a("192.0.2.1"), now.Add(time.Second)); !ok {
		t.Error("no handshake a second later")
	}
	for range 2 {
		table.close(a("192.0.2.1"))
		table.close(a("2001:db8::1"))
	}
	table.close(a("2001:db8:0:1::1"))
	table.sweep(now.Add(time.Minute))
	if len(table.all) != 0 {
		t.Errorf("%d accounts are left", len(table.all))
	}
}

func TestAddressTableIsBounded(t *testing.T) {
	l := Limits{}
	l.setDefaults()
	table := newAddresses(&l, newMetrics(nil))
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range maxAddresses + 1000 {
		if _, ok := table.handshake(at(i), time.Now()); !ok {
			t.Fatalf("address %d is turned away", i)
		}
	}
	if n := len(table.all); n > maxAddresses {
		t.Errorf("%d accounts, want at most %d", n, maxAddresses)
	}
}

// Behind a proxy each client is held to its own limit, and its place is free
// again when it has left.
func TestAddressLimitThroughAProxy(t *testing.T) {
	n := start(t, func(c *Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Limits.AddressConnections, c.Limits.AddressHandshakes = 2, 100
		c.Log = zerolog.Nop()
	})
	dial := func(from string) (*websocket.Conn, int) {
		ws, resp, err := dialer.Dial(n.url, http.Header{"X-Forwarded-For": {from}})
		if err != nil && resp == nil {
			t.Fatal(err)
		}
		return ws, resp.StatusCode
	}
	one, _ := dial("198.51.100.1")
	two, _ := dial("198.51.100.1")
	if _, status := dial("198.51.100.1"); status != http.StatusServiceUnavailable {
		t.Errorf("third connection: %d", status)
	}
	other, status := dial("198.51.100.2")
	if status != http.StatusSwitchingProtocols {
		t.Errorf("another address: %d", status)
	}
	one.Close()
	until(t, "a free place", func() bool {
		ws, status := dial("198.51.100.1")
		if ws != nil {
			ws.Close()
		}
		return status == http.StatusSwitchingProtocols
	})
	two.Close()
	other.Close()
}
