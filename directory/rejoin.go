package directory

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// joinAtOnce is how many addresses a process tries at a time while it sees
// nobody.
const joinAtOnce = 8

// rejoin joins the cluster and keeps joining: memberlist forgets nodes that it
// believes dead, so that a split of more than some 20 s would never heal. While
// this process sees nobody, or doubts whom it sees, it asks more of them, ten
// times as often.
func (m *Members) rejoin(ctx context.Context, g *memberlist.Memberlist) {
	for {
		doubted := m.doubtedAddrs()
		wait, at := m.cfg.Rejoin, 1
		if len(doubted) > 0 || len(m.View().Nodes) == 1 {
			wait, at = wait/10, joinAtOnce
		}
		var joins sync.WaitGroup
		addrs := append(doubted, m.missing(ctx)...)
		for _, addr := range addrs[:min(at, len(addrs))] {
			joins.Go(func() { m.join(g, addr) })
		}
		joins.Wait()
		m.buryOutdone()
		select {
		case <-ctx.Done():
			return
		case <-m.doubt:
		case <-time.After(wait*3/4 + rand.N(wait/2)):
		}
	}
}

// doubtFor is how long a doubt hurries the rejoin loop.
const doubtFor = 15 * time.Second

// Doubt tells that a node could not be reached although gossip has it alive,
// and nobody could confirm that it is gone. Its successor may be there, known
// to nobody: all hosts were restarted at once, say. So its address is asked.
func (m *Members) Doubt(id NodeID) {
	m.mu.Lock()
	m.doubted.put(id, time.Now())
	m.mu.Unlock()
	select {
	case m.doubt <- struct{}{}:
	default:
	}
}

// doubtedAddrs are the addresses of nodes in the view that are in doubt.
func (m *Members) doubtedAddrs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for id, since := range m.doubted.m {
		if n := m.nodes[id]; n != nil && time.Since(since) < doubtFor {
			all = append(all, n.Gossip)
		}
	}
	return all
}

func (m *Members) join(g *memberlist.Memberlist, addr string) {
	if _, err := g.Join([]string{addr}); err != nil {
		m.metrics.rejoins.WithLabelValues("failed").Inc()
		m.cfg.Log.Debug().Err(err).Str("address", addr).Msg("join")
		return
	}
	m.metrics.rejoins.WithLabelValues("joined").Inc()
}

// missing are the addresses of seeds and of nodes that left the view at which
// no live node gossips, in random order.
func (m *Members) missing(ctx context.Context) []string {
	alive := map[string]bool{}
	for _, n := range m.View().Nodes {
		alive[n.Gossip] = true
	}
	all := slices.DeleteFunc(append(m.seedAddrs(ctx), m.goneAddrs()...), func(addr string) bool { return alive[addr] })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// seedAddrs are the seeds with their names looked up.
func (m *Members) seedAddrs(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var all []string
	for _, seed := range m.cfg.Seeds {
		host, port, err := net.SplitHostPort(seed)
		if err != nil {
			continue // checked at the start
		}
		if ip := net.ParseIP(host); ip != nil {
			all = append(all, net.JoinHostPort(ip.String(), port))
			continue
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			m.cfg.Log.Debug().Err(err).Str("seed", seed).Msg("look up seed")
		}
		for _, ip := range ips {
			all = append(all, net.JoinHostPort(ip, port))
		}
	}
	return all
}

func (m *Members) goneAddrs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, n := range m.gone.m {
		all = append(all, n.Gossip)
	}
	return all
}
