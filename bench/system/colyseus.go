//go:build linux

package system

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// colyseus is the one baseline that is not our own code: bench/colyseus has the
// room, npm the rest.
const colyseus = "colyseus"

// installColyseus puts the room and what it needs into dir. It needs node, npm
// and a registry.
func installColyseus(ctx context.Context, top, dir string) error {
	to := filepath.Join(dir, colyseus)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("make directory for colyseus: %w", err)
	}
	for _, name := range []string{"package.json", "package-lock.json", "server.mjs"} {
		raw, err := os.ReadFile(filepath.Join(top, "bench", colyseus, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), raw, 0o644)
		}
		if err != nil {
			return fmt.Errorf("copy colyseus: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = to
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install colyseus: %w\n%s", err, out)
	}
	return nil
}
