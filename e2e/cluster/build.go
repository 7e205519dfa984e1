package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

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
