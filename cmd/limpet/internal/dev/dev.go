// Package dev runs a whole cluster on one machine: gateways and room hosts as
// real child processes on loopback, started again when they die, with a small
// control interface to break them on purpose.
package dev

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/limpet-games/limpet/internal/daemon"
)

// Config says what to run.
type Config struct {
	Port     int      // of the first gateway; the others follow it; 0: any that are free
	Hosts    int      // room hosts
	Gateways int      // gateways
	Data     string   // directory for the store, logs, keys and state
	Redis    string   // URL of the checkpoint store; empty: the embedded one in Data
	Roomd    string   // package or binary of the room host; empty: the samples
	Isolate  []string // kinds that hosts run in processes of their own
	Origins  []string // of web pages that others serve
	LogLevel string   // of the children
	Limpet   string   // this program, for children
	Command  string   // how people type it
	Terminal *Terminal
}

// SetupError is something about the machine or the settings that keeps the
// cluster from starting; its text is for the person at the terminal.
type SetupError struct{ Text string }

// Error is the text.
func (e *SetupError) Error() string { return e.Text }

func setup(format string, args ...any) error { return &SetupError{fmt.Sprintf(format, args...)} }

// Cluster is a running cluster's parts. Make one with Open.
type Cluster struct {
	cfg      Config
	lock     *os.File
	spawner  *spawner
	hosts    []*child
	gateways []*child
	control  net.Listener
	secret   string
	out      *Terminal
}

// Open checks and prepares everything that can be wrong before the first
// process starts: the directory, its lock, the ports, the build. Run follows.
func Open(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, out: cfg.Terminal, secret: rand.Text(), spawner: newSpawner()}
	if err := c.prepare(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) prepare(ctx context.Context) error {
	data, err := filepath.Abs(c.cfg.Data)
	if err != nil {
		return setup("data directory %s: %v", c.cfg.Data, err)
	}
	c.cfg.Data = data
	if c.lock, err = lockData(data); err != nil {
		return err
	}
	if err := ensureKey(c.path("cluster.key")); err != nil {
		return err
	}
	roomd, err := hostCommand(ctx, c.cfg, c.out)
	if err != nil {
		return err
	}
	if c.control, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return setup("listen for control: %v", err)
	}
	return c.plan(roomd)
}

func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.cfg.Data}, elem...)...)
}

func (c *Cluster) close() {
	if c.control != nil {
		c.control.Close()
	}
	if c.lock != nil {
		c.lock.Close()
	}
}

// Run runs the cluster until ctx is done, or a child can't be run at all.
// Gateways end before hosts, so that nobody asks for rooms that are going away.
func (c *Cluster) Run(ctx context.Context) error {
	defer c.close()
	defer os.Remove(c.path(stateFile))
	var parts daemon.Parts
	parts.Add("spawner", c.spawner.run)
	parts.Add("hosts", func(ctx context.Context) error { return runAll(ctx, c.hosts) })
	parts.Add("gateways", func(ctx context.Context) error { return runAll(ctx, c.gateways) })
	parts.Add("control", c.serveControl)
	parts.Add("report", c.report)
	err := parts.Run(ctx)
	if only, ok := errors.AsType[*SetupError](err); ok {
		return only
	}
	return err
}

// KillAll ends every child at once.
func (c *Cluster) KillAll() {
	for _, ch := range c.children() {
		ch.kill()
	}
}

func (c *Cluster) children() []*child {
	return append(c.hosts[:len(c.hosts):len(c.hosts)], c.gateways...)
}

func (c *Cluster) child(name string) *child {
	for _, ch := range c.children() {
		if ch.name == name {
			return ch
		}
	}
	return nil
}

// ensureKey draws the cluster's secret at the first run.
func ensureKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	var key [32]byte
	rand.Read(key[:])
	if err := os.WriteFile(path, []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return setup("write cluster key: %v", err)
	}
	return nil
}

// runAll runs children until ctx is done or one can't be run at all; then it
// ends the others.
func runAll(ctx context.Context, children []*child) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(children))
	for _, ch := range children {
		go func() { ends <- ch.run(ctx) }()
	}
	var first error
	for range children {
		if err := <-ends; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}
