//go:build linux

package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/limpet-games/limpet/bench/load"
)

// Params say what a system is started for.
type Params struct {
	Dir      string // for logs, binaries and data
	Binaries string // as Build left them
	Pin      bool   // servers on CPU 0, all else on CPU 1
	Tick     int
	Size     int
	Messages int
	Reliable bool
	Echo     bool // rooms answer inputs and don't tick
	Gateways int  // of Limpet
	Store    string
	TLS      bool // to players
}

// System runs and can be loaded.
type System struct {
	Name     string
	Addrs    []netip.AddrPort
	Protocol load.Protocol
	Procs    []*Process // measured
	Others   []*Process // the store
}

// Stop ends all processes.
func (s *System) Stop() {
	for _, p := range append(s.Procs, s.Others...) {
		p.stop()
	}
}

// Names are the systems that Start knows and that need nothing from elsewhere;
// the first is Limpet. Colyseus is known too: it comes from npm.
func Names() []string {
	names := []string{"limpet", "gorilla", "rawgo"}
	if compiler() != "" {
		names = append(names, "rawc")
	}
	return names
}

func compiler() string {
	for _, name := range []string{"cc", "gcc", "clang"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Build compiles the systems' programs into dir, but for those that are there.
func Build(ctx context.Context, dir string, names ...string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	top := strings.TrimSpace(string(root))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for programs: %w", err)
	}
	for _, name := range names {
		if built(dir, name) {
			continue
		}
		if name == colyseus {
			if err := installColyseus(ctx, top, dir); err != nil {
				return err
			}
			continue
		}
		var cmds [][]string
		goBuild := []string{"go", "build", "-trimpath", "-o", dir + "/"}
		switch name {
		case "limpet":
			cmds = [][]string{append(goBuild, "./cmd/gatewayd", "./bench/roomd")}
		case "gorilla", "rawgo":
			cmds = [][]string{append(goBuild, "./bench/baselines/"+name)}
		case "rawc":
			cmds = [][]string{{compiler(), "-O2", "-Wall", "-o", dir + "/rawc", filepath.Join(top, "bench/baselines/rawc/rawc.c")}}
		default:
			return fmt.Errorf("system %q: want one of %s", name, strings.Join(append(Names(), colyseus), ", "))
		}
		for _, argv := range cmds {
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
		}
	}
	return nil
}

// built reports whether a system's programs are there.
func built(dir, name string) bool {
	// What is made last; npm writes its own lock file once all else is in place.
	program := map[string]string{"limpet": "roomd", colyseus: colyseus + "/node_modules/.package-lock.json"}[name]
	_, err := os.Stat(filepath.Join(dir, cmp.Or(program, name)))
	return err == nil
}

// Start runs a system and waits until it takes clients.
func Start(ctx context.Context, name string, p Params) (*System, error) {
	dir, err := os.MkdirTemp(p.Dir, name+"-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	p.Dir = dir
	s := &System{Name: name}
	if name == "limpet" {
		err = s.startLimpet(ctx, p)
	} else {
		err = s.startBaseline(ctx, p)
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return s, nil
}

func (s *System) startBaseline(ctx context.Context, p Params) error {
	net := network()
	addr := net.addr(1, portPublic)
	argv := []string{p.Binaries + "/" + s.Name, "-listen", addr, "-tick", fmt.Sprint(p.Tick),
		"-size", fmt.Sprint(p.Size), "-messages", fmt.Sprint(max(1, p.Messages))}
	if s.Name == colyseus {
		argv = append([]string{"node", p.Binaries + "/colyseus/server.mjs"}, argv[1:]...)
	}
	if p.Echo {
		argv = append(argv, "-echo")
	}
	s.Protocol = load.Raw{}
	if s.Name == colyseus {
		s.Protocol = load.Colyseus{}
	}
	ops := ""
	if s.Name == "gorilla" {
		s.Protocol = load.WebSocket{}
		ops = net.addr(1, portOps)
		argv = append(argv, "-ops", ops)
	}
	if p.TLS {
		if s.Name != "gorilla" {
			return errors.New("speaks no TLS")
		}
		cert, key, err := certificate(p.Dir)
		if err != nil {
			return err
		}
		argv = append(argv, "-cert", cert, "-key", key)
	}
	s.Addrs = []netip.AddrPort{netip.MustParseAddrPort(addr)}
	proc, err := start(p.Dir, s.Name, p.serverCPU(), nil, argv...)
	if err != nil {
		return err
	}
	proc.Ops = ops
	s.Procs = []*Process{proc}
	if ops != "" {
		if err := proc.awaitPort(ctx, ops); err != nil {
			return err
		}
	}
	return proc.awaitPort(ctx, addr)
}

func (p Params) serverCPU() int {
	if p.Pin {
		return 0
	}
	return -1
}

func (p Params) otherCPU() int {
	if p.Pin {
		return 1
	}
	return -1
}
