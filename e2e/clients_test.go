package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestOtherClients plays with WebSocket stacks that are not ours, by programs
// written from docs/protocol.md alone.
func TestOtherClients(t *testing.T) {
	c := startCluster(t, 1, 2)
	node, python := []string{"node", "clients/client.mjs"}, []string{"/usr/bin/python3", "clients/client.py"}
	for library, program := range map[string][]string{
		"ws": node, "undici": node, "websockets": python, "aiohttp": python,
	} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			args := append(program[1:len(program):len(program)], library, "clients-"+library)
			out, err := exec.CommandContext(ctx, program[0], append(args, c.URLs()...)...).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "ok" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
