package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPluginsPage does what docs/plugins.md says, with the code that stands in
// it: a module of its own is built and tested, run by limpet dev, and played.
func TestPluginsPage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := codeBlocks(t, filepath.Join(root, "docs", "plugins.md"))
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if files["main.go"] == "" || files["tug_test.go"] == "" {
		t.Fatalf("the page names files %v, want main.go and tug_test.go among them", files)
	}
	// The page gets the published module; the test the one it stands in.
	for _, args := range [][]string{
		{"mod", "init", "example.com/tug"},
		{"mod", "edit", "-require", "github.com/limpet-games/limpet@v0.0.0", "-replace", "github.com/limpet-games/limpet=" + root,
			"-tool", "github.com/limpet-games/limpet/cmd/limpet"},
		{"mod", "tidy"},
		{"vet", "./..."},
		{"test", "./..."},
	} {
		goRun(ctx, t, dir, args...)
	}
	url := startDev(ctx, t, dir, "--roomd", ".", "--origins", "http://localhost:5173")
	for origin, want := range map[string]int{
		"http://localhost:5173": http.StatusSwitchingProtocols,
		"http://localhost:5174": http.StatusForbidden,
	} {
		if got := knock(ctx, t, url, origin); got != want {
			t.Errorf("a page of %s is answered %d, want %d", origin, got, want)
		}
	}
	join := exec.CommandContext(ctx, program(t, "cmd/limpet"), "join", "tug/first", "--gateway", url)
	join.Stdin = strings.NewReader("pull\npull\n")
	out, err := join.Output()
	if err != nil {
		t.Fatalf("limpet join: %v\n%s", err, out)
	}
	if got := events(t, out); got["joined"] != 1 || got["message"] == 0 || got["latest"] == 0 || got["left"] != 1 {
		t.Errorf("limpet join printed events %v:\n%s", got, out)
	}
}

// knock opens a WebSocket as a page of an origin does, and returns the status.
func knock(ctx context.Context, t *testing.T, url, origin string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http"+strings.TrimPrefix(url, "ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "limpet.v1",
	} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

var codeBlock = regexp.MustCompile("(?ms)^```go ([a-z_]+\\.go)$\n(.*?)^```$")

func codeBlocks(t *testing.T, page string) map[string]string {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		files[m[1]] += m[2]
	}
	return files
}

func goRun(ctx context.Context, t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// startDev runs limpet dev in dir until the test ends, and returns its
// gateway's URL.
func startDev(ctx context.Context, t *testing.T, dir string, args ...string) string {
	t.Helper()
	data := t.TempDir()
	var out bytes.Buffer
	cmd := exec.Command(program(t, "cmd/limpet"), append([]string{"dev", "--port", "0", "--data", data}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		<-done
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("limpet dev ended with status %d:\n%s", code, out.String())
		}
	})
	for {
		var state struct {
			Ready    bool
			Gateways []struct{ URL string }
		}
		b, err := os.ReadFile(filepath.Join(data, "dev.json"))
		if err == nil && json.Unmarshal(b, &state) == nil && state.Ready {
			return state.Gateways[0].URL
		}
		select {
		case <-done:
			t.Fatalf("limpet dev has ended:\n%s", out.String())
		case <-ctx.Done():
			t.Fatalf("limpet dev is not ready: %v\n%s", ctx.Err(), out.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// events counts the lines of limpet join by event.
func events(t *testing.T, out []byte) map[string]int {
	t.Helper()
	n := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var e struct{ Event string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		n[e.Event]++
	}
	return n
}
