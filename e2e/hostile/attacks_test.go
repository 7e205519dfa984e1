package hostile

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/wire"
)

var attacks = []struct {
	name      string
	attackers int // connections at once, at most
	run       func(t *testing.T, x *target)
}{
	{"bomb", 8, bomb},
	{"ping flood", 4, flooded(frame(0x89, nil), wire.CloseFlood)},
	{"empty fragments", 4, floodedAfter(frame(0x02, nil), frame(0x00, nil), wire.CloseFlood)},
	{"unknown frames", 4, unknownFrames},
	{"tiny pieces", 4, tinyPieces},
	{"slow headers", 1000, slowHeaders},
	{"one byte a second", 20, oneByteASecond},
	{"giant headers", 20, giantHeaders},
	{"broken frames", 10, brokenFrames},
	{"resets", 16, resets},
	{"guessed resume tokens", 9, guessedTokens},
	{"one token, two clients", 5, replayedToken},
	{"room enumeration", 4, enumeration},
	{"others' handles", 4, othersHandles},
	{"others' rooms", 4, othersRooms},
	{"origins", 1, origins},
	{"connection flood", 65, connectionFlood},
	{"clients that don't read", 46, nonReaders},
}

// each runs n attackers at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func flooded(b []byte, want wire.Code) func(*testing.T, *target) { return floodedAfter(nil, b, want) }

func floodedAfter(first, b []byte, want wire.Code) func(*testing.T, *target) {
	return func(t *testing.T, x *target) {
		each(4, func(int) {
			a := x.in(t)
			began := time.Now()
			a.nc.Write(first)
			go a.flood(b)
			a.mustCut(t, began, want)
		})
	}
}

// unknownFrames are whole messages: who sends too many is told so, then read more
// slowly, and cut after ten seconds of that.
func unknownFrames(t *testing.T, x *target) {
	const slowly = 10 * time.Second
	each(4, func(int) {
		a := x.in(t)
		defer a.nc.Close()
		began := time.Now()
		go a.flood(frame(0x82, []byte{0x7f}))
		a.refused(t, 0, wire.CodeRateLimited)
		if x.long {
			a.mustCut(t, began.Add(slowly), wire.CloseFlood)
			if took := time.Since(began); took < slowly {
				t.Errorf("cut after %v of its ten seconds", took)
			}
		}
	})
}

func slowHeaders(t *testing.T, x *target) {
	// So many wait in the kernel's queue first, since the gateway takes them at
	// half of its 1,500 a second where the machine is busy.
	const n, queued = 1000, 1500 * time.Millisecond
	var all []*attacker
	var began []time.Time
	for range n {
		a := x.dial(t)
		began = append(began, time.Now())
		io.WriteString(a.nc, "GET / HTTP/1.1\r\nHost: game\r\nX-Wait: ")
		all = append(all, a)
	}
	for i, a := range all {
		a.mustHangUp(t, began[i].Add(queued))
	}
}

func oneByteASecond(t *testing.T, x *target) {
	hello := frame(0x82, wire.Hello{}.Append(nil))
	each(20, func(i int) {
		a := x.dial(t)
		began := time.Now()
		text := []byte(upgrade)
		if i%2 == 0 {
			if status, err := a.handshake(""); status != http.StatusSwitchingProtocols {
				t.Errorf("handshake: %d, %v", status, err)
				return
			}
			began, text = time.Now(), hello
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, b := range text[:6] {
				if _, err := a.nc.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if i%2 == 0 {
			a.mustCut(t, began, wire.CloseHelloLate)
		} else {
			a.mustHangUp(t, began)
		}
		a.nc.Close()
		<-done
	})
}

// bomb offers compression, which is declined, and then sends a message that
// would be 16 MiB.
func bomb(t *testing.T, x *target) {
	var zeros bytes.Buffer
	w, err := flate.NewWriter(&zeros, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 16<<20))
	w.Flush()
	each(8, func(int) {
		a := x.dial(t)
		io.WriteString(a.nc, upgrade+"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n")
		a.nc.SetReadDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(a.r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("compression offered: %v, %v", resp, err)
			return
		}
		began := time.Now()
		a.send(wire.Hello{}.Append(nil))
		a.nc.Write(frame(0xc2, zeros.Bytes()))
		a.mustCut(t, began, 1002)
	})
}

// tinyPieces sends good pings byte by byte, each in a packet of its own, about as
// fast as a line would carry them: it is read in larger pieces, and told that it
// sends too much.
func tinyPieces(t *testing.T, x *target) {
	each(4, func(int) {
		a := x.in(t)
		defer a.nc.Close()
		a.nc.SetNoDelay(true)
		limited := make(chan struct{})
		go func() {
			defer close(limited)
			a.refused(t, 0, wire.CodeRateLimited)
		}()
		ping := frame(0x82, wire.AppendPing(nil, wire.TypePing, 1))
		for n := 0; ; n++ {
			if _, err := a.nc.Write(ping[n%len(ping):][:1]); err != nil {
				t.Error(err)
				return
			}
			if n%8 > 0 {
				continue
			}
			select {
			case <-limited:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
}

func giantHeaders(t *testing.T, x *target) {
	each(20, func(int) {
		a := x.dial(t)
		go io.WriteString(a.nc, strings.TrimSuffix(upgrade, "\r\n")+"\r\nX-Long: "+strings.Repeat("x", 256<<10))
		a.nc.SetReadDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(a.r, nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a quarter megabyte of headers: %v, %v", resp, err)
		}
		a.nc.Close()
	})
}

func brokenFrames(t *testing.T, x *target) {
	for _, c := range []struct {
		b    []byte
		code wire.Code
	}{
		{[]byte{0x82, 1, 0x07}, 1002}, // not masked
		{[]byte{0xc2, 0x80, 0, 0, 0, 0}, 1002},
		{[]byte{0x83, 0x80, 0, 0, 0, 0}, 1002},
		{[]byte{0x09, 0x80, 0, 0, 0, 0}, 1002},
		{[]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
		{[]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 1009},
		{frame(0x81, []byte("text")), 1003},
		{frame(0x80, nil), 1002},
		{frame(0x88, []byte{1}), 1002},
		{frame(0x82, nil), wire.CloseBadFrame},
		{frame(0x82, []byte{0x02}), wire.CloseBadFrame},
		{frame(0x82, []byte{0x04, 0, 0}), wire.CloseBadFrame},
		{frame(0x82, wire.Hello{}.Append(nil)), wire.CloseBadFrame}, // a second one
	} {
		each(10, func(int) {
			a := x.in(t)
			began := time.Now()
			a.nc.Write(c.b)
			a.mustCut(t, began, c.code)
		})
	}
}

func resets(t *testing.T, x *target) {
	each(16, func(int) {
		for i := range 40 {
			a := x.dial(t)
			a.nc.SetLinger(0)
			switch i % 4 {
			case 1:
				io.WriteString(a.nc, upgrade)
			case 2:
				a.handshake("")
			case 3:
				a.handshake("")
				a.send(wire.Hello{}.Append(nil))
				a.send(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "resets"}.Append(nil))
			}
			a.nc.Close()
		}
	})
}

func origins(t *testing.T, x *target) {
	for _, o := range []string{
		"Origin: null", "Origin: https://evil.example", "Origin: http://game:8081", "Origin: http://game\r\nOrigin: http://evil.example",
		"Origin: http://game@evil.example", "Origin: ", "Origin: http://game.evil.example", "Origin: file://",
	} {
		a := x.dial(t)
		io.WriteString(a.nc, upgrade+o+"\r\n\r\n")
		a.nc.SetReadDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(a.r, nil)
		if err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %v, %v", o, resp, err)
		}
		a.nc.Close()
	}
}

// connectionFlood comes from one address, then from one IPv6 subnet.
func connectionFlood(t *testing.T, x *target) {
	for _, from := range []func(i int) string{
		func(int) string { return "198.51.100.7" },
		func(i int) string { return fmt.Sprintf("2001:db8:7::%x", i+1) },
	} {
		var mu sync.Mutex
		var taken []*attacker
		statuses := map[int]int{}
		each(8, func(w int) {
			for i := range 40 {
				a := x.dial(t)
				status, err := a.handshake(from(w*40 + i))
				if err != nil || status != http.StatusSwitchingProtocols && a.advice == "" {
					t.Errorf("refused with %d without Retry-After, %v", status, err)
				}
				mu.Lock()
				statuses[status]++
				if status == http.StatusSwitchingProtocols {
					taken = append(taken, a)
				} else {
					a.nc.Close()
				}
				mu.Unlock()
			}
		})
		turned := statuses[http.StatusTooManyRequests] + statuses[http.StatusServiceUnavailable]
		if len(taken) > 64 || turned < 200 || len(taken)+turned != 320 {
			t.Errorf("of 320 connections: %v", statuses)
		}
		other := x.dial(t)
		if status, err := other.handshake("203.0.113." + fmt.Sprint(1+rand.IntN(250))); status != http.StatusSwitchingProtocols {
			t.Errorf("another address meanwhile: %d, %v", status, err)
		}
		for _, a := range append(taken, other) {
			a.nc.Close()
		}
	}
}

// nonReaders sit in a room where much is said and read none of it.
func nonReaders(t *testing.T, x *target) {
	const n, talkers = 40, 6
	var deaf []*attacker
	for range n {
		a := x.dial(t)
		a.nc.SetReadBuffer(4 << 10)
		if status, err := a.handshake(""); status != http.StatusSwitchingProtocols {
			t.Fatalf("handshake: %d, %v", status, err)
		}
		a.send(wire.Hello{Instance: wire.Instance{byte(rand.Int()), byte(rand.Int())}}.Append(nil))
		a.send(wire.Join{Ref: 1, Mode: wire.ModeJoinOrCreate, Kind: "ledger", Name: "loud"}.Append(nil))
		deaf = append(deaf, a)
	}
	before := x.slow()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range talkers {
		a := x.in(t)
		h := a.join(t, "loud").Handle
		go io.Copy(io.Discard, a.nc)
		wg.Go(func() {
			defer a.nc.Close()
			for k := uint64(1); ; k++ {
				p, _ := json.Marshal(ledger.Input{Client: fmt.Sprintf("%d%s", i, strings.Repeat("x", 6<<10)), N: k})
				a.send(wire.InputFrame{Handle: h, N: wire.Input(k), Payload: p}.Append(nil))
				select {
				case <-stop:
					return
				case <-time.After(120 * time.Millisecond):
				}
			}
		})
	}
	until(t, "those who don't read cut", func() bool { return x.slow()-before >= n })
	close(stop)
	wg.Wait()
	for _, a := range deaf {
		a.nc.Close()
	}
}

// slow is how many connections the gateway has cut because they did not read.
func (x *target) slow() float64 {
	for line := range strings.Lines(x.get("/metrics")) {
		var v float64
		if _, err := fmt.Sscanf(line, `limpet_gateway_closes_total{code="slow"} %f`, &v); err == nil {
			return v
		}
	}
	return 0
}
