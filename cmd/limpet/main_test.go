package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/internal/daemon"
)

// say runs a command line as main does.
func say(args ...string) (status int, out, errOut string) {
	var o, e bytes.Buffer
	status = run(args, streams{strings.NewReader(""), &o, &e})
	return status, o.String(), e.String()
}

func TestHelpNamesEveryCommand(t *testing.T) {
	status, out, errOut := say("help")
	if status != 0 || errOut != "" {
		t.Fatalf("status %d, %s", status, errOut)
	}
	for _, c := range commands() {
		if !strings.Contains(out, "\n  "+c.name+" ") {
			t.Errorf("help lacks %s", c.name)
		}
	}
	if status, out, _ := say("version"); status != 0 || !strings.HasPrefix(out, "limpet ") {
		t.Errorf("version: %d %s", status, out)
	}
}

func TestWrongCommandLinesAreOneLineAndStatusTwo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"unknown"},
		{"dev", "--port", "http"},
		{"dev", "--hosts", "0"},
		{"dev", "stray"},
		{"dev", "--port", port, "--data", t.TempDir()},
		{"dev", "--data", file},
		{"ps", "--ops", "nonsense"},
		{"ps", "--ops-token-file", file},
		{"room", "arena"},
		{"kick", "arena/reef", "ann"},
		{"move", "arena", "host-1"},
		{"explain", "Arena/reef"},
		{"roomd"},
		{"roomd", "--redis", "redis://127.0.0.1:1", "--data", "x"},
		{"roomd", "--data", file},
		{"roomd", "--data", t.TempDir(), "--gossip", "0.0.0.0:0", "--link", "127.0.0.1:0", "--ops", "127.0.0.1:0"},
		{"gatewayd", "--origins", "game.example"},
		{"gatewayd", "--listen", "127.0.0.1:0", "--ops", "0.0.0.0:0"},
		{"gatewayd", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--dev-control", "http://10.0.0.1:1"},
	} {
		status, _, errOut := say(args...)
		if status != daemon.ExitUsage || strings.Count(errOut, "\n") != 1 {
			t.Errorf("limpet %s: status %d, says %q", strings.Join(args, " "), status, errOut)
		}
	}
	if status, _, errOut := say(); status != daemon.ExitUsage || !strings.Contains(errOut, "Usage") {
		t.Errorf("limpet alone: status %d, says %q", status, errOut)
	}
}

func TestPsWithoutAClusterSaysSo(t *testing.T) {
	status, out, errOut := say("ps", "--data", t.TempDir())
	if status != 1 || out != "" || !strings.Contains(errOut, "no limpet dev") {
		t.Errorf("status %d, out %q, says %q", status, out, errOut)
	}
	status, _, errOut = say("ps", "--ops", "http://127.0.0.1:1")
	if status != 1 || !strings.Contains(errOut, "refused") {
		t.Errorf("status %d, says %q", status, errOut)
	}
}
