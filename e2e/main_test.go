// Package e2e holds the end-to-end tests: real processes, a real Redis, real
// signals.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	for name, pkg := range map[string]string{"gatewayd": "cmd/gatewayd", "roomd": "e2e/roomd", "limpet": "cmd/limpet"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/limpet-games/limpet/"+pkg)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// startCluster starts a cluster that ends with the test.
func startCluster(t *testing.T, hosts, gateways int) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Config{
		Dir: t.TempDir(), Gatewayd: filepath.Join(bin, "gatewayd"), Roomd: filepath.Join(bin, "roomd"),
		Hosts: hosts, Gateways: gateways, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}
