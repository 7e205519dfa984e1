package directory

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// rejoin joins the cluster and keeps joining: memberlist forgets nodes that it
// believes dead, so that a split of more than some 20 s would never heal. While
// this process sees nobody it asks ten times as often.
func (m *Members) rejoin(ctx context.Context, g *memberlist.Memberlist) {
	for {
		if addr := m.missing(ctx); addr != "" {
			m.joinOne(g, addr)
		}
		wait := m.cfg.Rejoin
		if len(m.View().Nodes) == 1 {
			wait /= 10
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait*3/4 + rand.N(wait/2)):
		}
	}
}

func (m *Members) joinOne(g *memberlist.Memberlist, addr string) {
	if _, err := g.Join([]string{addr}); err != nil {
		m.metrics.rejoins.WithLabelValues("failed").Inc()
		m.cfg.Log.Debug().Err(err).Str("address", addr).Msg("join")
		return
	}
	m.metrics.rejoins.WithLabelValues("joined").Inc()
}

// missing picks an address at random out of the seeds and the nodes that left
// the view, at which no live node gossips; "" where there is none.
func (m *Members) missing(ctx context.Context) string {
	alive := map[string]bool{}
	for _, n := range m.View().Nodes {
		alive[n.Gossip] = true
	}
	var all []string
	for _, addr := range append(m.seedAddrs(ctx), m.goneAddrs()...) {
		if !alive[addr] {
			all = append(all, addr)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[rand.N(len(all))]
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
