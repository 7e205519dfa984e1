package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Run builds the programs and starts a cluster, in a directory of its own that
// the returned function removes when it has ended the cluster. set, where given,
// adds to the configuration.
func Run(ctx context.Context, hosts, gateways int, set func(*Config)) (c *Cluster, end func(), err error) {
	dir, err := os.MkdirTemp("", "limpet-run-")
	if err != nil {
		return nil, nil, err
	}
	cfg, err := Build(ctx, dir, hosts, gateways)
	if err == nil {
		if set != nil {
			set(&cfg)
		}
		c, err = Start(ctx, cfg)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return c, func() { c.Stop(); os.RemoveAll(dir) }, nil
}

// Build makes the programs that a cluster runs, in dir, and the configuration
// that names them.
func Build(ctx context.Context, dir string, hosts, gateways int) (Config, error) {
	cfg := Config{Dir: dir, Hosts: hosts, Gateways: gateways,
		Gatewayd: filepath.Join(dir, "gatewayd"), Roomd: filepath.Join(dir, "roomd")}
	for bin, pkg := range map[string]string{cfg.Gatewayd: "cmd/gatewayd", cfg.Roomd: "e2e/roomd"} {
		out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/limpet-games/limpet/"+pkg).CombinedOutput()
		if err != nil {
			return cfg, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return cfg, nil
}
