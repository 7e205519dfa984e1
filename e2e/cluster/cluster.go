// Package cluster runs a Limpet cluster of real processes on loopback for
// end-to-end tests and measurements: a Redis server, room hosts and gateways,
// each on its own loopback address so that a restart finds its ports free.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Ports are the same on every node; the addresses differ.
const (
	portPublic = 8080
	portLink   = 7100
	portGossip = 7200
	portOps    = 7300
	portRedis  = 6379
)

// Secret is the cluster's, and its operators' token where nodes are not on
// loopback.
var Secret = strings.Repeat("limpet-test-key-", 4)

// Config says what to run.
type Config struct {
	Dir      string // logs, keys, Redis' files
	Gatewayd string // binaries
	Roomd    string
	Hosts    int
	Gateways int
	Edge     []string  // more flags of the gateways
	Host     []string  // and of the hosts
	Net      Network   // where the nodes are; nil: on loopback
	Log      io.Writer // what the cluster does, a line each; nil: nothing
}

// Network is where the nodes of a cluster are, by number: Redis is 1, hosts
// are from 10 and gateways from 100 on.
type Network interface {
	Addr(node int) string
	Add(node int) error      // makes a place for a node
	Enter(node int) []string // prefix of a command that runs there
}

// Numbers of the nodes.
const (
	NodeRedis   = 1
	NodeHost    = 10
	NodeGateway = 100
)

// Cluster is a running cluster.
type Cluster struct {
	cfg      Config
	net      [2]int // second and third byte of the nodes' loopback addresses
	key      string // file
	Redis    *Process
	Hosts    []*Process
	Gateways []*Process
}

// Start starts everything and waits until all are ready.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, net: [2]int{64 + rand.IntN(128), rand.IntN(256)}}
	c.key = filepath.Join(cfg.Dir, "cluster.key")
	if err := os.WriteFile(c.key, []byte(Secret), 0o600); err != nil {
		return nil, fmt.Errorf("write cluster key: %w", err)
	}
	if err := c.place(); err != nil {
		return nil, err
	}
	listen := []string{"--bind", c.addr(NodeRedis)}
	for i := range cfg.Hosts {
		if at := c.storeOf(i); at != NodeRedis {
			listen = append(listen, c.addr(at))
		}
	}
	c.Redis = c.process("redis", NodeRedis, "redis-server", append(listen, "--port", fmt.Sprint(portRedis), "--protected-mode", "no",
		"--dir", cfg.Dir, "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", "")...)
	for i := range cfg.Hosts {
		c.Hosts = append(c.Hosts, c.host(i))
	}
	for i := range cfg.Gateways {
		c.Gateways = append(c.Gateways, c.gateway(i))
	}
	if err := c.StartRedis(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	for _, p := range c.nodes() {
		if err := p.Start(); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	for _, p := range c.nodes() {
		if err := p.Ready(ctx); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

func (c *Cluster) nodes() []*Process {
	return append(append([]*Process(nil), c.Hosts...), c.Gateways...)
}

// place makes the nodes' places, where they are not on loopback.
func (c *Cluster) place() error {
	if c.cfg.Net == nil {
		return nil
	}
	all := []int{NodeRedis}
	for i := range c.cfg.Hosts {
		all = append(all, NodeHost+i)
	}
	for i := range c.cfg.Gateways {
		all = append(all, NodeGateway+i)
	}
	for _, node := range all {
		if err := c.cfg.Net.Add(node); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) addr(node int) string {
	if c.cfg.Net != nil {
		return c.cfg.Net.Addr(node)
	}
	return fmt.Sprintf("127.%d.%d.%d", c.net[0], c.net[1], node)
}

func (c *Cluster) join() string {
	return net.JoinHostPort(c.addr(NodeHost), fmt.Sprint(portGossip)) + "," + net.JoinHostPort(c.addr(NodeHost+1), fmt.Sprint(portGossip))
}

// RedisURL is where the checkpoint store is.
func (c *Cluster) RedisURL() string { return c.redisURL(NodeRedis) }

func (c *Cluster) redisURL(last int) string {
	return fmt.Sprintf("redis://%s:%d/0", c.addr(last), portRedis)
}

// URLs are the gateways' public addresses.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, g := range c.Gateways {
		urls = append(urls, fmt.Sprintf("ws://%s:%d", g.Addr, portPublic))
	}
	return urls
}

func (c *Cluster) common(name, addr string) []string {
	flags := []string{"--name", name, "--cluster", "e2e", "--cluster-key-file", c.key,
		"--gossip", fmt.Sprintf("%s:%d", addr, portGossip), "--join", c.join(),
		"--ops", fmt.Sprintf("%s:%d", addr, portOps)}
	if c.cfg.Net != nil {
		flags = append(flags, "--ops-token-file", c.key)
	}
	return flags
}

func (c *Cluster) host(i int) *Process {
	name, addr := fmt.Sprintf("host-%d", i+1), c.addr(NodeHost+i)
	args := append(c.common(name, addr), "--link", fmt.Sprintf("%s:%d", addr, portLink), "--redis", c.redisURL(c.storeOf(i)))
	return c.process(name, NodeHost+i, c.cfg.Roomd, append(args, c.cfg.Host...)...)
}

func (c *Cluster) gateway(i int) *Process {
	name, addr := fmt.Sprintf("gateway-%d", i+1), c.addr(NodeGateway+i)
	args := append(c.common(name, addr), "--listen", fmt.Sprintf("%s:%d", addr, portPublic))
	if c.cfg.Net != nil {
		args = append(args, "--insecure-anonymous", "--insecure-no-tls")
	}
	return c.process(name, NodeGateway+i, c.cfg.Gatewayd, append(args, c.cfg.Edge...)...)
}

func (c *Cluster) process(name string, last int, bin string, args ...string) *Process {
	if c.cfg.Net != nil {
		enter := c.cfg.Net.Enter(last)
		bin, args = enter[0], slices.Concat(enter[1:], []string{bin}, args)
	}
	return &Process{Name: name, Addr: c.addr(last), bin: bin, args: args,
		log: filepath.Join(c.cfg.Dir, name+".log"), say: c.say}
}

func (c *Cluster) say(format string, args ...any) {
	if c.cfg.Log != nil {
		fmt.Fprintf(c.cfg.Log, format+"\n", args...)
	}
}

// Stop ends every process.
func (c *Cluster) Stop() error {
	var wg sync.WaitGroup
	for _, p := range append(c.nodes(), c.Redis) {
		wg.Go(func() { p.Signal(syscall.SIGKILL) })
	}
	wg.Wait()
	return nil
}

// Process is one real process, which may be started again after it ended.
type Process struct {
	Name string
	Addr string // its loopback address

	bin  string
	args []string
	log  string
	say  func(string, ...any)

	mu   sync.Mutex
	cmd  *exec.Cmd     // guarded by mu; nil: not running
	done chan struct{} // closed when cmd has ended; guarded by mu
}

// Start runs the process; its output is appended to its log file.
func (p *Process) Start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	cmd := exec.Command(p.bin, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "FAULT_FILE="+p.faultFile())
	// No orphan survives a test that was killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = starts.start(cmd)
	out.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	go func() { cmd.Wait(); close(done) }()
	p.say("started %s (pid %d)", p.Name, cmd.Process.Pid)
	return nil
}

// Signal sends sig; after SIGKILL and SIGTERM it waits until the process ended.
func (p *Process) Signal(sig syscall.Signal) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	p.say("%s to %s", sig, p.Name)
	cmd.Process.Signal(sig)
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		<-done
	}
}

// Ended waits until the process has ended by itself.
func (p *Process) Ended(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await the end of %s: %w", p.Name, ctx.Err())
	}
}

// Status is the exit status of a process that has ended.
func (p *Process) Status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

// Pid of the running process.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Pause stops the process with SIGSTOP and returns when it stands still.
// SIGCONT lets it go on.
func (p *Process) Pause(ctx context.Context) error {
	p.Signal(syscall.SIGSTOP)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
		if err != nil {
			return fmt.Errorf("pause %s: %w", p.Name, err)
		}
		if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "T") {
			return nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("pause %s: %w", p.Name, err)
		}
	}
}

// Ops is a URL on the process's operations listener.
func (p *Process) Ops(path string) string {
	return fmt.Sprintf("http://%s:%d%s", p.Addr, portOps, path)
}

// Ready waits until /readyz says so.
func (p *Process) Ready(ctx context.Context) error {
	for {
		last := p.ask(ctx)
		if last == nil {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("await %s (log in %s): %w; last: %w", p.Name, p.log, err, last)
		}
	}
}

func (p *Process) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ops("/readyz"), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

func (p *Process) awaitPort(ctx context.Context, port int) error {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", p.Addr, port))
		if err == nil {
			return conn.Close()
		}
		if stop := pause(ctx, 10*time.Millisecond); stop != nil {
			return fmt.Errorf("await port of %s: %w; last: %w", p.Name, stop, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
