// Command failover measures what members notice of a death, with real processes
// and a real Redis: the time from SIGKILL of a room host to the first message
// from the recovered room at each of its members, or from SIGKILL of a gateway
// to each of its members' resume through another. With -kill stop a host is stopped
// for ten seconds instead (SIGSTOP), and what members take from it after it woke is
// counted.
//
//	go run ./e2e/failover [-kill host|gateway|stop] [-alone] [-rooms 200] [-members 4] [-rate 1] [-rounds 5]
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
	"github.com/limpet-games/limpet/e2e/check"
	"github.com/limpet-games/limpet/e2e/cluster"
	"github.com/limpet-games/limpet/e2e/load"
	"github.com/limpet-games/limpet/wire"
)

func main() {
	what := flag.String("kill", "host", "what is killed: host or gateway; stop: a host that goes on after 10 s")
	alone := flag.Bool("alone", false, "all rooms are on the host that is killed, in each round anew")
	rooms := flag.Int("rooms", 200, "rooms on a host, about")
	members := flag.Int("members", 4, "members of each room")
	rate := flag.Float64("rate", 1, "inputs a second of each member")
	rounds := flag.Int("rounds", 5, "processes killed, one after the other")
	verbose := flag.Bool("v", false, "say what is done")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *what != "host" && *what != "gateway" && *what != "stop" {
		fmt.Fprintf(os.Stderr, "failover: -kill %s: want host, gateway or stop\n", *what)
		os.Exit(2)
	}
	if !*alone {
		*rooms *= hosts
	}
	m := measurement{gateways: *what == "gateway", stops: *what == "stop", alone: *alone, rooms: *rooms, members: *members, rate: *rate, rounds: *rounds, verbose: *verbose}
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

const hosts = 3

type measurement struct {
	gateways               bool // are killed, not hosts
	stops                  bool // hosts are stopped, not killed
	alone                  bool // the victim has all rooms
	rooms, members, rounds int
	rate                   float64
	verbose                bool

	mu      sync.Mutex
	killed  time.Time                      // zero: no kill is being watched; guarded by mu
	old     map[*load.Player]wire.Epoch    // members to wait for; guarded by mu
	pauses  map[*load.Player]time.Duration // guarded by mu
	dropped int                            // sockets that closed; guarded by mu
	stopped time.Time                      // when the last kill was; guarded by mu
	host    string                         // of old, NAME#BOOT; guarded by mu

	began time.Time // of the records
	woken int
}

func (m *measurement) run(ctx context.Context) error {
	c, end, err := cluster.Run(ctx, hosts, 2, func(cfg *cluster.Config) {
		if m.verbose {
			cfg.Log = os.Stderr
		}
	})
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("%d cores, %d hosts, 2 gateways, Redis; %d rooms, %d members, %g inputs/s each\n",
		runtime.NumCPU(), hosts, m.rooms, m.rooms*m.members, m.rate)
	if m.alone {
		return m.apart(ctx, c)
	}
	return m.together(ctx, c)
}

// together kills one process after the other under the same rooms.
func (m *measurement) together(ctx context.Context, c *cluster.Cluster) error {
	fleet, stop, err := m.play(ctx, c, 0)
	if err != nil {
		return err
	}
	defer stop()
	var all []time.Duration
	for round := range m.rounds {
		pauses, err := m.round(ctx, c, round, fleet)
		if err != nil {
			return err
		}
		all = append(all, pauses...)
	}
	m.sum(all)
	return nil
}

// apart kills a host that has all rooms, and makes new rooms on the next.
func (m *measurement) apart(ctx context.Context, c *cluster.Cluster) error {
	var all []time.Duration
	for round := range m.rounds {
		for i, h := range c.Hosts {
			if i != round%hosts {
				h.Signal(syscall.SIGTERM)
			}
		}
		fleet, stop, err := m.play(ctx, c, round)
		if err != nil {
			return err
		}
		for i, h := range c.Hosts {
			if i != round%hosts {
				if err := restart(ctx, h); err != nil {
					stop()
					return err
				}
			}
		}
		pauses, err := m.round(ctx, c, round, fleet)
		stop()
		if err != nil {
			return err
		}
		all = append(all, pauses...)
	}
	m.sum(all)
	return nil
}

// play fills rooms with members who send.
func (m *measurement) play(ctx context.Context, c *cluster.Cluster, round int) (fleet *load.Fleet, stop func(), err error) {
	m.began = time.Now()
	fleet, err = load.Join(ctx, load.Config{
		URLs: c.URLs(), Kind: "ledger", Prefix: fmt.Sprintf("r%d-", round), Rooms: m.rooms, PerRoom: m.members,
		OnEvent: m.event, Record: m.stops, Began: m.began,
	})
	if err != nil {
		return nil, nil, err
	}
	playing, done := context.WithCancel(ctx)
	var play sync.WaitGroup
	play.Go(func() { fleet.Play(playing, m.rate) })
	return fleet, func() { done(); play.Wait(); fleet.Close() }, nil
}

func (m *measurement) round(ctx context.Context, c *cluster.Cluster, round int, fleet *load.Fleet) ([]time.Duration, error) {
	victim := c.Hosts[round%hosts]
	if m.gateways {
		victim = c.Gateways[round%len(c.Gateways)]
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	pauses, err := m.kill(ctx, victim, fleet)
	if err != nil {
		return nil, err
	}
	report(fmt.Sprintf("round %d, %s", round+1, victim.Name), pauses)
	if m.stops {
		return pauses, m.wake(ctx, victim, fleet)
	}
	return pauses, restart(ctx, victim)
}

func restart(ctx context.Context, p *cluster.Process) error {
	if err := p.Start(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

func (m *measurement) sum(all []time.Duration) {
	report("all rounds", all)
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("sockets closed: %d\n", m.dropped)
	if m.stops {
		fmt.Printf("members that took an ack or a message from a woken host that had lost their room: %d\n", m.woken)
	}
}

// stillFor is how long a stopped host stands still.
const stillFor = 10 * time.Second

// wake lets a stopped host go on, and counts who takes anything from it.
func (m *measurement) wake(ctx context.Context, victim *cluster.Process, fleet *load.Fleet) error {
	m.mu.Lock()
	left := time.Until(m.stopped.Add(stillFor))
	id := m.host
	m.mu.Unlock()
	if err := pause(ctx, left); err != nil {
		return err
	}
	wake := check.Wake{Host: id, At: time.Since(m.began)}
	victim.Signal(syscall.SIGCONT)
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	for _, p := range check.Woken(fleet.History(nil), wake) {
		fmt.Println(p)
		m.woken++
	}
	return victim.Ready(ctx)
}

// kill ends the host and waits until every member of its rooms has heard from
// its recovered room.
func (m *measurement) kill(ctx context.Context, victim *cluster.Process, fleet *load.Fleet) ([]time.Duration, error) {
	m.mu.Lock()
	m.old, m.pauses = map[*load.Player]wire.Epoch{}, map[*load.Player]time.Duration{}
	for _, p := range fleet.Players {
		s := p.Room.Status()
		if at := p.Client.Stats().Gateway; !m.gateways && isNode(s.Host, victim) || m.gateways && isNode(at, victim) {
			m.old[p], m.host = s.Epoch, s.Host
		}
	}
	m.killed, m.stopped = time.Now(), time.Now()
	m.mu.Unlock()
	if m.stops {
		victim.Signal(syscall.SIGSTOP)
	} else {
		victim.Signal(syscall.SIGKILL)
	}
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
