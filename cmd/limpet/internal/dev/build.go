package dev

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// hostCommand is how a room host is run: this program's own samples, a binary,
// or a package that is built first.
func hostCommand(ctx context.Context, cfg Config, out *Terminal) ([]string, error) {
	if cfg.Roomd == "" {
		return []string{cfg.Limpet, "roomd"}, nil
	}
	info, err := os.Stat(cfg.Roomd)
	if err == nil && info.Mode().IsRegular() {
		path, err := filepath.Abs(cfg.Roomd)
		if err != nil {
			return nil, setup("--roomd %s: %v", cfg.Roomd, err)
		}
		if info.Mode()&0o111 == 0 {
			return nil, setup("--roomd %s: is neither a program nor a package", cfg.Roomd)
		}
		return []string{path}, nil
	}
	binary := filepath.Join(cfg.Data, "bin", "roomd")
	if err := os.MkdirAll(filepath.Dir(binary), 0o700); err != nil {
		return nil, setup("make directory for builds: %v", cause(err))
	}
	// A directory is built from inside: it may be in a module of its own.
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, cfg.Roomd)
	if err == nil && info.IsDir() {
		cmd = exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
		cmd.Dir = cfg.Roomd
	}
	out.Event("dev", "building %s", cfg.Roomd)
	report, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, setup("--roomd %s: building it needs the go command, which is not on the PATH", cfg.Roomd)
	case err != nil:
		out.Print(string(report))
		return nil, setup("--roomd %s: does not build (see above)", cfg.Roomd)
	}
	return []string{binary}, nil
}
