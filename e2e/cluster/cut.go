package cluster

import (
	"context"
	"fmt"
)

// LinkRules match, in nft's language, what goes to a host's link address and
// comes from there.
func (p *Process) LinkRules() []string { return at(p.Addr, "tcp", portLink) }

// AllRules match a host's links, its gossip, and its operations listener.
func (p *Process) AllRules() []string {
	rules := append(p.LinkRules(), at(p.Addr, "tcp", portGossip)...)
	rules = append(rules, at(p.Addr, "udp", portGossip)...)
	return append(rules, at(p.Addr, "tcp", portOps)...)
}

// StoreRules match what goes between a host and Redis.
func (c *Cluster) StoreRules(h *Process) []string {
	for i := range c.Hosts {
		if c.Hosts[i] == h {
			return at(c.addr(c.storeOf(i)), "tcp", portRedis)
		}
	}
	return nil
}

func at(addr, protocol string, port int) []string {
	return []string{
		fmt.Sprintf("ip daddr %s %s dport %d", addr, protocol, port),
		fmt.Sprintf("ip saddr %s %s sport %d", addr, protocol, port),
	}
}

// storeOf is the last byte of the address at which the i-th host finds Redis:
// each has one of its own, so that it alone can be cut off, except where nodes
// have networks of their own.
func (c *Cluster) storeOf(i int) int {
	if c.cfg.Net != nil {
		return NodeRedis
	}
	return 200 + i
}

// StartRedis starts a Redis that has ended, and waits until it answers.
func (c *Cluster) StartRedis(ctx context.Context) error {
	if err := c.Redis.Start(); err != nil {
		return err
	}
	return c.Redis.awaitPort(ctx, portRedis)
}
