package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/ledger"
	"github.com/limpet-games/limpet/e2e/load"
)

const perRoom = 10

// players are the clients of one process.
type players struct {
	s     *settings
	fleet *load.Fleet
	stop  context.CancelFunc
	over  chan struct{} // closed when nobody sends any more

	mu      sync.Mutex
	stage   string                                // what is measured: quiet, storm or ""; guarded by mu, as is the rest
	killed  time.Time                             //
	victims map[*load.Player]int                  // on the dead gateway, with their tries at the time
	back    map[*load.Player]time.Duration        // of victims
	sent    map[*load.Player]map[uint64]time.Time //
	echoes  map[string][]float64                  // by stage, of those who are no victims
	sentAt  []float64                             // of the storm's echoes, seconds from the kill
	late    []float64                             // milliseconds that this process itself was late in the storm, at each look
	tries   int
	noticed int
}

// play does what the lines of standard input say.
func (s *settings) play(ctx context.Context) error {
	debug.SetGCPercent(800) // what measures shares its two cores with what is measured
	p := &players{s: s, over: make(chan struct{}), victims: map[*load.Player]int{}, back: map[*load.Player]time.Duration{},
		sent: map[*load.Player]map[uint64]time.Time{}, echoes: map[string][]float64{}}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		what, name, _ := strings.Cut(lines.Text(), " ")
		a, err := p.do(ctx, what, name)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (p *players) do(ctx context.Context, what, name string) (a answer, err error) {
	switch what {
	case "join":
		return a, p.join(ctx)
	case "quiet":
		p.measure("quiet")
	case "storm":
		p.storm(name)
	case "resumed":
		return a, p.resumed(ctx)
	case "calm":
		p.measure("")
	case "report":
		return p.report(ctx)
	default:
		err = fmt.Errorf("unknown line %q", what)
	}
	return a, err
}

func (p *players) join(ctx context.Context) error {
	raw, err := os.ReadFile(p.s.ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	p.fleet, err = load.Join(ctx, load.Config{
		URLs: strings.Split(p.s.child, ","), Kind: "ledger", Prefix: p.s.prefix,
		Rooms: p.s.clients / perRoom, PerRoom: perRoom, AtOnce: 32, TLS: &tls.Config{RootCAs: pool, ServerName: edgeName}, NetDial: p.dial, OnEvent: p.heard,
	})
	if err != nil {
		return err
	}
	playing, stop := context.WithCancel(ctx)
	p.stop = stop
	go func() { defer close(p.over); p.send(playing) }()
	return nil
}

// dial reaches the process's own gateway alone until the kill.
func (p *players) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	calm := p.killed.IsZero()
	p.mu.Unlock()
	if host, _, _ := net.SplitHostPort(addr); calm && host != p.s.only {
		return nil, syscall.ECONNREFUSED
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// send sends each player's inputs in turn, until ctx is done.
func (p *players) send(ctx context.Context) {
	all := p.fleet.Players
	began, due := time.Now(), 0
	const every = 10 * time.Millisecond
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		next := time.Now().Add(every)
		tick.Reset(every)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.noteLate(time.Since(next))
		for want := int(time.Since(began).Seconds() * p.s.rate * float64(len(all))); due < want; due++ {
			one := all[due%len(all)]
			p.mu.Lock()
			if p.sent[one] == nil {
				p.sent[one] = map[uint64]time.Time{}
			}
			p.sent[one][one.Sent()+1] = time.Now()
			p.mu.Unlock()
			if _, err := one.Send(); err != nil {
				p.mu.Lock()
				p.noticed++
				p.mu.Unlock()
			}
		}
	}
}

func (p *players) noteLate(late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage == "storm" && len(p.victims) == 0 {
		p.late = append(p.late, float64(late.Microseconds())/1000)
	}
}

func (p *players) heard(one *load.Player, e client.Event) {
	switch e := e.(type) {
	case *client.Message:
		var note ledger.Note
		if json.Unmarshal(e.Payload, &note) != nil || note.Client != one.Name {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		at, ok := p.sent[one][note.N]
		delete(p.sent[one], note.N)
		if _, victim := p.victims[one]; ok && !victim && p.stage != "" {
			p.echoes[p.stage] = append(p.echoes[p.stage], float64(time.Since(at).Microseconds())/1000)
			if p.stage == "storm" {
				p.sentAt = append(p.sentAt, at.Sub(p.killed).Seconds())
			}
		}
	case *client.Resumed:
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, victim := p.victims[one]; victim && p.back[one] == 0 {
			p.back[one] = time.Since(p.killed)
		}
	case *client.Left, *client.Rewound, *client.Gap:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.noticed++
	}
}

func (p *players) measure(stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage = stage
}

// storm notes who is on the gateway that is about to be killed.
func (p *players) storm(gateway string) {
	victims := map[*load.Player]int{}
	for _, one := range p.fleet.Players {
		if s := one.Client.Stats(); s.Gateway == gateway {
			victims[one] = s.Tries
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage, p.killed, p.victims = "storm", time.Now(), victims
}

const resumeWithin = 30 * time.Second

// resumed waits until all victims are back.
func (p *players) resumed(ctx context.Context) error {
	for end := time.Now().Add(resumeWithin); time.Now().Before(end); {
		p.mu.Lock()
		left := len(p.victims) - len(p.back)
		p.mu.Unlock()
		if left == 0 {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	p.mu.Lock()
	victims := p.victims
	p.mu.Unlock()
	for one, before := range victims {
		p.tries += one.Client.Stats().Tries - before
	}
	return nil
}

// report stops the players, waits until all is durable, and reads the books.
func (p *players) report(ctx context.Context) (a answer, err error) {
	p.stop()
	<-p.over
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.fleet.Settle(ctx); err != nil {
		return a, err
	}
	books, err := p.fleet.Books(ctx)
	if err != nil {
		return a, err
	}
	for _, one := range p.fleet.Players {
		applied := books[one.RoomName].Applied[one.Name].Numbers()
		a.Sent += int(one.Sent())
		if n := int(one.Sent()) - len(applied); n != 0 || !slices.IsSorted(applied) {
			a.Lost += max(n, -n, 1)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a.Tries, a.Noticed, a.Stranded = p.tries, p.noticed, len(p.victims)-len(p.back)
	a.Quiet, a.Storm, a.At = p.echoes["quiet"], p.echoes["storm"], p.sentAt
	a.Late = p.late
	for _, d := range p.back {
		a.Resumed = append(a.Resumed, d.Seconds())
	}
	return a, nil
}
