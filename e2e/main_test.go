// Package e2e holds the end-to-end tests: real processes, a real Redis, real
// signals.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/limpet-games/limpet/e2e/cluster"
)

// bin is where the programs under test were built.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "limpet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	return m.Run()
}

// program builds a package of this module once and returns the binary.
func program(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	path := filepath.Join(bin, strings.ReplaceAll(pkg, "/", "-")+strings.Join(flags, ""))
	building.Lock()
	defer building.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	out, err := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", path}, flags...),
		"github.com/limpet-games/limpet/"+pkg)...).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

var building sync.Mutex

// startCluster starts a cluster that ends with the test. Its logs stay where
// LIMPET_E2E_LOGS names a directory for them.
func startCluster(t testing.TB, hosts, gateways int) *cluster.Cluster {
	t.Helper()
	return startClusterOf(t, cluster.Config{Roomd: program(t, "e2e/roomd"), Hosts: hosts, Gateways: gateways})
}

// startClusterOf is startCluster for a configuration that may name its own
// directory.
func startClusterOf(t testing.TB, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = os.Getenv("LIMPET_E2E_LOGS")
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Gatewayd, cfg.Log = program(t, "cmd/gatewayd"), t.Output()
	c, err := cluster.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}
