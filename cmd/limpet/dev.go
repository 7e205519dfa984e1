package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/limpet-games/limpet/cmd/limpet/internal/dev"
	"github.com/limpet-games/limpet/internal/daemon"
)

func runDev(ctx context.Context, args []string, s streams) int {
	var cfg dev.Config
	f := daemon.NewFlags("limpet dev", "Runs gateways and room hosts on this machine, as real processes on loopback.")
	f.Out, f.Err = s.out, s.err
	f.Int(&cfg.Port, "port", 8080, 0, 65535-64, "port of the demo and the first gateway; more gateways take the ports after it; 0: any that is free")
	f.Int(&cfg.Hosts, "hosts", 3, 1, 32, "how many room hosts")
	f.Int(&cfg.Gateways, "gateways", 1, 1, 16, "how many gateways")
	f.String(&cfg.Data, "data", "", "DIR", "directory for rooms, logs and keys, kept between runs; empty: limpet-dev in your cache directory")
	f.String(&cfg.Redis, "redis", "", "URL", "keep rooms in this Redis, not in the data directory")
	f.String(&cfg.Roomd, "roomd", "", "PACKAGE", "your own game's room host, a package or a binary, in place of the samples")
	f.List(&cfg.Isolate, "isolate", "KIND", "kinds that each room host runs in a child process each, as roomd --isolate does")
	f.List(&cfg.Origins, "origins", "ORIGIN", "web origins whose pages may connect, like http://localhost:5173 of a page that another server serves")
	f.String(&cfg.LogLevel, "log-level", "info", "LEVEL", "least severe lines in the logs: debug, info, warn or error",
		daemon.OneOf("debug", "info", "warn", "error"))
	if status, ok := f.Parse(args); !ok {
		return status
	}
	cfg.Terminal = dev.NewTerminal(s.out)
	if err := startDev(ctx, cfg); err != nil {
		fmt.Fprintf(s.err, "limpet dev: %v\n", err)
		if _, ok := errors.AsType[*dev.SetupError](err); ok {
			return daemon.ExitUsage
		}
		return 1
	}
	return 0
}

func startDev(ctx context.Context, cfg dev.Config) (err error) {
	if cfg.Limpet, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if cfg.Data == "" {
		if cfg.Data, err = dev.DefaultData(); err != nil {
			return err
		}
	}
	cfg.Command = typed(cfg.Limpet)
	var cluster *dev.Cluster
	ctx, stop := daemon.Signals(ctx, func() {
		if cluster != nil {
			cluster.KillAll()
		}
		os.Exit(1)
	})
	defer stop()
	if goRun(cfg.Limpet) {
		ctx = whileParentLives(ctx)
	}
	if cluster, err = dev.Open(ctx, cfg); err != nil {
		return err
	}
	return cluster.Run(ctx)
}

// goRun reports whether this program was built and started by go run.
func goRun(executable string) bool {
	return strings.Contains(filepath.ToSlash(executable), "/go-build")
}

// typed is how people type this program.
func typed(executable string) string {
	switch _, err := os.Stat("cmd/limpet"); {
	case !goRun(executable):
		return "limpet"
	case err == nil:
		return "go run ./cmd/limpet"
	}
	return "go run github.com/limpet-games/limpet/cmd/limpet"
}

// whileParentLives ends the context when the go command that started this
// program is gone: it does not pass on the signal that ended it.
func whileParentLives(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		defer cancel()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	return ctx
}
