package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

const joinWithin = 10 * time.Second

// echoGateway is a gateway with one room: it applies inputs, sends each back
// as a message, and confirms them as durable.
type echoGateway struct {
	url     string
	refuse  *wire.Error // of joins
	kick    bool        // after the first input
	durable bool

	mu     sync.Mutex
	hello  wire.Hello
	join   wire.Join
	inputs []string
	left   bool
}

func newEchoGateway(t *testing.T) *echoGateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &echoGateway{url: "ws://" + ln.Addr().String(), durable: true}
	srv := &http.Server{Handler: http.HandlerFunc(g.serve)}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
	return g
}

func (g *echoGateway) serve(w http.ResponseWriter, r *http.Request) {
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
		for _, frame := range g.answer(msg) {
			ws.WriteMessage(websocket.BinaryMessage, frame)
		}
	}
}

func (g *echoGateway) answer(msg []byte) [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch wire.TypeOf(msg) {
	case wire.TypeHello:
		g.hello, _ = wire.DecodeHello(msg)
		return [][]byte{wire.Welcome{Heartbeat: 10_000, InputLimit: 16_371, Gateway: "g"}.Append(nil)}
	case wire.TypeJoin:
		g.join, _ = wire.DecodeJoin(msg)
		if g.refuse != nil {
			return [][]byte{wire.ErrorFrame{Ref: g.join.Ref, Error: *g.refuse}.Append(nil)}
		}
		return [][]byte{wire.Joined{
			Ref: g.join.Ref, Handle: 3, Kind: g.join.Kind, Name: "lobby", Member: 5,
			Attach: wire.Attach{Host: "h", Epoch: 1000, Incarnation: 1000}, Token: []byte("t"),
		}.Append(nil)}
	case wire.TypeInput:
		f, _ := wire.DecodeInput(msg)
		return g.apply(f)
	case wire.TypeLeave:
		g.left = true
		return [][]byte{wire.Left{Handle: 3, Code: wire.CodeLeft}.Append(nil)}
	}
	return nil
}

func (g *echoGateway) apply(f wire.InputFrame) [][]byte {
	g.inputs = append(g.inputs, string(f.Payload))
	if g.kick {
		return [][]byte{wire.Left{Handle: 3, Code: wire.CodeKicked, Text: "be nice"}.Append(nil)}
	}
	ack := wire.Ack{Handle: 3, Applied: f.N, Count: uint64(f.N)}
	if g.durable {
		ack.Durable = f.N
	}
	return [][]byte{
		wire.Message{Type: wire.TypeMessage, Handle: 3, Seq: wire.Seq(f.N), Payload: f.Payload}.Append(nil),
		ack.Append(nil),
	}
}

func join(t *testing.T, in io.Reader, args ...string) (status int, events []map[string]any, errOut string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), joinWithin)
	defer cancel()
	var o, e bytes.Buffer
	status = runJoin(ctx, args, in, &o, &e)
	for text := range strings.Lines(o.String()) {
		var event map[string]any
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		events = append(events, event)
	}
	return status, events, e.String()
}

// named are the events of one name.
func named(events []map[string]any, name string) (found []map[string]any) {
	for _, e := range events {
		if e["event"] == name {
			found = append(found, e)
		}
	}
	return found
}

func TestJoinSendsLinesAndPrintsEvents(t *testing.T) {
	g := newEchoGateway(t)
	in := "{\"x\":1}\nhello <you>\r\n\xff\xfe\n\nlast"
	status, events, errOut := join(t, strings.NewReader(in), "chat/lobby", "--gateway", g.url, "--data", `{"hue":5}`, "--name", "Ann")
	if status != 0 || errOut != "" {
		t.Fatalf("status %d: %s", status, errOut)
	}
	if want := []string{`{"x":1}`, "hello <you>", "\xff\xfe", "", "last"}; fmt.Sprintf("%q", g.inputs) != fmt.Sprintf("%q", want) {
		t.Errorf("inputs %q, want %q", g.inputs, want)
	}
	if string(g.join.Data) != `{"hue":5,"name":"Ann"}` || g.join.Mode != wire.ModeJoinOrCreate || !g.left {
		t.Errorf("join %+v, left %t", g.join, g.left)
	}
	if first, last := events[0], events[len(events)-1]; first["event"] != "joined" || first["room"] != "chat/lobby" || first["epoch"] != 1000.0 ||
		last["event"] != "left" || last["code"] != "left" {
		t.Errorf("first event %v, last %v", first, last)
	}
	var data []string
	for i, e := range named(events, "message") {
		if e["epoch"] != 1000.0 || e["seq"] != float64(i+1) {
			t.Errorf("message %v", e)
		}
		b, _ := json.Marshal(e["data"])
		data = append(data, string(b))
	}
	if got, want := strings.Join(data, " "), `{"x":1} "hello \u003cyou\u003e" {"base64":"//4="} "" "last"`; got != want {
		t.Errorf("data %s, want %s", got, want)
	}
	acks := named(events, "ack")
	if a := acks[len(acks)-1]; a["applied"] != 5.0 || a["durable"] != 5.0 {
		t.Errorf("last ack %v", a)
	}
}

func TestJoinLinesAreWrittenAsDocumented(t *testing.T) {
	g := newEchoGateway(t)
	var out, errOut bytes.Buffer
	if status := runJoin(t.Context(), []string{"chat/lobby", "--gateway", g.url}, strings.NewReader("{\"a\": [1, 2]}\n"), &out, &errOut); status != 0 {
		t.Fatal(errOut.String())
	}
	for _, want := range []string{
		"\n" + `{"event":"message","epoch":1000,"seq":1,"data":{"a":[1,2]}}` + "\n",
		"\n" + `{"event":"ack","applied":1,"durable":1}` + "\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}

func TestJoinAnyTakesAKind(t *testing.T) {
	g := newEchoGateway(t)
	status, events, errOut := join(t, strings.NewReader(""), "--mode", "any", "--gateway", g.url, "chat")
	if status != 0 || g.join.Mode != wire.ModeAny || events[0]["room"] != "chat/lobby" {
		t.Errorf("status %d, join %+v, events %v, %s", status, g.join, events, errOut)
	}
}

func TestJoinTakesItsTokenFromAFile(t *testing.T) {
	g := newEchoGateway(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a token of some length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errOut := join(t, strings.NewReader(""), "chat/lobby", "--gateway", g.url, "--token", file); status != 0 {
		t.Fatal(errOut)
	}
	if string(g.hello.Token) != "a token of some length" {
		t.Errorf("token %q", g.hello.Token)
	}
}

func TestJoinReportsLongLinesAndGoesOn(t *testing.T) {
	g := newEchoGateway(t)
	in := strings.Repeat("x", 16_372) + "\n" + strings.Repeat("y", 100_000) + "\n" + "fine\n"
	status, events, errOut := join(t, strings.NewReader(in), "chat/lobby", "--gateway", g.url)
	if status != 0 {
		t.Fatal(errOut)
	}
	errs := named(events, "error")
	if len(errs) != 2 || errs[0]["code"] != "too_big" || !strings.Contains(errs[1]["text"].(string), "line 2") {
		t.Errorf("errors %v", errs)
	}
	if fmt.Sprint(g.inputs) != "[fine]" {
		t.Errorf("inputs %.50q", g.inputs)
	}
}

func TestJoinRefusedIsStatusOne(t *testing.T) {
	g := newEchoGateway(t)
	g.refuse = wire.Refuse(wire.CodeRefused, "the game has begun")
	status, events, errOut := join(t, strings.NewReader("x\n"), "chat/lobby", "--gateway", g.url)
	if status != 1 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "the game has begun") {
		t.Errorf("status %d, %q", status, errOut)
	}
	if len(events) != 1 || events[0]["event"] != "error" || events[0]["code"] != "refused" {
		t.Errorf("events %v", events)
	}
}

func TestJoinKickedIsStatusOne(t *testing.T) {
	g := newEchoGateway(t)
	g.kick = true
	in, w := io.Pipe()
	defer in.Close()
	go w.Write([]byte("x\n"))
	status, events, errOut := join(t, in, "chat/lobby", "--gateway", g.url)
	last := events[len(events)-1]
	if status != 1 || last["event"] != "left" || last["code"] != "kicked" || last["text"] != "be nice" {
		t.Errorf("status %d, last event %v, %s", status, last, errOut)
	}
}

func TestJoinWaitsForDurableInputs(t *testing.T) {
	g := newEchoGateway(t)
	g.durable = false
	status, _, errOut := join(t, strings.NewReader("x\n"), "chat/lobby", "--gateway", g.url, "--wait", "300ms")
	if status != 1 || !strings.Contains(errOut, "durable within 300ms") {
		t.Errorf("status %d, %q", status, errOut)
	}
}

func TestJoinStaysUntilInterrupted(t *testing.T) {
	g := newEchoGateway(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		status := runJoin(ctx, []string{"chat/lobby", "--gateway", g.url, "--stay"}, strings.NewReader("x\n"), w, io.Discard)
		w.Close()
		done <- status
	}()
	d := json.NewDecoder(out)
	var last map[string]any
	for {
		var event map[string]any
		if err := d.Decode(&event); err != nil {
			break
		}
		last = event
		if event["event"] == "ack" {
			cancel() // input is over and acknowledged, but it is still there
		}
	}
	if status := <-done; status != 0 || last["event"] != "left" {
		t.Errorf("status %d, last event %v", status, last)
	}
	cancel()
}

func TestJoinWithoutGatewayIsStatusOne(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	status, events, errOut := join(t, strings.NewReader(""), "chat/lobby", "--gateway", "ws://"+ln.Addr().String(), "--wait", "1s")
	if want := "no gateway at ws://" + ln.Addr().String() + " answers yet; trying for 1s"; !strings.Contains(errOut, want) {
		t.Errorf("standard error has %q, want %q in it", errOut, want)
	}
	if status != 1 || !strings.Contains(errOut, "refused") || len(named(events, "error")) != 1 {
		t.Errorf("status %d, %q, %v", status, errOut, events)
	}
}

func TestJoinWithBadUsageIsStatusTwo(t *testing.T) {
	for _, args := range [][]string{
		{}, {"Chat"}, {"Chat/lobby"}, {"chat", "--mode", "any", "--seats", "-1"}, {"chat/lobby", "--pool", "gold"}, {"chat", "--room-label", "x"}, {"chat/lob by"}, {"chat/lobby", "extra"},
		{"chat/lobby", "--mode", "sit"}, {"chat/lobby", "--mode", "any"}, {"chat/lobby", "--gateway", "http://x"},
		{"chat/lobby", "--data", "{"}, {"chat/lobby", "--data", "[]", "--name", "Ann"}, {"chat/lobby", "--rate", "0"},
		{"chat/lobby", "--token", "/nonexistent"}, {"chat/lobby", "--data", `"` + strings.Repeat("x", 5000) + `"`},
	} {
		status, events, errOut := join(t, strings.NewReader(""), args...)
		if status != 2 || strings.Count(errOut, "\n") != 1 || len(events) > 0 {
			t.Errorf("%q: status %d, %q", args, status, errOut)
		}
	}
	var out bytes.Buffer
	if status := runJoin(t.Context(), []string{"--help"}, strings.NewReader(""), &out, io.Discard); status != 0 || !strings.Contains(out.String(), "--stay") {
		t.Errorf("help: status %d\n%s", status, out.String())
	}
}

func TestPacerKeepsItsRate(t *testing.T) {
	p := pacer{gap: 10 * time.Millisecond}
	start := time.Now()
	for range 105 { // a hundred at once, then one every gap
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 45*time.Millisecond || d > joinWithin {
		t.Errorf("105 at 100 a second took %s", d)
	}
}
