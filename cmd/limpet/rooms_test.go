package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

// listGateway answers browses with rooms a to e, two a page.
type listGateway struct {
	url string

	mu       sync.Mutex
	browses  []wire.Browse
	answered uint16
	delay    time.Duration // before each page
	limited  *wire.Error   // refuses every browse
}

func newListGateway(t *testing.T) *listGateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &listGateway{url: "ws://" + ln.Addr().String(), answered: 3}
	srv := &http.Server{Handler: http.HandlerFunc(g.serve)}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
	return g
}

func (g *listGateway) serve(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		_, msg, err := ws.ReadMessage()
		if err != nil {
			return
		}
		switch wire.TypeOf(msg) {
		case wire.TypeHello:
			ws.WriteMessage(websocket.BinaryMessage, wire.Welcome{Minor: 1, Heartbeat: 10_000, Gateway: "g"}.Append(nil))
		case wire.TypeBrowse:
			f, _ := wire.DecodeBrowse(msg)
			if g.limited != nil {
				g.answer(f)
				ws.WriteMessage(websocket.BinaryMessage, wire.ErrorFrame{Ref: f.Ref, Error: *g.limited}.Append(nil))
				continue
			}
			<-time.After(g.delay)
			for _, p := range g.answer(f) {
				ws.WriteMessage(websocket.BinaryMessage, p.Append(nil))
			}
		}
	}
}

func (g *listGateway) answer(f wire.Browse) []wire.Page {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.browses = append(g.browses, f)
	p := wire.Page{Ref: f.Ref, Asked: 3, Answered: g.answered, Covered: g.answered * 333}
	var rooms []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if name > f.After && len(rooms) < 2 {
			rooms = append(rooms, fmt.Sprintf(`{"room":"chat/%s","members":1,"max":9,"open":true,"labels":{"map":"sea"}}`, name))
			p.Next = name
		}
	}
	if p.Next == "e" {
		p.Next = ""
	}
	p.JSON = []byte("[" + strings.Join(rooms, ",") + "]")
	return []wire.Page{p}
}

func listRooms(args ...string) (status int, out, errOut string) {
	ctx, cancel := context.WithTimeout(context.Background(), joinWithin)
	defer cancel()
	var o, e bytes.Buffer
	status = runRooms(ctx, args, streams{strings.NewReader(""), &o, &e})
	return status, o.String(), e.String()
}

func TestRoomsListsAllPages(t *testing.T) {
	g := newListGateway(t)
	status, out, errOut := listRooms("chat", "--gateway", g.url, "--pool", "gold", "--room-label", "map=sea", "--seats", "2")
	if status != 0 || errOut != "" {
		t.Fatalf("status %d: %s", status, errOut)
	}
	for _, want := range []string{"chat/a", "chat/e", "map=sea", "5 open rooms; 3 of 3 hosts answered"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if len(g.browses) != 3 || string(g.browses[0].Filter.JSON()) != `{"pool":"gold","labels":{"map":"sea"},"seats":2}` || g.browses[2].After != "d" {
		t.Errorf("asked %+v", g.browses)
	}
}

// The time to wait is for each page: a long list may take longer.
func TestRoomsWaitsForEachPage(t *testing.T) {
	g := newListGateway(t)
	g.delay = 700 * time.Millisecond
	if status, out, errOut := listRooms("chat", "--gateway", g.url, "--wait", "2s"); status != 0 || !strings.Contains(out, "5 open rooms") {
		t.Errorf("status %d, %s%s", status, out, errOut)
	}
}

func TestRoomsThatAreRefusedAskAgainInPeace(t *testing.T) {
	g := newListGateway(t)
	g.limited = &wire.Error{Code: wire.CodeRateLimited}
	status, _, errOut := listRooms("chat", "--gateway", g.url, "--wait", "1s")
	if asked := g.asked(); status != 1 || asked < 1 || asked > 11 || !strings.Contains(errOut, "rate_limited") {
		t.Errorf("status %d after %d requests: %s", status, asked, errOut)
	}

	g = newListGateway(t)
	g.limited = &wire.Error{Code: wire.CodeRateLimited, RetryMS: 30_000}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- runRooms(ctx, []string{"chat", "--gateway", g.url, "--wait", "1h"}, streams{nil, io.Discard, io.Discard})
	}()
	for deadline := time.Now().Add(joinWithin); g.asked() == 0 && time.Now().Before(deadline); {
		<-time.After(5 * time.Millisecond)
	}
	cancel()
	select {
	case status := <-ended:
		if status != 1 {
			t.Errorf("status %d", status)
		}
	case <-time.After(20 * time.Second):
		t.Error("an interrupt does not end it")
	}
}

func (g *listGateway) asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.browses)
}

func TestRoomsAsJSON(t *testing.T) {
	g := newListGateway(t)
	g.answered = 2
	status, out, _ := listRooms("chat", "--gateway", g.url, "--json", "--most", "2", "--after", "a")
	var l roomList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if status != exitIncomplete || len(l.Rooms) != 2 || l.Rooms[0].Room != "chat/b" || l.Next != "c" || l.Asked != 3 || l.Answered != 2 || l.Covered != 0.666 {
		t.Errorf("status %d, %+v", status, l)
	}
}

func TestRoomsBadUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"not a kind"}, {"chat", "--seats", "-1"}, {"chat", "--room-label", "x"}, {"chat", "--most", "201"},
		{"chat", "--gateway", "http://x"}, {"chat", "--pool", strings.Repeat("p", 65)}, {"chat", "more"},
	} {
		if status, out, errOut := listRooms(args...); status != 2 || out != "" || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errOut)
		}
	}
}

func TestJoinOfAKindTakesAFilter(t *testing.T) {
	var s joinSettings
	s.mode = "join-or-create"
	s.filter = filterFlags{pool: "gold", labels: []string{"map=sea"}, seats: 2}
	if err := s.check("chat"); err != nil || s.mode != "any" || string(s.filter.asks.JSON()) != `{"pool":"gold","labels":{"map":"sea"},"seats":2}` {
		t.Errorf("%+v, %v", s, err)
	}
	s = joinSettings{mode: "join", filter: filterFlags{pool: "gold"}}
	if err := s.check("chat/lobby"); err == nil {
		t.Error("a filter for a room that is named was taken")
	}
}
