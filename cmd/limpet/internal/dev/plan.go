package dev

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/limpet-games/limpet/internal/daemon"
)

// plan gives every child its name, ports and command line.
func (c *Cluster) plan(roomd []string) error {
	var ports portPicker
	players, err := c.playerPorts(&ports)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("logs"), 0o700); err != nil {
		return setup("make log directory: %v", err)
	}
	hosts := make([]nodePorts, c.cfg.Hosts)
	gateways := make([]nodePorts, c.cfg.Gateways)
	var seeds []string
	for i := range hosts {
		if hosts[i], err = ports.node(); err != nil {
			return err
		}
		seeds = append(seeds, hosts[i].gossip)
	}
	for i := range gateways {
		if gateways[i], err = ports.node(); err != nil {
			return err
		}
	}
	join := strings.Join(seeds, ",")
	for i, p := range hosts {
		args := append(c.common(fmt.Sprintf("host-%d", i+1), p, join), c.storeFlags()...)
		for _, kind := range c.cfg.Isolate {
			args = append(args, "--isolate", kind)
		}
		c.hosts = append(c.hosts, c.newChild(roleHost, p, roomd, args, nil))
	}
	for i, p := range gateways {
		p.players = players[i]
		args := append(c.common(fmt.Sprintf("gateway-%d", i+1), p, join),
			"--listen", p.players, "--insecure-anonymous", "--demo", "--drain-spread", "0s", "--dev-control", "http://"+c.control.Addr().String())
		for _, o := range c.cfg.Origins {
			args = append(args, "--origins", o)
		}
		c.gateways = append(c.gateways, c.newChild(roleGateway, p, []string{c.cfg.Limpet, "gatewayd"}, args,
			[]string{daemon.DevSecretVariable + "=" + c.secret}))
	}
	return nil
}

func (c *Cluster) common(name string, p nodePorts, join string) []string {
	return []string{
		"--name", name, "--cluster", "dev", "--cluster-key-file", c.path("cluster.key"),
		"--gossip", p.gossip, "--link", p.link, "--ops", p.ops, "--join", join,
		"--log-format", "json", "--log-level", c.cfg.LogLevel,
	}
}

func (c *Cluster) storeFlags() []string {
	if c.cfg.Redis != "" {
		return []string{"--redis", c.cfg.Redis}
	}
	return []string{"--data", c.path("store")}
}

// playerPorts finds the gateways' public ports, which people see: consecutive
// ones from the given port, or any.
func (c *Cluster) playerPorts(ports *portPicker) ([]string, error) {
	var addrs []string
	for i := range c.cfg.Gateways {
		if c.cfg.Port == 0 {
			addr, err := ports.free()
			if err != nil {
				return nil, err
			}
			addrs = append(addrs, addr)
			continue
		}
		port := c.cfg.Port + i
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err := ports.take(addr); err != nil {
			return nil, setup("port %d is taken or not allowed (%v): stop what uses it, or choose another with --port", port, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
