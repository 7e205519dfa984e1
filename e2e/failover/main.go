// Command failover measures what members notice of a death, with real processes
// and a real Redis: the time from SIGKILL of a room host to the first message
// from the recovered room at each of its members, or from SIGKILL of a gateway
// to each of its members' resume through another.
//
//	go run ./e2e/failover [-kill host|gateway] [-rooms 200] [-members 4] [-rate 1] [-rounds 5]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/limpet-games/limpet/client"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/wire"
)

func main() {
	what := flag.String("kill", "host", "what is killed: host or gateway")
	rooms := flag.Int("rooms", 200, "rooms on a host, about")
	members := flag.Int("members", 4, "members of each room")
	rate := flag.Float64("rate", 1, "inputs a second of each member")
	rounds := flag.Int("rounds", 5, "processes killed, one after the other")
	verbose := flag.Bool("v", false, "say what is done")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *what != "host" && *what != "gateway" {
		fmt.Fprintf(os.Stderr, "failover: -kill %s: want host or gateway\n", *what)
		os.Exit(2)
	}
	m := measurement{gateways: *what == "gateway", rooms: *rooms * hosts, members: *members, rate: *rate, rounds: *rounds, verbose: *verbose}
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

const hosts = 3

type measurement struct {
	gateways               bool // are killed, not hosts
	rooms, members, rounds int
	rate                   float64
	verbose                bool

	mu      sync.Mutex
	killed  time.Time                      // zero: no kill is being watched; guarded by mu
	old     map[*load.Player]wire.Epoch    // members to wait for; guarded by mu
	pauses  map[*load.Player]time.Duration // guarded by mu
	dropped int                            // sockets that closed; guarded by mu
}

func (m *measurement) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "limpet-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg, err := cluster.Build(ctx, dir, hosts, 2)
	if err != nil {
		return err
	}
	if m.verbose {
		cfg.Log = os.Stderr
	}
	c, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Stop()
	fmt.Printf("%d cores, %d hosts, 2 gateways, Redis; %d rooms, %d members, %g inputs/s each\n",
		runtime.NumCPU(), hosts, m.rooms, m.rooms*m.members, m.rate)
	fleet, err := load.Join(ctx, load.Config{URLs: c.URLs(), Kind: "ledger", Rooms: m.rooms, PerRoom: m.members, OnEvent: m.event})
	if err != nil {
		return err
	}
	defer fleet.Close()
	playing, done := context.WithCancel(ctx)
	defer done()
	go fleet.Play(playing, m.rate)
	return m.kills(ctx, c, fleet)
}

func (m *measurement) kills(ctx context.Context, c *cluster.Cluster, fleet *load.Fleet) error {
	var all []time.Duration
	for round := range m.rounds {
		victim := c.Hosts[round%hosts]
		if m.gateways {
			victim = c.Gateways[round%len(c.Gateways)]
		}
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		pauses, err := m.kill(ctx, victim, fleet)
		if err != nil {
			return err
		}
		report(fmt.Sprintf("round %d, %s", round+1, victim.Name), pauses)
		all = append(all, pauses...)
		if err := victim.Start(); err != nil {
			return err
		}
		if err := victim.Ready(ctx); err != nil {
			return err
		}
	}
	report("all rounds", all)
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("sockets closed: %d\n", m.dropped)
	return nil
}

// kill ends the host and waits until every member of its rooms has heard from
// its recovered room.
func (m *measurement) kill(ctx context.Context, victim *cluster.Process, fleet *load.Fleet) ([]time.Duration, error) {
	m.mu.Lock()
	m.old, m.pauses = map[*load.Player]wire.Epoch{}, map[*load.Player]time.Duration{}
	for _, p := range fleet.Players {
		s := p.Room.Status()
		if at := p.Client.Stats().Gateway; !m.gateways && isNode(s.Host, victim) || m.gateways && isNode(at, victim) {
			m.old[p] = s.Epoch
		}
	}
	m.killed = time.Now()
	m.mu.Unlock()
	victim.Signal(syscall.SIGKILL)
	deadline := time.After(30 * time.Second)
	for {
		m.mu.Lock()
		got, want := len(m.pauses), len(m.old)
		m.mu.Unlock()
		if got == want {
			break
		}
		select {
		case <-deadline:
			return nil, fmt.Errorf("%d of %d members heard from their room within 30 s of the death of %s", got, want, victim.Name)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = time.Time{}
	var pauses []time.Duration
	for _, d := range m.pauses {
		pauses = append(pauses, d)
	}
	return pauses, nil
}

// isNode reports whether id, NAME or NAME#BOOT, is the process's.
func isNode(id string, p *cluster.Process) bool {
	name, _, _ := strings.Cut(id, "#")
	return name == p.Name
}

// event notes the first message of a newer epoch, or the resume.
func (m *measurement) event(p *load.Player, e client.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, watched := m.old[p]
	_, heard := m.pauses[p]
	waits := !m.killed.IsZero() && watched && !heard
	switch e := e.(type) {
	case *client.Message:
		if waits && !m.gateways && e.Epoch > old {
			m.pauses[p] = time.Since(m.killed)
		}
	case *client.Resumed:
		if waits && m.gateways {
			m.pauses[p] = time.Since(m.killed)
		}
	case *client.Dropped:
		m.dropped++
	}
}

func report(what string, d []time.Duration) {
	if len(d) == 0 {
		fmt.Printf("%-22s no members\n", what)
		return
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))].Round(time.Millisecond) }
	fmt.Printf("%-22s %5d members   p50 %6s   p99 %6s   max %6s\n", what, len(d), at(.5), at(.99), at(1))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
