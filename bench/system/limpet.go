//go:build linux

package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"

	"github.com/limpet-games/limpet/bench/load"
)

// Ports are the same in every run; the loopback addresses differ.
const (
	portPublic = 8080
	portLink   = 7100
	portGossip = 7200
	portOps    = 7300
	portRedis  = 6379
)

// loopback is a network of its own for one run.
type loopback [2]byte

func network() loopback { return loopback{byte(64 + rand.IntN(128)), byte(rand.IntN(256))} }

func (n loopback) addr(last, port int) string {
	return fmt.Sprintf("127.%d.%d.%d:%d", n[0], n[1], last, port)
}

// startLimpet runs a room host and gateways, and Redis where the store is that.
func (s *System) startLimpet(ctx context.Context, p Params) error {
	net := network()
	key := p.Dir + "/cluster.key"
	if err := os.WriteFile(key, []byte(strings.Repeat("limpet-bench-key", 4)), 0o600); err != nil {
		return fmt.Errorf("write cluster key: %w", err)
	}
	store := []string{"--data", p.Dir + "/data"}
	if p.Store == "redis" {
		redis, err := start(p.Dir, "redis", p.otherCPU(), nil, "redis-server", "--bind", strings.Split(net.addr(2, 0), ":")[0],
			"--port", fmt.Sprint(portRedis), "--dir", p.Dir, "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--save", "")
		if err != nil {
			return err
		}
		s.Others = append(s.Others, redis)
		if err := redis.awaitPort(ctx, net.addr(2, portRedis)); err != nil {
			return err
		}
		store = []string{"--redis", "redis://" + net.addr(2, portRedis) + "/0"}
	}
	common := func(last int) []string {
		return []string{"--name", fmt.Sprintf("bench-%d", last), "--cluster", "bench", "--cluster-key-file", key,
			"--gossip", net.addr(last, portGossip), "--join", net.addr(10, portGossip),
			"--ops", net.addr(last, portOps), "--log-level", "warn", "--log-format", "json"}
	}
	env := []string{fmt.Sprintf("BENCH_TICK=%d", p.Tick), fmt.Sprintf("BENCH_SIZE=%d", p.Size),
		fmt.Sprintf("BENCH_MESSAGES=%d", max(1, p.Messages))}
	if p.Reliable {
		env = append(env, "BENCH_RELIABLE=1")
	}
	host := append(append([]string{p.Binaries + "/roomd"}, common(10)...), "--link", net.addr(10, portLink),
		"--max-rooms", "50000", "--max-activations", "4096")
	if err := s.startNode(ctx, p, "roomd", net.addr(10, portOps), env, append(host, store...)); err != nil {
		return err
	}
	for i := range max(1, p.Gateways) {
		last := 100 + i
		name := "gatewayd"
		if i > 0 {
			name = fmt.Sprintf("gatewayd-%d", i+1)
		}
		gateway := append(append([]string{p.Binaries + "/gatewayd"}, common(last)...), "--listen", net.addr(last, portPublic),
			"--connection-frames", "100000", "--connection-bytes", "100000000", "--heartbeat", "1m", "--join-within", "1m",
			"--accepts", "1000000", "--admits", "1000000") // storms are to be measured, not paced
		if p.TLS {
			cert, key, err := certificate(p.Dir)
			if err != nil {
				return err
			}
			gateway = append(gateway, "--tls-cert", cert, "--tls-key", key)
		} else {
			gateway = append(gateway, "--insecure-no-tls")
		}
		if err := s.startNode(ctx, p, name, net.addr(last, portOps), nil, gateway); err != nil {
			return err
		}
		s.Addrs = append(s.Addrs, netip.MustParseAddrPort(net.addr(last, portPublic)))
	}
	s.Protocol = load.Limpet{Kind: "state"}
	if p.Echo {
		s.Protocol = load.Limpet{Kind: "echo"}
	}
	return nil
}

func (s *System) startNode(ctx context.Context, p Params, name, ops string, env, argv []string) error {
	proc, err := start(p.Dir, name, p.serverCPU(), env, argv...)
	if err != nil {
		return err
	}
	proc.Ops = ops
	s.Procs = append(s.Procs, proc)
	return proc.awaitReady(ctx)
}
